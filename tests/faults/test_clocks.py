"""Clocks that jump or differ: how long ago something was lost is not told by one of them alone."""

import pytest

from tests.faults.world import Ended, Installation, wait_for
from tests.needs import on_postgres

pytestmark = pytest.mark.faults
LATE = {"effect": "late", "seconds": 1.5, "times": 1}
SWEEP = ("sweep", "--wait", "--json", "--timeout")


# A jump of the one machine's clock that SQLite is on; with PostgreSQL what workers may differ by.
AHEAD = 4 if on_postgres() else 30


def sweep_ahead(world: Installation, timeout: float, seconds: int = AHEAD) -> Ended:
    """A process whose clock is ahead of that of the one before."""
    ahead = {"module": "tests.faults.crash", "CLOCK_AHEAD": str(seconds)}
    return world.begin(*SWEEP, str(timeout), **ahead).wait()


def test_a_trigger_that_is_late_by_one_clock_only(world: Installation) -> None:
    world.seed(jobs=1, runsPerJob=1)
    world.sim.faults({"call": "trigger", **LATE})
    world.sweep_until("Verifying AnswerLost")
    sweep_ahead(world, timeout=30)
    assert world.states() == {"Succeeded": 1}
    wait_for(lambda: any(row.get("fault") for row in world.calls("trigger")))
    assert world.verdict() == {"moved": 1}


def test_a_terminate_that_is_late_by_one_clock_only(world: Installation) -> None:
    """The source runs, and will be ended all the same: its successor has to stay."""
    name = world.seed(jobs=1, runsPerJob=1)["stuckRuns"][0]["name"]
    world.sim.faults({"call": "terminate", **LATE})
    world.sweep_until("Terminating Unavailable")
    world.sim.force_run(name, "RUNNING")
    sweep_ahead(world, timeout=30)
    assert world.states() == {"Succeeded": 1}
    made = world.moves().get().destination_run_name
    assert world.sim.run_shown(made)["status"] != "TERMINATED"


@pytest.mark.postgres
@pytest.mark.parametrize(("ahead", "told"), [(30, "30 s ahead of"), (-30, "30 s behind")])
def test_a_worker_with_a_wrong_clock_takes_nothing(
    world: Installation, ahead: int, told: str
) -> None:
    """It would take what another one drives, or hold for too long what it holds."""
    world.seed(jobs=1, runsPerJob=1)
    ended = sweep_ahead(world, timeout=10, seconds=ahead)
    assert ended.code == 2 and f"clock is {told} the database's" in ended.err
    assert world.states() == {"Planned": 1} and world.moves().get().lease is None
    assert not world.calls("trigger")
    world.hurry()  # it is due by that clock
    world.sweep()
    assert world.verdict() == {"moved": 1}


@pytest.mark.postgres
def test_neither_does_its_tick_which_says_why(world: Installation) -> None:
    world.seed(jobs=1, runsPerJob=1)
    world.manage("sweep")
    tick = "from fallback.tasks import drive_tick; print(drive_tick.apply().state)"
    crash = "tests.faults.crash"
    ended = world.begin("shell", "-c", tick, module=crash, CLOCK_AHEAD="30").wait()
    assert ended.out.endswith("FAILURE\n")
    assert "clock is 30 s ahead of the database's" in ended.err
    assert world.states() == {"Planned": 1} and world.moves().get().lease is None
    assert world.begin("shell", "-c", tick, module=crash).wait().out.endswith("SUCCESS\n")
    assert world.verdict() == {"moved": 1}
