"""Tells a person's open sockets to look again at once who they are and what they may."""

import uuid

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from config.base import live


def group_of(user_id: uuid.UUID | str) -> str:
    """The channel group of a person's sockets."""
    return f"person.{user_id}"


def rights_changed(user_id: uuid.UUID | str) -> None:
    """Once the transaction is in. Without the broker sockets look within a minute by themselves."""

    def tell_now() -> None:  # a function: a partial breaks robust=True (Django 5.2)
        layer = get_channel_layer()
        if layer is not None:
            message = {"type": "rights"}
            live.without_broker(lambda: async_to_sync(layer.group_send)(group_of(user_id), message))

    transaction.on_commit(tell_now, robust=True)
