"""Runs that moves have made become stuck themselves, while the move before is not over."""

import pytest

from config.base.actor import Actor
from fallback import moving
from tests.faults.world import Installation, Json

pytestmark = pytest.mark.faults


def moving_to_a_full_place(world: Installation) -> tuple[str, Json, Json]:
    """A stuck run whose destination has no room. Answers its name, the destination, and another.

    The simulator's clock, within what is allowed, is behind; put ahead, more than a minute is over.
    """
    seeded = world.sim.seed(jobs=1, runsPerJob=1, destinations=2)
    first, second = seeded["destinations"]
    world.sim.make_room(first["workspaceId"], False)
    world.config(seeded["sources"][0], first)
    world.sim.settings(clockOffsetSeconds=-45)
    return seeded["stuckRuns"][0]["name"], first, second


def moves_on(world: Installation, source: Json, destination: Json) -> None:
    """What has come to `source` is stuck there now, and may go to `destination`."""
    world.sim.settings(clockOffsetSeconds=45)
    world.config(source, destination, stuck_threshold_minutes=1)


def test_a_run_stays_while_the_move_that_started_it_is_open(world: Installation) -> None:
    """That move may have to end it, as here: two hops on, the source would run beside it."""
    name, first, second = moving_to_a_full_place(world)
    terminate = {"call": "terminate", "effect": "status", "status": 503}
    world.sim.faults({**terminate, "match": {"jobRunName": name}})
    world.sweep(timeout=1)
    assert world.states() == {"Terminating Unavailable": 1}
    moves_on(world, first, second)
    swept = world.sweep(timeout=1)
    assert (swept["planned"], swept["skipped"]) == (0, {"InProgress": 2})
    world.sim.force_run(name, "RUNNING")
    world.sim.faults()
    world.settle()
    assert world.sweep(timeout=20)["open"] == 0
    assert world.states() == {"Cancelled SourceRecovered": 1}
    assert world.verdict() == {"recovered": 1}


def test_a_run_stays_while_a_lost_trigger_may_have_started_it(world: Installation) -> None:
    """Else nobody finds it when it is looked for, and it is triggered again."""
    _, first, second = moving_to_a_full_place(world)
    runs = {"call": "list_runs", "effect": "status", "match": {"path": "/jobs/"}}
    world.sim.faults({"call": "trigger", "effect": "lost", "times": 1}, {**runs, "status": 403})
    world.sweep(timeout=3)
    assert world.states() == {"NeedsAttention Rejected": 1}
    moves_on(world, first, second)
    swept = world.sweep(timeout=1)
    assert (swept["planned"], swept["skipped"]) == (0, {"InProgress": 2})
    world.sim.faults()
    moving.retry(world.moves().get(), Actor.system("ada"))
    assert world.sweep()["succeeded"] == 1
    assert world.sweep()["succeeded"] == 1
    assert world.verdict() == {"moved": 1}
    assert sorted(world.moves().values_list("hop", flat=True)) == [1, 2]
    assert world.moves().values("lineage").distinct().count() == 1
