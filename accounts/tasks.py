"""Beat ticks. The rows are the queue, so a lost or doubled tick costs nothing."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from accounts import belonging, delivering, idempotency, sealing, sessions
from config.base import live

# Attempts under way then need up to 35 s more; a task may take 60.
FAN_OUT_SECONDS, DELIVER_SECONDS = 5.0, 10.0


@shared_task
def seal_tick() -> None:
    """Give what was done a place in its organization's chain."""
    sealing.seal()


@shared_task
def deliver_tick() -> None:
    """Tell webhooks of what was sealed, and come again while there is more."""
    delivering.fan_out(FAN_OUT_SECONDS)
    if delivering.deliver(DELIVER_SECONDS):
        live.nudge(deliver_tick)


@shared_task
def prune() -> None:
    """Let go of what has had its time: activities (where `ACTIVITY_KEPT_DAYS` is set), deliveries,
    first answers, sessions, and organizations that were deleted a month ago."""
    if settings.ACTIVITY_KEPT_DAYS:
        sealing.prune(timezone.now() - timedelta(days=settings.ACTIVITY_KEPT_DAYS))
    delivering.prune()
    idempotency.prune_keys()
    sessions.prune()
    belonging.purge()
