"""Claim rows that are due. The rows are the queue; a lease is one conditional UPDATE.

A claimed row falls due again when its lease runs out, so a crash costs time and nothing else. The
random token fences: whoever writes with an old token writes nothing.
"""

import uuid
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models


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
        """
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
