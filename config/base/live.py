"""Bells: "something changed", without what. Readers fetch rows with their own rights.

A bell may be lost or doubled. The broker may be away: ringing waits half a second at most, two
where it is there and does not answer, warns once a minute and raises nothing.
"""

import asyncio
import threading
import time
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction

log = structlog.get_logger(__name__)
BELL_SECONDS = 1.0  # at most one bell a second for each group
WARN_SECONDS = 60.0

_lock = threading.Lock()
_rung: dict[str, float] = {}
_warned_at = 0.0
_away_until = 0.0


def group_of(organization_id: Any) -> str:
    """The channel group of an organization's pages."""
    return f"live.{organization_id}"


def ring_on_commit(organization_id: Any) -> None:
    """Ring once the transaction is in; at most once a second for an organization."""

    def ring_now() -> None:  # a function: a partial breaks robust=True (Django 5.2)
        ring(organization_id)

    transaction.on_commit(ring_now, robust=True)


def ring(organization_id: Any) -> None:
    """Tell an organization's open pages to fetch again."""
    group, now = group_of(organization_id), time.monotonic()
    with _lock:
        if now - _rung.get(group, -BELL_SECONDS) < BELL_SECONDS:
            return
        _rung[group] = now
    layer = get_channel_layer()
    if layer is not None:
        without_broker(lambda: async_to_sync(_send)(layer, group))


async def _send(layer: Any, group: str) -> None:
    """The layer itself would wait half a minute for an answer: its readers need that."""
    await asyncio.wait_for(layer.group_send(group, {"type": "changed"}), settings.BROKER_PATIENCE)


def nudge(task: Any, *args: Any) -> None:
    """Send a Celery task on commit, as a hint only: the ticks find the row anyway."""

    def send_now() -> None:
        without_broker(lambda: task.apply_async(args=args, retry=False))

    transaction.on_commit(send_now, robust=True)


def without_broker(call: Any) -> None:
    """Run `call`; where the broker is away, go on and try it no more for a few seconds."""
    global _away_until
    now = time.monotonic()
    if now < _away_until:
        return
    try:
        call()
    except Exception as error:  # redis, kombu, channels and the OS each raise their own
        with _lock:
            _away_until = now + 10 * settings.BROKER_TIMEOUT
        tell_away(error)


def tell_away(error: BaseException) -> None:
    """Log that the broker is away: once a minute, however many notice."""
    global _warned_at
    now = time.monotonic()
    with _lock:
        warn = now - _warned_at > WARN_SECONDS or not _warned_at
        _warned_at = now if warn else _warned_at
    if warn:
        log.warning("broker_away", error=type(error).__name__)
