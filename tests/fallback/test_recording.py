"""Changes that are committed together, beside others who do the same."""

import threading
import time
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from fallback.models import Relocation
from fallback.recording import Change, Outcome, commit
from tests.fallback.factories import RelocationFactory

NEW = {"state": Relocation.State.NEW}
TABLE = Relocation._meta.db_table


def two() -> list[Relocation]:
    return sorted(RelocationFactory.create_batch(2), key=lambda row: row.pk)


@pytest.mark.django_db
def test_all_take_their_rows_in_the_same_order() -> None:
    first, second = two()
    changes = [Change(second, {"state": "Active"}, {"attempts": 1}), Change(first, NEW, {})]
    with CaptureQueriesContext(connection) as queries:
        assert commit(changes) == [Outcome.STALE, Outcome.WON]
    updates = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    keys = [str(row.pk) for row in (first, second)]
    dashless = [sql.replace("-", "") for sql in updates]
    assert all(key.replace("-", "") in sql for key, sql in zip(keys, dashless, strict=True))


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
    parameters: dict[str, Any] = connection.get_connection_params()
    parameters.pop("cursor_factory", None)
    parameters.pop("context", None)

    def somebody_else() -> None:
        touch = f"UPDATE {TABLE} SET tenant_name = 'touched' WHERE id = %s"
        with psycopg.connect(**parameters) as other:
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
