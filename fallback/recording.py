"""Writes transitions down: a row's new fields, its steps and activities in one transaction.

Many moves are under way at once, so their transitions are committed in groups: a transaction costs
a disk's or a lock's wait, whether it holds one transition or thirty.
"""

import uuid
from collections import Counter
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
    with transaction.atomic():
        _lock(changes)
        for alike in _groups(changes):
            won = _update([changes[at] for at in alike], now)
            for at, one in zip(alike, won, strict=True):
                outcomes[at] = Outcome.WON if one else Outcome.STALE
        winners = [c for c, o in zip(changes, outcomes, strict=True) if o is Outcome.WON]
        if steps := [step for change in winners for step in change.steps]:
            MoveStep.objects.bulk_create(steps)
        if activities := [activity for change in winners for activity in change.activities]:
            Activity.objects.bulk_create(activities)
        for organization_id in {c.organization_id for c in winners if c.organization_id}:
            live.ring_on_commit(organization_id)
    return outcomes


def _lock(changes: Sequence[Change]) -> None:
    """Everybody in the same order: else two, each with a row that the other wants, wait for
    ever. SQLite has one lock for all, which the transaction took when it began."""
    if not connection.features.has_select_for_update:
        return
    keys: dict[str, tuple[type[models.Model], set[Any]]] = {}
    for change in changes:
        model = type(change.row)
        keys.setdefault(model._meta.db_table, (model, set()))[1].add(change.row.pk)
    for _, (model, wanted) in sorted(keys.items()):
        rows = model._default_manager.select_for_update(no_key=True).filter(pk__in=wanted)
        list(rows.order_by("pk").values_list("pk"))


def _groups(changes: Sequence[Change]) -> list[list[int]]:
    """Positions of changes that one statement can make: of different rows, alike in shape.

    The second change of a row comes after the first, to find what that has left.
    """
    found: dict[Any, list[int]] = {}
    times: Counter[Any] = Counter()
    for at, change in enumerate(changes):
        model = type(change.row)
        found.setdefault(
            (times[change.row.pk], model._meta.db_table, (*change.fields,), (*change.where,)), []
        ).append(at)
        times[change.row.pk] += 1
    return [found[key] for key in sorted(found)]


def _update(changes: Sequence[Change], now: datetime) -> list[bool]:
    """One conditional UPDATE of many rows; whether each still matched.

    By hand, as the ORM has none where each row has values and conditions of its own. One for each
    row made a sweep of 200 jobs a twelfth slower, more on a busy machine: whenever SQLite works,
    other threads have Python's lock.
    """
    model = type(changes[0].row)
    names = ("pk", *changes[0].fields, *changes[0].where)
    fields = [_field(model, name) for name in names]
    values: list[Any] = []
    for change in changes:
        row = (change.row.pk, *change.fields.values(), *change.where.values())
        values += [f.get_db_prep_save(v, connection) for f, v in zip(fields, row, strict=True)]
    sql = _update_sql(model, tuple(changes[0].fields), tuple(changes[0].where), len(changes))
    at = _field(model, "updated_at").get_db_prep_save(now, connection)
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, at])
        won = {key for (key,) in cursor.fetchall()}
    return [key in won for key in values[:: len(names)]]


def _field(model: type[models.Model], name: str) -> "models.Field[Any, Any]":
    name = name.removesuffix("__lte")
    field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    assert isinstance(field, models.Field)
    return field


@lru_cache(maxsize=1024)
def _update_sql(
    model: type[models.Model], fields: tuple[str, ...], where: tuple[str, ...], rows: int
) -> str:
    """`where` names fields, `pk`, or `FIELD__lte`; all have values, not NULL."""
    quote, names = connection.ops.quote_name, ("pk", *fields, *where)
    table = quote(model._meta.db_table)
    columns = [quote(str(_field(model, name).column)) for name in names]
    other = ", ".join(["%s"] * len(names))
    first = other
    if connection.vendor == "postgresql":  # has to be told the types; with a length it would cut
        types = [str(_field(model, name).db_type(connection)).partition("(")[0] for name in names]
        first = ", ".join(f"CAST(%s AS {kind})" for kind in types)
    values = ", ".join([f"({first})", *[f"({other})"] * (rows - 1)])
    sets = [f"{columns[at]} = new.column{at + 1}" for at in range(1, 1 + len(fields))]
    tests = [f"{table}.{columns[0]} = new.column1"] + [
        f"{table}.{columns[at]} {'<=' if names[at].endswith('__lte') else '='} new.column{at + 1}"
        for at in range(1 + len(fields), len(names))
    ]
    return (
        f"WITH new AS (VALUES {values}) UPDATE {table} SET {', '.join(sets)}, "
        f"{quote(str(_field(model, 'updated_at').column))} = %s FROM new "
        f"WHERE {' AND '.join(tests)} RETURNING {table}.{columns[0]}"
    )
