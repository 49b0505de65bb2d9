"""Signing in by the page, as a person does."""

from typing import Any

from django.test import Client

from accounts.models import User
from tests.factories import PASSWORD


def signed_in(user: User, **meta: Any) -> Client:
    """A browser of `user`'s; `meta` is what each of its requests has, as in `REMOTE_ADDR`."""
    client = Client(**meta)
    sent = {"username": user.username, "password": PASSWORD}
    assert client.post("/sign-in/", sent).status_code == 302
    return client
