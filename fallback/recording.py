"""Writes transitions down: a row's new fields, its steps and activities in one transaction.

Many moves are under way at once, so their transitions are committed in groups: a transaction costs
a disk's or a lock's wait, whether it holds one transition or thirty.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import Activity
from config.base import live
from fallback.models import MoveStep


class Outcome(Enum):
    WON = "won"
    STALE = "stale"  # the row is no longer as expected: somebody else's now
    CONFLICT = "conflict"  # a constraint forbids it: another row is in the way


@dataclass(slots=True)
class Change:
    """Set `fields` on `row` where it still matches `where`; then also write the rest."""

    row: models.Model
    where: Q
    fields: dict[str, Any]
    steps: list[MoveStep] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    organization_id: uuid.UUID | None = None  # whose pages hear a bell


def commit(changes: Sequence[Change]) -> list[Outcome]:
    """Commit each change that still applies; answers in the order of `changes`.

    Rows in memory get their new fields only when they won.
    """
    try:
        outcomes = _commit(changes)
    except IntegrityError:
        if len(changes) == 1:
            return [Outcome.CONFLICT]
        return [commit([change])[0] for change in changes]
    for change, outcome in zip(changes, outcomes, strict=True):
        if outcome is Outcome.WON:
            for name, value in change.fields.items():
                setattr(change.row, name, value)
    return outcomes


def _commit(changes: Sequence[Change]) -> list[Outcome]:
    now = timezone.now()
    outcomes: list[Outcome] = []
    with transaction.atomic():
        for change in changes:
            rows = type(change.row)._default_manager.filter(change.where, pk=change.row.pk)
            won = rows.update(updated_at=now, **change.fields)
            outcomes.append(Outcome.WON if won else Outcome.STALE)
        winners = [c for c, o in zip(changes, outcomes, strict=True) if o is Outcome.WON]
        if steps := [step for change in winners for step in change.steps]:
            MoveStep.objects.bulk_create(steps)
        if activities := [activity for change in winners for activity in change.activities]:
            Activity.objects.bulk_create(activities)
        for organization_id in {c.organization_id for c in winners if c.organization_id}:
            live.ring_on_commit(organization_id)
    return outcomes
