"""Claim rows that are due. The rows are the queue; a lease is one conditional UPDATE.

A claimed row falls due again when its lease runs out, so a crash costs time and nothing else. The
random token fences: whoever writes with an old token writes nothing. When it runs out is told by
each worker's own clock, so a worker whose clock is wrong claims nothing.
"""

import uuid
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import connection, models
from django.utils import timezone

MOST_APART = timedelta(seconds=5)


class ClockApart(Exception):
    """This machine's clock is not the database's."""


def ahead() -> timedelta:
    """By how much our clock is ahead of the database's, which is SQLite's own; negative: behind."""
    if connection.vendor != "postgresql":
        return timedelta(0)
    before = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        theirs: datetime = cursor.fetchone()[0]
    return before + (timezone.now() - before) / 2 - theirs


def must_keep_time() -> None:
    """Raises ClockApart where a lease would run out too early or too late."""
    apart = ahead()
    if abs(apart) > MOST_APART:
        side = "ahead of" if apart > timedelta(0) else "behind"
        raise ClockApart(
            f"This machine's clock is {abs(apart).total_seconds():.0f} s {side} the database's. "
            "Who has which work is told by the clock, so nothing is taken up here until it agrees."
        )


class Leased(models.Model):
    """A row with work to do at `next_attempt_at`."""

    next_attempt_at = models.DateTimeField(null=True, blank=True, editable=False)
    lease = models.UUIDField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True


class LeasedQuerySet(models.QuerySet[Any]):
    """For models that are `Leased`."""

    def due(self, now: datetime) -> Self:
        return self.filter(next_attempt_at__lte=now)

    def claim(self, now: datetime, lease: timedelta, limit: int = 64) -> tuple[uuid.UUID, int]:
        """Take up to `limit` due rows of this queryset; answers the token and how many.

        Two claimers may pick the same rows: the second UPDATE finds them no longer due.
        Raises ClockApart.
        """
        must_keep_time()
        token = uuid.uuid4()
        picked = list(
            self.due(now).order_by("next_attempt_at", "pk").values_list("pk", flat=True)[:limit]
        )
        if not picked:
            return token, 0
        won = (
            self.model._default_manager.filter(pk__in=picked, next_attempt_at__lte=now)
            .order_by()
            .update(next_attempt_at=now + lease, lease=token)
        )
        return token, won
