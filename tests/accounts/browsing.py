"""Going about the pages as a person does: signing in, and finding the way back."""

import re
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


def crumbs_of(response: Any) -> list[tuple[str, str]]:
    """The way to this page: the text and, where it leads anywhere, the address of each step."""
    (way,) = re.findall(r'<nav class="crumbs".*?</nav>', response.content.decode(), re.DOTALL)
    steps = re.findall(r"<li[^>]*>(.*?)</li>", way, re.DOTALL)
    links = [re.search(r'href="([^"]*)"', step) for step in steps]
    texts = [" ".join(re.sub(r"<[^>]+>", " ", step).split()) for step in steps]
    return list(zip(texts, [link[1] if link else "" for link in links], strict=True))
