"""Writes transitions down: a row's new fields, its steps and activities in one transaction.

Many moves are under way at once, so their transitions are committed in groups: a transaction costs
a disk's or a lock's wait, whether it holds one transition or thirty.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any

import structlog
from django.db import DataError, IntegrityError, OperationalError, connection, models, transaction
from django.utils import timezone

from accounts.models import Activity
from config.base import live
from fallback.models import MoveStep

log = structlog.get_logger(__name__)
DEADLOCK = "40P01"  # PostgreSQL: another transaction had what we wanted, and wanted what we had


class Outcome(Enum):
    WON = "won"
    STALE = "stale"  # the row is no longer as expected: somebody else's now
    CONFLICT = "conflict"  # a constraint forbids it: another row is in the way


@dataclass(slots=True)
class Change:
    """Set `fields` on `row` where it still matches `where`; then also write the rest."""

    row: models.Model
    where: dict[str, Any]
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
    except (IntegrityError, DataError, ValueError, OverflowError) as error:
        if len(changes) == 1:
            if not isinstance(error, IntegrityError):  # a remote's nonsense: this row alone waits
                log.error("cannot_be_stored", row=str(changes[0].row.pk))
            return [Outcome.CONFLICT]
        return [commit([change])[0] for change in changes]
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != DEADLOCK:
            raise
        return [commit([change])[0] for change in changes]
    for change, outcome in zip(changes, outcomes, strict=True):
        if outcome is Outcome.WON:
            for name, value in change.fields.items():
                setattr(change.row, name, value)
    return outcomes


def _commit(changes: Sequence[Change]) -> list[Outcome]:
    now = timezone.now()
    outcomes = [Outcome.STALE] * len(changes)
    # Everybody in the same order: else two, each with a row that the other wants, wait for ever.
    in_order = sorted(enumerate(changes), key=lambda c: (c[1].row._meta.db_table, c[1].row.pk))
    with transaction.atomic():
        for at, change in in_order:
            if _update(change, now):
                outcomes[at] = Outcome.WON
        winners = [c for c, o in zip(changes, outcomes, strict=True) if o is Outcome.WON]
        if steps := [step for change in winners for step in change.steps]:
            MoveStep.objects.bulk_create(steps)
        if activities := [activity for change in winners for activity in change.activities]:
            Activity.objects.bulk_create(activities)
        for organization_id in {c.organization_id for c in winners if c.organization_id}:
            live.ring_on_commit(organization_id)
    return outcomes


def _update(change: Change, now: datetime) -> bool:
    """One conditional UPDATE. By hand: the ORM takes five times as long to build it, and with
    six of them a move that was a quarter of all the time that a sweep took."""
    model = type(change.row)
    fields = {"updated_at": now, **change.fields}
    where = {"pk": change.row.pk, **change.where}
    values = [_field(model, n).get_db_prep_save(v, connection) for n, v in fields.items()]
    values += [_field(model, n).get_db_prep_value(v, connection) for n, v in where.items()]
    with connection.cursor() as cursor:
        cursor.execute(_update_sql(model, tuple(fields), tuple(where)), values)
        return cursor.rowcount == 1


def _field(model: type[models.Model], name: str) -> "models.Field[Any, Any]":
    name = name.removesuffix("__lte")
    field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    assert isinstance(field, models.Field)
    return field


@lru_cache(maxsize=256)
def _update_sql(model: type[models.Model], fields: tuple[str, ...], where: tuple[str, ...]) -> str:
    """`where` names fields, `pk`, or `FIELD__lte`; all have values, not NULL."""
    quote = connection.ops.quote_name
    sets = ", ".join(f"{quote(str(_field(model, name).column))} = %s" for name in fields)
    tests = " AND ".join(
        f"{quote(str(_field(model, name).column))} {'<=' if name.endswith('__lte') else '='} %s"
        for name in where
    )
    return f"UPDATE {quote(model._meta.db_table)} SET {sets} WHERE {tests}"
