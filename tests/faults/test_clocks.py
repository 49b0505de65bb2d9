"""Clocks that jump or differ: how long ago something was lost is not told by one of them alone."""

import pytest

from tests.faults.world import Installation, wait_for

pytestmark = pytest.mark.faults
LATE = {"effect": "late", "seconds": 1.5, "times": 1}
SWEEP = ("sweep", "--wait", "--json", "--timeout")


def sweep_ahead(world: Installation, timeout: float) -> None:
    """A process whose clock is half a minute ahead of that of the one before."""
    ahead = {"module": "tests.faults.crash", "CLOCK_AHEAD": "30"}
    world.begin(*SWEEP, str(timeout), **ahead).wait()


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
