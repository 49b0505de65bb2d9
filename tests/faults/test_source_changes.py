"""The source run changes while its move is under way: it recovers, ends, or vanishes."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from config.base.actor import Actor
from fallback import moving
from fallback.models import PurgeMode
from tests.faults.conftest import Install
from tests.faults.world import Installation, wait_for

pytestmark = pytest.mark.faults
OLDEST_LOOK = 3.5  # seconds; a listing of the source may be three seconds old
Change = Callable[[Installation, str], object]


def becomes(status: str) -> Change:
    return lambda world, name: world.sim.force_run(name, status)


@dataclass(frozen=True)
class Case:
    """What happens to the source, when, and how that ends. `runs`: those at the destination."""

    change: Change
    after: str  # the call after which it happens
    purge: str
    state: str
    outcome: str
    runs: int = 0


def vanishes(world: Installation, name: str) -> None:
    world.sim.remove_run(name)


AFTER, DIRECTLY, NEVER = PurgeMode.AFTER_ACCEPT, PurgeMode.DIRECTLY, PurgeMode.NEVER
RECOVERED, GONE = "Cancelled SourceRecovered", "Cancelled SourceGone"
CASES = {
    "it recovers before the trigger": Case(
        becomes("RUNNING"), "create", AFTER, RECOVERED, "recovered"
    ),
    "it recovers before it is ended first": Case(
        becomes("RUNNING"), "create", DIRECTLY, RECOVERED, "recovered"
    ),
    "it recovers, and would be left": Case(
        becomes("RUNNING"), "create", NEVER, RECOVERED, "recovered"
    ),
    "it has run to its end": Case(becomes("FINISHED"), "create", AFTER, RECOVERED, "recovered"),
    "somebody has ended it": Case(becomes("TERMINATED"), "create", AFTER, GONE, "gone"),
    "somebody has ended it first": Case(becomes("TERMINATED"), "create", DIRECTLY, GONE, "gone"),
    "it vanishes": Case(vanishes, "create", AFTER, GONE, "gone"),
    "it recovers after the trigger": Case(
        becomes("RUNNING"), "trigger", AFTER, RECOVERED, "recovered"
    ),
    "it vanishes after the trigger": Case(vanishes, "trigger", AFTER, "Succeeded", "gone", 1),
    "somebody ends it after the trigger": Case(
        becomes("TERMINATED"), "trigger", AFTER, "Succeeded", "gone", 1
    ),
}


def looked_at_for_half_an_hour(world: Installation) -> None:
    world.sweep_until("Terminating AwaitingEnd")
    world.moves().update(attempts=1100)
    world.hurry()
    world.sweep_until("NeedsAttention NotEnded")
    assert world.calls("trigger") == []


def test_a_source_that_takes_hours_to_end(world: Installation) -> None:
    """As one on a node that is gone. A person is asked, and whatever they do, it is awaited."""
    world.sim.settings(terminateSeconds=3600)
    name = world.seed(jobs=1, runsPerJob=1, purge_mode=DIRECTLY)["stuckRuns"][0]["name"]
    looked_at_for_half_an_hour(world)
    moving.retry(world.moves().get(), Actor.system("ada"))
    world.sweep_until("Terminating AwaitingEnd")
    world.sim.force_run(name, "TERMINATED")
    world.hurry()
    world.sweep(timeout=20)
    assert world.states() == {"Succeeded": 1}
    assert (len(world.calls("terminate")), len(world.calls("trigger"))) == (1, 1)


def test_a_terminate_that_was_answered_and_never_carried_out(world: Installation) -> None:
    """A person's retry sends it again."""
    world.seed(jobs=1, runsPerJob=1, purge_mode=DIRECTLY)
    world.sim.faults({"call": "terminate", "effect": "status", "status": 200})
    looked_at_for_half_an_hour(world)
    world.sim.faults()
    moving.retry(world.moves().get(), Actor.system("ada"))
    world.sweep(timeout=20)
    assert world.states() == {"Succeeded": 1}
    assert world.verdict() == {"moved": 1}


@dataclass
class Swept:
    world: Installation
    runs: dict[str, str]


@pytest.fixture(scope="module")
def swept(install: Install) -> Iterator[Swept]:
    """All cases in one sweep: a source workspace and a config for each."""
    with install() as world:
        world.sim.settings(rolloutSeconds=OLDEST_LOOK)
        runs = {}
        for name, case in CASES.items():
            seeded = world.seed(jobs=1, runsPerJob=1, purge_mode=case.purge)
            runs[name] = seeded["stuckRuns"][0]["name"]
        late = [runs[name] for name, case in CASES.items() if case.after == "trigger"]
        down = {"call": "terminate", "effect": "status"}
        world.sim.faults(*({**down, "match": {"jobRunName": name}} for name in late))
        sweep = world.begin_sweep(timeout=60)
        wait_for(lambda: len(world.calls("create")) == len(CASES))
        change(world, runs, "create")
        wait_for(lambda: all(fault["fired"] for fault in world.sim.fired()))
        change(world, runs, "trigger")
        time.sleep(OLDEST_LOOK)
        world.sim.faults()
        sweep.wait()
        yield Swept(world, runs)


def change(world: Installation, runs: dict[str, str], after: str) -> None:
    for name, case in CASES.items():
        if case.after == after:
            case.change(world, runs[name])


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_what_becomes_of_its_move(swept: Swept, name: str, case: Case) -> None:
    verdict = swept.world.sim.verdict()
    (run,) = (run for run in verdict["runs"] if run["name"] == swept.runs[name])
    move = swept.world.moves(source_run_name=run["name"]).get()
    assert f"{move.state} {move.reason}".strip() == case.state
    assert run["outcome"] == case.outcome
    live = [successor for successor in run["successors"] if successor["status"] != "TERMINATED"]
    assert len(live) == case.runs


def test_no_source_that_recovered_was_killed(swept: Swept) -> None:
    assert swept.world.sim.verdict()["recoveredKilled"] == []
