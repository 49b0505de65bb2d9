"""What follows from an attempt: the end, or another one later; and what the webhook learns."""

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts import activity, messages
from accounts.models import Delivery, Webhook
from accounts.posting import Answer
from config.base import live
from config.base.actor import Actor

log = structlog.get_logger(__name__)
MINUTE, HOUR = 60, 3600
# Seconds from an attempt to the next; the last holds for all that follow.
BACKOFF = (
    5,
    30,
    2 * MINUTE,
    10 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    4 * HOUR,
    8 * HOUR,
)
JITTER = 0.2  # of each: those that failed together do not come back together
MOST_HOURS = 24
MOST_FAILURES = 10
STATES = Delivery.State
TOO_OLD = f"It could not be delivered within {MOST_HOURS} hours."
GONE = "The receiver answered 410: it is gone for good."
SYSTEM = Actor.system("switchyard")


def write(delivery: Delivery, lease: UUID, answer: Answer) -> bool:
    """Write what became of an attempt; False where the lease has passed to somebody else."""
    now = timezone.now()
    if not answer.sent:  # nothing went out: as if it had never been begun
        fields: dict[str, Any] = {"next_attempt_at": now, "attempts": F("attempts") - 1}
    else:
        fields = _told(answer) | _state_after(delivery, answer, now)
    with transaction.atomic():
        ours = Delivery.objects.filter(pk=delivery.pk, lease=lease, state=STATES.PENDING)
        if not ours.update(lease=None, **fields):
            return False
        if answer.sent:
            _teach(delivery, answer, now)
        live.ring_on_commit(delivery.webhook.organization_id)
    return True


def _told(answer: Answer) -> dict[str, Any]:
    return {
        "request_headers": answer.headers,
        "status": answer.status,
        "answer": answer.text,
        "error": answer.error[:500],
        "milliseconds": answer.milliseconds,
    }


def _state_after(delivery: Delivery, answer: Answer, now: datetime) -> dict[str, Any]:
    if answer.delivered:
        return {"state": STATES.DELIVERED, "finished_at": now, "next_attempt_at": None}
    at = now + timedelta(seconds=_pause_after(delivery.attempts, answer))
    ends = delivery.created_at + timedelta(hours=MOST_HOURS)
    # A test is for whoever looks on: they try again themselves.
    if at > ends or answer.gone or delivery.event == messages.TEST:
        return {"state": STATES.FAILED, "finished_at": now, "next_attempt_at": None}
    return {"next_attempt_at": at}


def _pause_after(attempts: int, answer: Answer) -> float:
    """Seconds: ours, or the receiver's own wish where that is longer."""
    usual = BACKOFF[min(max(attempts, 1), len(BACKOFF)) - 1]
    spread = usual * random.uniform(1 - JITTER, 1 + JITTER)
    return max(spread, answer.retry_after or 0.0)


def _teach(delivery: Delivery, answer: Answer, now: datetime) -> None:
    """What the webhook learns of it. A test counts only where it says that the receiver is gone."""
    webhook = Webhook.objects.filter(pk=delivery.webhook_id)
    if answer.gone:
        _disable(delivery.webhook, now)
    elif delivery.event == messages.TEST:
        return
    elif answer.delivered:
        webhook.filter(failures_in_row__gt=0).update(failures_in_row=0)
    else:
        webhook.update(failures_in_row=F("failures_in_row") + 1)
        if answer.retry_after:
            _hold(delivery.webhook, now + timedelta(seconds=answer.retry_after))
        _pause_if_hopeless(delivery.webhook, answer)


def _hold(webhook: Webhook, until: datetime) -> None:
    """The receiver wants to be left alone: so do what else waits for it."""
    waiting = Delivery.objects.filter(webhook=webhook, state=STATES.PENDING, lease=None)
    waiting.filter(next_attempt_at__lt=until).exclude(event=messages.TEST).update(
        next_attempt_at=until
    )


def _pause_if_hopeless(webhook: Webhook, answer: Answer) -> None:
    message = f"Paused after {MOST_FAILURES} failures in a row. The last: {answer.error}"[:500]
    hopeless = Webhook.objects.filter(
        pk=webhook.pk, state=Webhook.State.ACTIVE, failures_in_row__gte=MOST_FAILURES
    )
    fields = {"message": message, "updated_at": timezone.now()}
    if hopeless.update(state=Webhook.State.PAUSED, **fields):
        _record("webhook.paused", webhook, message)


def _disable(webhook: Webhook, now: datetime) -> None:
    working = Webhook.objects.filter(pk=webhook.pk).exclude(state=Webhook.State.DISABLED)
    if not working.update(state=Webhook.State.DISABLED, message=GONE, updated_at=now):
        return
    waiting = Delivery.objects.filter(webhook=webhook, state=STATES.PENDING, lease=None)
    waiting.update(state=STATES.FAILED, error=GONE, finished_at=now, next_attempt_at=None)
    _record("webhook.disabled", webhook, GONE)


def _record(verb: str, webhook: Webhook, message: str) -> None:
    activity.record(SYSTEM, verb, webhook, webhook.organization_id, reason=message)
    log.warning(verb.replace(".", "_"), webhook=str(webhook.pk))


def fail_what_is_too_old(now: datetime) -> int:
    """Also what waits for a paused webhook; answers how many."""
    waiting = Delivery.objects.filter(state=STATES.PENDING).due(now)
    old = waiting.filter(created_at__lt=now - timedelta(hours=MOST_HOURS))
    return int(
        old.update(
            state=STATES.FAILED, error=TOO_OLD, finished_at=now, next_attempt_at=None, lease=None
        )
    )
