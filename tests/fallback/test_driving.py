import threading
import time
from typing import Any

import pytest

from accounts.models import Organization
from fallback.driving import Call, Driver, Hold, Journey, Record, Shared, Stop
from fallback.models import Connection, Relocation
from fallback.recording import Change, Outcome

FAR = 1e12


def drive(*journeys: Journey, seconds: float = 30, must_end: float = FAR) -> list[Exception]:
    """Runs `journeys`, and answers the exceptions that nobody expected."""
    faults: list[Exception] = []
    driver = Driver(4, time.monotonic() + seconds)
    for journey in journeys:
        driver.begin(journey, must_end, faults.append)
    driver.run(lambda room: [])
    assert driver.active == 0
    return faults


def test_calls_run_in_threads_side_by_side() -> None:
    barrier = threading.Barrier(4, timeout=5)
    met: list[int] = []

    def journey() -> Journey:
        met.append((yield Call(barrier.wait)))

    assert drive(*(journey() for _ in range(4))) == []
    assert sorted(met) == [0, 1, 2, 3]


def test_an_exception_of_a_call_is_the_journeys_own() -> None:
    caught: list[str] = []

    def refuse() -> None:
        raise ValueError("no")

    def journey() -> Journey:
        try:
            yield Call(refuse)
        except ValueError as error:
            caught.append(str(error))

    assert drive(journey()) == []
    assert caught == ["no"]


def test_a_fault_stops_nobody_else() -> None:
    done: list[str] = []

    def broken() -> Journey:
        yield Call(lambda: 1)
        raise KeyError("bug")

    def sound() -> Journey:
        done.append((yield Call(lambda: "sound")))

    assert [type(fault) for fault in drive(broken(), sound())] == [KeyError]
    assert done == ["sound"]


def test_what_is_shared_runs_once_for_all_who_ask() -> None:
    runs: list[int] = []
    found: list[Any] = []

    def listing() -> Journey:
        yield Call(lambda: time.sleep(0.05))
        runs.append(1)
        return "listing"

    def journey() -> Journey:
        found.append((yield Shared("key", listing)))

    assert drive(*(journey() for _ in range(5))) == []
    assert runs == [1]
    assert found == ["listing"] * 5


def test_an_error_of_what_is_shared_reaches_all_who_ask() -> None:
    caught: list[str] = []

    def listing() -> Journey:
        yield Call(lambda: time.sleep(0.02))
        raise ValueError("down")

    def journey() -> Journey:
        try:
            yield Shared("key", listing)
        except ValueError as error:
            caught.append(str(error))

    assert drive(journey(), journey()) == []
    assert caught == ["down", "down"]


def test_what_is_held_is_held_by_one_until_its_end() -> None:
    inside: list[int] = []
    most: list[int] = []

    def journey() -> Journey:
        yield Hold("key")
        inside.append(1)
        yield Call(lambda: most.append(len(inside)))
        inside.pop()

    assert drive(*(journey() for _ in range(6))) == []
    assert most == [1] * 6


@pytest.fixture
def rows(organization: Organization) -> list[Relocation]:
    connection = Connection.objects.create(
        organization=organization, name="remote", base_url="http://remote/api/svc"
    )
    return [
        Relocation.objects.create(connection=connection, source_version=str(version))
        for version in range(4)
    ]


def renamed(row: Relocation, version: str) -> Change:
    return Change(row, {"state": row.state}, {"source_version": version})


def test_a_record_that_a_constraint_forbids_does_not_take_the_others_with_it(
    rows: list[Relocation],
) -> None:
    outcomes: dict[int, Outcome] = {}
    rows[2].state = Relocation.State.ACTIVE  # so it is no longer as this process believes

    def journey(position: int, name: str) -> Journey:
        outcomes[position] = yield Record(renamed(rows[position], name))

    assert drive(journey(0, "free"), journey(1, "3"), journey(2, "stale")) == []
    assert outcomes == {0: Outcome.WON, 1: Outcome.CONFLICT, 2: Outcome.STALE}
    assert [row.source_version for row in rows] == ["free", "1", "2", "3"]


@pytest.mark.parametrize(("seconds", "must_end"), [(0.0, FAR), (30.0, 0.0)])
def test_past_the_deadline_or_the_lease_nothing_is_announced(
    rows: list[Relocation], seconds: float, must_end: float
) -> None:
    def journey() -> Journey:
        yield Record(renamed(rows[0], "announced"), intent=True)
        raise AssertionError("went on")

    assert drive(journey(), seconds=seconds, must_end=must_end) == []
    rows[0].refresh_from_db()
    assert rows[0].source_version == "0"


def test_past_the_deadline_what_was_done_is_still_written(rows: list[Relocation]) -> None:
    def journey() -> Journey:
        yield Record(renamed(rows[0], "written"))

    assert drive(journey(), seconds=0.0) == []
    rows[0].refresh_from_db()
    assert rows[0].source_version == "written"


def test_nothing_is_sent_once_the_lease_has_run_out() -> None:
    sent: list[int] = []

    def journey() -> Journey:
        with pytest.raises(Stop):
            yield Call(lambda: sent.append(1))

    assert drive(journey(), must_end=time.monotonic() - 1) == []
    assert sent == []
