"""Answers that get lost, come too late, or are none: nothing runs twice, nothing is forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fallback.models import Connection, PurgeMode, Sweep
from tests.faults import echoing
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


LOST, LATE = {"effect": "lost"}, {"effect": "late", "seconds": 3}
NEVER = {"effect": "refuse"}


@pytest.mark.parametrize(
    "faults",
    [
        [[LOST | {"times": 3}], [LOST, LATE]],
        # Ten seconds each: only then is it certain that a trigger did not arrive.
        pytest.param([[NEVER | {"skip": 2}], [NEVER, LATE, LOST, NEVER]], marks=pytest.mark.soak),
    ],
    ids=["they arrive", "some never arrive"],
)
def test_identical_commands_and_lost_triggers(
    world: Installation, faults: list[list[Json]]
) -> None:
    """Nobody can tell such runs apart, so no trigger goes out while another's answer is missing.

    Two processes, so that neither can know of the other but by the database. A list of faults for
    the one job, another for the other, and none for the third.
    """
    world.sim.settings(latencyMs=20)
    seeded = world.seed(jobs=3, runsPerJob=6, commands="identical")
    world.sim.faults(
        *(
            {"call": "trigger", "times": 1, "match": {"body": f"{job['name']}-"}, **fault}
            for job, its_faults in zip(seeded["jobs"], faults, strict=False)
            for fault in its_faults
        )
    )
    for process in [world.begin_sweep(timeout=90), world.begin_sweep(timeout=90)]:
        process.wait()
    assert all(fault["fired"] == fault["times"] for fault in world.sim.fired())
    assert world.verdict() == {"moved": 18}
    assert world.states() == {"Succeeded": 18}
    claimed = world.moves().values_list("destination_run_id", flat=True)
    assert len(set(claimed)) == 18


@pytest.mark.parametrize("command", ["", "{}"])
def test_a_lost_trigger_without_parameters(world: Installation, command: str) -> None:
    """The remote tells the new run's command as its image has it."""
    seeded = world.sim.seed(jobs=1, runsPerJob=0, destinations=1)
    world.config(seeded["sources"][0], *seeded["destinations"])
    world.sim.add_run(seeded["jobs"][0]["id"], ageMinutes=90, command=command)
    world.sim.faults({"call": "trigger", "effect": "lost", "times": 1})
    assert world.sweep()["succeeded"] == 1
    assert len(world.calls("trigger")) == 1


def test_ended_first_and_lost_answers(world: Installation) -> None:
    """PurgeMode.DIRECTLY: at no moment are there two copies, whatever becomes of the answers."""
    world.sim.settings(terminateSeconds=1)
    seeded = world.seed(jobs=5, runsPerJob=1, purge_mode=PurgeMode.DIRECTLY)
    runs = [run["name"] for run in seeded["stuckRuns"]]
    world.sim.faults(
        {"call": "terminate", "times": 1, "match": {"jobRunName": runs[0]}, **LOST},
        {"call": "terminate", "times": 1, "match": {"jobRunName": runs[1]}, **LATE},
        {"call": "trigger", "times": 1, "match": {"body": runs[2]}, **LOST},
        {"call": "trigger", "times": 1, "match": {"body": runs[3]}, **LATE},
    )
    assert world.sweep(timeout=60)["open"] == 0
    assert world.verdict() == {"moved": 5}
    done = [row for row in world.calls("terminate") if row["status"] == 200]
    ended = {row["runName"]: row["at"] + 1000 for row in done}
    for move in world.moves():
        started = world.sim.run_shown(move.destination_run_name)["createdAt"]
        assert started >= ended[move.source_run_name]


NONSENSE: dict[str, object] = {
    "too long": {"data": {"id": "x" * 3000, "name": "y" * 3000}},
    "unprintable": {"data": {"id": "n\0l", "name": "n\0l"}},
    "of other types": {"data": {"id": {"a": 1}, "name": ["b"], "createdAt": "soon"}},
    "a list for an object": {"data": [1, 2]},
    "a list": [],
}


def test_nonsense_stops_no_other_move(world: Installation) -> None:
    """Well-formed, and the call was not even carried out. Its move may wait, or fail."""
    cases = [(path, text) for path in ("/apps", "/jobs/trigger") for text in NONSENSE.values()]
    seeded = world.sim.seed(jobs=len(cases) + 3, runsPerJob=1, destinations=1)
    echoes = {}
    for (path, answer), run in zip(cases, seeded["stuckRuns"], strict=False):
        sent = f"{run['applicationId']}/v1" if path == "/apps" else f"{run['name']}-moved"
        echoes[path, sent] = echoing.always(answer)
    with echoing.proxy(world.sim.url.removesuffix("/api/svc"), echoes) as url:
        connection = world.connection(url=url)
        world.config(seeded["sources"][0], *seeded["destinations"], connection=connection)
        assert world.sweep(timeout=4)["succeeded"] >= 3
    assert not echoes
    outcomes = world.outcomes()
    assert set(outcomes.values()) <= {"moved", "waiting", "unterminated"}
    assert [outcomes[run["name"]] for run in seeded["stuckRuns"][-3:]] == ["moved"] * 3


HALF = "half a character: \ud83d"  # as JavaScript leaves it where it cuts a text


def test_half_a_character_in_an_answer_stops_no_other_move(world: Installation) -> None:
    """No database stores it, be it in a refusal or in a status."""
    seeded = world.sim.seed(jobs=4, runsPerJob=1, destinations=1)
    refused, unknown = (run["name"] for run in seeded["stuckRuns"][:2])
    echoes = {
        ("/jobs/trigger", f"{refused}-moved"): lambda _: (400, echoing.error(400, HALF, HALF)),
        (f"/runs/{unknown}", ""): echoing.always({"data": {"name": unknown, "status": HALF}}),
    }
    lost = {"call": "terminate", "effect": "status", "times": 1}
    world.sim.faults(lost | {"match": {"jobRunName": unknown}})
    with echoing.proxy(world.sim.url.removesuffix("/api/svc"), echoes) as url:
        connection = world.connection(url=url)
        world.config(seeded["sources"][0], *seeded["destinations"], connection=connection)
        world.sweep(timeout=10)
    assert not echoes
    states = {"NeedsAttention TriggerRejected": 1, "Terminating SourceUnknown": 1, "Succeeded": 2}
    assert world.states() == states


def test_half_a_character_in_a_listing_stops_no_other_run(world: Installation) -> None:
    seeded = world.sim.seed(jobs=2, runsPerJob=1, destinations=1)
    world.config(seeded["sources"][0], *seeded["destinations"])
    usual: Json = {"applicationId": "a", "deploymentId": "d", "deploymentVersion": "1"}
    usual |= {"createdAt": 1.7e12, "status": "CREATED", "applicationName": "a"}
    odd = [{"command": HALF}, {"command": f'{{"a": "{HALF}"}}'}, {"applicationName": HALF}]
    odd += [{"status": HALF}, {"tenantName": HALF}, {"deploymentVersion": HALF}]
    rows = [usual | {"id": f"odd{n}", "name": f"odd{n}"} | it for n, it in enumerate(odd)]
    page = {"data": rows, "pagination": {"hasMore": True}}
    echoes = {("/x/job-runs", ""): echoing.always(page)}
    with echoing.proxy(world.sim.url.removesuffix("/api/svc"), echoes) as url:
        Connection.objects.update(base_url=f"{url}/api/svc")
        world.manage("sweep")
    assert not echoes
    planned = set(world.moves().values_list("source_run_name", flat=True))
    whole = {run["name"] for run in seeded["stuckRuns"]}
    assert planned == whole | {"odd2", "odd4"}  # a name and a tenant can be done without
    assert Sweep.objects.get().skipped == {"UnsupportedInput": 2, "IncompleteRun": 1}


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
