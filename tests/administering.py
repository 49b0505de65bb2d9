"""What tests of the admin share: signing in, choosing actions, reading what was told."""

from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from tests.factories import UserFactory


def as_superuser(client: Client) -> Client:
    """Signed in as `root`."""
    client.force_login(UserFactory.create(is_superuser=True, is_staff=True, username="root"))
    return client


def url(model: type[Model], page: str, *args: Any) -> str:
    """Of a page of the admin, as in `url(Move, "change", move.pk)`."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
    return reverse(name, args=args)


def messages(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def act(client: Client, action: str, *rows: Any, **answer: Any) -> Any:
    """Choose an action for some rows of a list and, where an answer is given, confirm it."""
    data = {"action": action, ACTION_CHECKBOX_NAME: [str(row.pk) for row in rows]}
    if answer:
        data |= {"answered": "1"} | answer
    return client.post(url(type(rows[0]), "changelist"), data, follow=True)
