"""Answers that get lost, come too late, or are none: nothing runs twice, nothing is forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.conftest import Install
from tests.faults.world import Installation, Json

pytestmark = pytest.mark.faults
CALLS = ("create", "trigger", "terminate")
EFFECTS: dict[str, Json] = {
    "the answer is lost": {"effect": "lost"},
    "no answer in time": {"effect": "hang", "seconds": 11},
    "it arrives late": {"effect": "late", "seconds": 3},
    "it never arrives": {"effect": "refuse"},
    "503, though done": {"effect": "status_after", "status": 503},
    "503, wait a second": {"effect": "status", "status": 503, "retryAfter": 1},
    "429, wait a second": {"effect": "status", "status": 429, "retryAfter": 1},
    "408, though done": {"effect": "status_after", "status": 408},
    "the answer is no JSON": {"effect": "garbage"},
    "the answer breaks off": {"effect": "truncated"},
}
CASES = [(call, effect) for call in CALLS for effect in EFFECTS]


@dataclass
class Swept:
    """One sweep of a stuck run for each case, so that their waits overlap."""

    world: Installation
    runs: dict[tuple[str, str], str]
    fired: dict[tuple[str, str], int]


@pytest.fixture(scope="module")
def swept(install: Install) -> Iterator[Swept]:
    with install() as world:
        seeded = world.seed(jobs=len(CASES), runsPerJob=1)
        runs = dict(zip(CASES, seeded["stuckRuns"], strict=True))
        world.sim.faults(*(aimed(*case, run) for case, run in runs.items()))
        world.sweep(timeout=90)
        fired = [fault["fired"] for fault in world.sim.fired()]
        names = {case: run["name"] for case, run in runs.items()}
        yield Swept(world, names, dict(zip(CASES, fired, strict=True)))


def aimed(call: str, effect: str, run: Json) -> Json:
    """The fault, for the move of this run only."""
    where = {
        "create": {"body": f"{run['applicationId']}/v1"},  # the mark in its manifest
        "trigger": {"body": f"{run['name']}-moved"},  # its alias
        "terminate": {"jobRunName": run["name"]},
    }
    return {"call": call, "times": 1, "match": where[call], **EFFECTS[effect]}


@pytest.mark.parametrize(("call", "effect"), CASES)
def test_no_usable_answer(swept: Swept, call: str, effect: str) -> None:
    assert swept.fired[call, effect] == 1
    name = swept.runs[call, effect]
    assert swept.world.outcomes()[name] == "moved"
    assert swept.world.moves(source_run_name=name).get().state == "Succeeded"


def test_nothing_came_of_it_besides(swept: Swept) -> None:
    assert swept.world.verdict() == {"moved": len(CASES)}


def test_identical_commands_and_lost_triggers(world: Installation) -> None:
    """Nobody can tell such runs apart, so no trigger goes out while another's answer is missing.

    Two processes, so that neither can know of the other but by the database.
    """
    world.sim.settings(latencyMs=20)
    seeded = world.seed(jobs=3, runsPerJob=6, commands="identical")
    first, second, third = (f"{job['name']}-" for job in seeded["jobs"])
    trigger = {"call": "trigger"}
    world.sim.faults(
        trigger | {"effect": "lost", "times": 3, "match": {"body": first}},
        trigger | {"effect": "lost", "times": 1, "match": {"body": second}},
        trigger | {"effect": "late", "seconds": 3, "times": 1, "match": {"body": second}},
        trigger | {"effect": "refuse", "times": 1, "skip": 2, "match": {"body": third}},
    )
    for process in [world.begin_sweep(timeout=90), world.begin_sweep(timeout=90)]:
        process.wait()
    assert [fault["fired"] for fault in world.sim.fired()] == [3, 1, 1, 1]
    assert world.verdict() == {"moved": 18}
    assert world.states() == {"Succeeded": 18}
    claimed = world.moves().values_list("destination_run_id", flat=True)
    assert len(set(claimed)) == 18
