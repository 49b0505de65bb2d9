"""Changes that are committed together, beside others who do the same."""

import threading
import time
import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fallback.models import Relocation
from fallback.recording import Change, Outcome, commit
from tests.fallback.factories import RelocationFactory

NEW = {"state": Relocation.State.NEW}
TABLE = Relocation._meta.db_table


def two() -> list[Relocation]:
    return sorted(RelocationFactory.create_batch(2), key=lambda row: row.pk)


def parameters() -> dict[str, Any]:
    """How to connect to the database once more, past Django."""
    found: dict[str, Any] = connection.get_connection_params()
    return {name: found[name] for name in found.keys() - {"cursor_factory", "context"}}


def updates(queries: CaptureQueriesContext) -> int:
    return sum(f'UPDATE "{TABLE}"' in query["sql"] for query in queries)


@pytest.mark.django_db
def test_changes_that_are_alike_are_one_statement_and_each_has_its_own_values() -> None:
    rows = RelocationFactory.create_batch(4)
    past = timezone.now() - timedelta(seconds=5)
    held = {row.pk: uuid.uuid4() for row in rows}
    for row in rows:
        Relocation.objects.filter(pk=row.pk).update(lease=held[row.pk], next_attempt_at=past)
    held[rows[2].pk] = uuid.uuid4()  # not the one that holds it
    changes = [
        Change(
            row,
            {**NEW, "next_attempt_at__lte": timezone.now(), "lease": held[row.pk]},
            {"message": f"no. {at}", "attempts": at, "manifest": {"at": at}, "asked_at": past},
        )
        for at, row in enumerate(rows)
    ]
    with CaptureQueriesContext(connection) as queries:
        outcomes = commit(changes)
    assert outcomes == [Outcome.WON, Outcome.WON, Outcome.STALE, Outcome.WON]
    assert updates(queries) == 1
    found = [Relocation.objects.get(pk=row.pk) for row in rows]
    assert [row.message for row in found] == ["no. 0", "no. 1", "", "no. 3"]
    assert [row.manifest for row in found] == [{"at": 0}, {"at": 1}, None, {"at": 3}]
    assert [row.asked_at for row in found] == [past, past, None, past]
    assert [row.message for row in rows] == [row.message for row in found]
    assert all(row.updated_at > row.created_at for row in (found[0], found[3]))


@pytest.mark.django_db
def test_a_second_change_of_a_row_finds_what_the_first_has_left() -> None:
    first, second = two()
    creating = {"state": Relocation.State.CREATING}
    changes = [
        Change(first, NEW, creating),
        Change(second, NEW, {"attempts": 1}),
        Change(first, NEW, {"message": "too late"}),
        Change(first, creating, {"message": "in time"}),
        Change(second, NEW, {"attempts": 2}),
    ]
    won, stale = Outcome.WON, Outcome.STALE
    assert commit(changes) == [won, won, stale, won, won]
    found = list(Relocation.objects.order_by("pk").values_list("state", "message", "attempts"))
    assert found == [("Creating", "in time", 0), ("New", "", 2)]


@pytest.mark.postgres
@pytest.mark.django_db
def test_what_is_too_long_is_not_cut() -> None:
    """A name that is cut off is another one's. (SQLite has no lengths.)"""
    first, second = two()
    changes = [Change(first, NEW, {"name": "x" * 33}), Change(second, NEW, {"name": "y" * 32})]
    assert commit(changes) == [Outcome.CONFLICT, Outcome.WON]
    assert Relocation.objects.get(pk=first.pk).name == first.name != "x" * 33
    assert Relocation.objects.get(pk=second.pk).name == "y" * 32


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_rows_are_taken_in_the_order_of_their_keys() -> None:
    """Whoever waits for a row holds none behind it that somebody else could have taken first."""
    first, second = two()
    outcomes: list[Outcome] = []

    def ours() -> None:
        changes = [Change(second, NEW, {"attempts": 1}), Change(first, NEW, {"message": "ours"})]
        outcomes.extend(commit(changes))
        connection.close()

    with psycopg.connect(**parameters()) as other:
        touch = f"UPDATE {TABLE} SET tenant_name = 'touched' WHERE id = %s"
        other.execute(touch, [first.pk])
        thread = threading.Thread(target=ours)
        thread.start()
        behind_us = "pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        waiting = f"SELECT pid FROM pg_locks WHERE NOT granted AND {behind_us}"
        give_up = time.monotonic() + 10
        while not other.execute(waiting).fetchone():
            assert time.monotonic() < give_up
            time.sleep(0.02)
        other.execute(f"SELECT 1 FROM {TABLE} WHERE id = %s FOR UPDATE NOWAIT", [second.pk])
    thread.join()
    assert outcomes == [Outcome.WON, Outcome.WON]


@pytest.mark.django_db
@pytest.mark.parametrize("nonsense", [{"attempts": 10**30}, {"message": "\ud83d"}])
def test_what_cannot_be_stored_stops_nobody_else(nonsense: dict[str, object]) -> None:
    first, second = two()
    outcomes = commit([Change(first, NEW, nonsense), Change(second, NEW, {"attempts": 1})])
    assert outcomes == [Outcome.CONFLICT, Outcome.WON]
    assert first.state == Relocation.State.NEW
    assert Relocation.objects.get(pk=second.pk).attempts == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_one_of_two_that_wait_for_each_other_tries_again() -> None:
    first, second = two()
    has_one = threading.Event()

    def somebody_else() -> None:
        touch = f"UPDATE {TABLE} SET tenant_name = 'touched' WHERE id = %s"
        with psycopg.connect(**parameters()) as other:
            other.execute(touch, [second.pk])
            has_one.set()
            time.sleep(0.3)
            other.execute(touch, [first.pk])

    thread = threading.Thread(target=somebody_else)
    thread.start()
    assert has_one.wait(10)
    outcomes = commit([Change(row, NEW, {"attempts": 1}) for row in (first, second)])
    thread.join()
    assert outcomes == [Outcome.WON, Outcome.WON]
    found = Relocation.objects.values_list("attempts", "tenant_name")
    assert list(found) == [(1, "touched")] * 2
