"""Which run is which: names alike, versions, commands alike, pages that shift, healthy ones."""

import json

import pytest

from fallback import naming
from tests.faults.world import Installation, Json

pytestmark = pytest.mark.faults
ALIKE: dict[str, Json] = {
    "names that share 23 characters": {"jobs": 20, "sharedNamePrefixLength": 23},
    "names that share 29": {"jobs": 20, "sharedNamePrefixLength": 29},
    "the same names in two workspaces": {"jobs": 6, "twoWorkspaces": True},
    "the same long names in two workspaces of two clusters": {
        "jobs": 4,
        "twoWorkspaces": True,
        "sourceClusters": 2,
        "sharedNamePrefixLength": 29,
    },
    "versions of each job": {"jobs": 3, "versionsPerJob": 3, "runsPerJob": 9},
    "versions, and commands alike": {
        "jobs": 3,
        "versionsPerJob": 3,
        "runsPerJob": 6,
        "commands": "identical",
    },
    "commands alike": {"jobs": 3, "runsPerJob": 8, "commands": "identical"},
    "plain commands": {"jobs": 3, "runsPerJob": 3, "commands": "plain"},
}


ROLLING = ("versions of each job", "versions, and commands alike", "names that share 29")
CASES = [
    pytest.param(wish, rollout, id=f"{name}, {how}")
    for rollout, how in ((0, "at once"), (0.3, "rolling out"))
    for name, wish in ALIKE.items()
    if not rollout or name in ROLLING
]


@pytest.mark.parametrize(("wish", "rollout"), CASES)
def test_each_with_its_own_manifest_and_input(
    world: Installation, wish: Json, rollout: float
) -> None:
    world.sim.settings(rolloutSeconds=rollout)
    stuck = len(world.seed(healthyRuns=4, **wish)["stuckRuns"])
    assert world.sweep(timeout=60)["succeeded"] == stuck
    assert world.verdict() == {"moved": stuck}


COMMANDS = [
    "python main.py",
    "python main.py --epochs {{epochs}} --shard {{shard}}",
    '["a", "list"]',
    '"text"',
    "42",
    "null",
    '{"z": 1, "a": {"deep": [1, 2.5, null, true]}, "empty": ""}',
    '{ "spaced" :  "out" }',
    '{"text": "{\\"json\\": \\"inside\\"}"}',
    '{"quotes": "\\"\'`$(date)", "newline": "a\\nb", "emoji": "🚂", "nul": "\\u0000"}',
    '{"number": 12345678901234567890, "float": 1.10, "exponent": 1e21}',
    "{not json",
    "echo 'ünïcödé' | tee /tmp/x",
]


def test_inputs_of_every_kind(world: Installation) -> None:
    seeded = world.seed(jobs=1, runsPerJob=0)
    for command in COMMANDS:
        world.sim.add_run(seeded["jobs"][0]["id"], command=command, ageMinutes=90)
    world.sweep()
    assert world.verdict() == {"moved": len(COMMANDS)}


@pytest.mark.parametrize("command", ['{"rate": NaN}', '{"limit": 1e400}'])
def test_an_input_that_no_json_can_carry(world: Installation, command: str) -> None:
    """Python writes such things. Nothing is started, and nobody tries for ever."""
    seeded = world.seed(jobs=1, runsPerJob=1)
    world.sim.add_run(seeded["jobs"][0]["id"], command=command, ageMinutes=90)
    swept = world.sweep(timeout=4)
    assert (swept["succeeded"], swept["open"] - swept["needsAttention"]) == (1, 0)
    assert world.verdict() == {"moved": 1, "waiting": 1}


@pytest.mark.parametrize("number", [1, 12, 150])
@pytest.mark.parametrize("effect", ["arrive", "depart"])
def test_pages_that_shift(world: Installation, effect: str, number: int) -> None:
    """Between any two pages of 250 runs: each is planned, none twice."""
    world.seed(jobs=10, runsPerJob=25, healthyRuns=8)
    times = 3 if number < 100 else 1
    world.sim.faults({"call": "list_runs", "effect": effect, "count": number, "times": times})
    assert world.manage("sweep", "--json").figures["errors"] == 0
    first = set(world.moves().values_list("source_run_name", flat=True))
    there = {run["name"] for run in world.sim.verdict()["runs"] if run["outcome"] == "waiting"}
    if effect == "arrive":
        assert len(first) >= 250
    else:
        assert there <= first
    world.manage("sweep", "--json")
    assert there <= set(world.moves().values_list("source_run_name", flat=True))
    assert world.moves().count() == len(first | there)


@pytest.mark.parametrize("effect", ["arrive", "depart"])
def test_pages_that_shift_while_moving(world: Installation, effect: str) -> None:
    world.seed(jobs=10, runsPerJob=25, healthyRuns=8)
    world.sim.faults({"call": "list_runs", "effect": effect, "count": 3, "times": 4})
    for _ in range(2):
        assert world.sweep()["failed"] == 0
    verdict = world.verdict()
    gone = verdict.pop("gone", 0)
    arrived = 12 if effect == "arrive" else 0
    assert gone == 12 - arrived
    assert verdict == {"moved": 250 + arrived - gone}


def test_healthy_runs_are_never_touched(world: Installation) -> None:
    """Running for hours, or waiting for a minute: beside stuck runs of the same jobs."""
    seeded = world.seed(jobs=4, runsPerJob=2, healthyRuns=40)
    for minutes in (1, 30, 59):
        world.sim.add_run(seeded["jobs"][0]["id"], ageMinutes=minutes, command='{"young": 1}')
    for status in ("RUNNING", "FINISHED", "FAILED", "TERMINATING", "TERMINATED", "UNKNOWN"):
        world.sim.add_run(seeded["jobs"][1]["id"], ageMinutes=500, status=status)
    swept = world.sweep()
    assert (swept["stuck"], swept["succeeded"]) == (8, 8)
    assert swept["skipped"] == {"NotStuckYet": 13}
    assert world.verdict() == {"moved": 8, "waiting": 3}
    assert len(world.calls("terminate")) == len(world.calls("trigger")) == 8


def test_only_the_jobs_own_config_applies(world: Installation) -> None:
    """One job goes elsewhere, another nowhere, the rest to the generic destination."""
    seeded = world.sim.seed(jobs=3, runsPerJob=2, destinations=2)
    (source,), (usual, special) = seeded["sources"], seeded["destinations"]
    world.config(source, usual)
    world.config(source, special, source_job_id=seeded["jobs"][0]["id"])
    world.config(source, special, source_job_id=seeded["jobs"][1]["id"], enabled=False)
    assert world.sweep()["skipped"] == {"ConfigDisabled": 2}
    went = {
        run["applicationId"]: {successor["workspaceId"] for successor in run["successors"]}
        for run in world.sim.verdict()["runs"]
    }
    first, second, third = (job["id"] for job in seeded["jobs"])
    there = {first: {special["workspaceId"]}, second: set(), third: {usual["workspaceId"]}}
    assert went == there


def test_somebody_elses_application_is_not_overwritten(world: Installation) -> None:
    seeded = world.seed(jobs=2, runsPerJob=2)
    job, place = seeded["jobs"][0], seeded["destinations"][0]
    name = naming.destination_name(job["name"], job["workspaceId"], job["id"])
    foreign = world.sim.add_application(place["workspaceId"], name)
    swept = world.sweep()
    assert (swept["succeeded"], swept["needsAttention"]) == (2, 2)
    assert world.states() == {"Succeeded": 2, "NeedsAttention NameTaken": 2}
    assert {row["applicationName"] for row in world.calls("create")}.isdisjoint({name})
    assert foreign["id"] not in json.dumps(world.sim.log())
    assert world.verdict() == {"moved": 2, "waiting": 2}
