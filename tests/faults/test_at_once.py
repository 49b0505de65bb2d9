"""Several at once: sweeps, workers, beats, organizations. And Valkey, which may be away."""

import json
from collections.abc import Iterator

import pytest

from accounts.models import Activity
from fallback.models import Sweep
from tests.faults.world import Daemon, Installation, wait_for

pytestmark = pytest.mark.faults
WORKER = ("celery", "--quiet", "--app", "config", "worker", "--concurrency", "2")
ALONE = ("--without-gossip", "--without-mingle")
BEAT = ("celery", "--quiet", "--app", "config", "beat")
ENABLED = {"JOB_FALLBACK_ENABLED": "true"}


def test_two_sweeps_at_once(world: Installation) -> None:
    """From nothing, as two people would type it."""
    world.sim.settings(latencyMs=20)
    world.seed(jobs=10, runsPerJob=6, healthyRuns=8)
    sweeps = [world.command_line("manage.py", "sweep", "--wait", "--json") for _ in range(2)]
    figures = [json.loads(process.communicate(timeout=60)[0]) for process in sweeps]
    assert sum(found["planned"] for found in figures) == 60
    assert all(found["open"] == 0 for found in figures)
    assert world.verdict() == {"moved": 60}
    assert world.states() == {"Succeeded": 60}


@pytest.fixture
def valkey(world: Installation) -> Iterator[Daemon]:
    yield world.daemon("valkey", "config.valkey")


def all_moved(world: Installation, number: int) -> None:
    wait_for(lambda: world.verdict() == {"moved": number}, 40, every=0.2)
    wait_for(lambda: world.states() == {"Succeeded": number}, every=0.2)


def test_two_workers_and_two_beats(world: Installation, valkey: Daemon) -> None:
    world.sim.settings(latencyMs=20, rolloutSeconds=1)
    world.ticks(1)
    for _ in range(2):
        world.daemon("worker", *WORKER, *ALONE, **ENABLED)
        world.daemon("beat", *BEAT, **ENABLED)
    world.seed(jobs=10, runsPerJob=6, healthyRuns=8, commands="identical")
    all_moved(world, 60)
    assert Sweep.objects.filter(by_person=False).exists()
    planned = Activity.objects.filter(verb="move.planned")
    assert planned.count() == 60


def test_the_ticks_catch_up_when_valkey_comes_back(world: Installation, valkey: Daemon) -> None:
    world.ticks(1)
    world.daemon("worker", *WORKER, *ALONE, **ENABLED)
    world.daemon("beat", *BEAT, **ENABLED)
    world.seed(jobs=2, runsPerJob=2)
    all_moved(world, 4)
    valkey.kill()
    world.seed(jobs=2, runsPerJob=2)
    world.sweep()  # a person needs no broker
    all_moved(world, 8)
    world.seed(jobs=2, runsPerJob=2)
    valkey.start()
    all_moved(world, 12)


@pytest.mark.soak
def test_a_worker_dies_among_others(world: Installation, valkey: Daemon) -> None:
    """No lease is shortened: what it held is taken up two minutes later."""
    world.sim.settings(latencyMs=100)
    world.ticks(1)
    workers = [world.daemon("worker", *WORKER, *ALONE, **ENABLED) for _ in range(2)]
    world.daemon("beat", *BEAT, **ENABLED)
    world.seed(jobs=20, runsPerJob=10)
    wait_for(lambda: len(world.calls("trigger")) > 20, every=0.05)
    workers[0].kill()
    wait_for(lambda: world.verdict() == {"moved": 200}, 200, every=1)
    wait_for(lambda: world.states() == {"Succeeded": 200}, every=1)


def test_every_command_works_without_a_broker(world: Installation) -> None:
    person = ("--email", "a@example.org", "--password", "Tr0ub4dor-and-3", "--organization", "Acme")
    assert world.manage("bootstrap", *person).code == 0
    world.seed()
    assert world.manage("pause", "--reason", "a test").code == 0
    assert world.sweep()["skipped"] == {"Paused": 6}
    assert world.manage("resume").code == 0
    assert world.manage("sweep", "--json").figures["planned"] == 6
    assert world.sweep()["succeeded"] == 6
    assert world.verdict() == {"moved": 6}


def test_two_organizations_on_one_remote(world: Installation) -> None:
    """Each has a connection and a config for the same workspace; they spell the address apart."""
    first = world.connection("First", f"http://localhost:{world.sim.port}")
    second = world.connection("Second", f"http://LOCALHOST:{world.sim.port}/api/svc/")
    world.sim.settings(latencyMs=20)
    seeded = world.seed(first, jobs=4, runsPerJob=3)
    world.config(seeded["sources"][0], *seeded["destinations"], connection=second)
    sweeps = [world.begin_sweep("--organization", name) for name in ("first", "second")]
    figures = [process.wait().figures for process in sweeps]
    assert sum(found["planned"] for found in figures) == 12
    assert world.verdict() == {"moved": 12}
    owners = world.moves().values_list("organization__slug", flat=True).distinct()
    assert set(owners) <= {"first", "second"}


def test_a_run_that_somebody_else_moves_is_owned_elsewhere(world: Installation) -> None:
    first = world.connection("First", f"http://localhost:{world.sim.port}")
    second = world.connection("Second", f"http://LOCALHOST:{world.sim.port}/api/svc/")
    seeded = world.seed(first, jobs=2, runsPerJob=2)
    world.config(seeded["sources"][0], *seeded["destinations"], connection=second)
    world.sim.faults({"call": "terminate", "effect": "status"})
    begun = world.begin_sweep("--organization", "first")
    wait_for(lambda: world.states() == {"Terminating Unavailable": 4})
    other = world.begin("sweep", "--json", "-v", "2", "--organization", "second").wait()
    assert other.figures["planned"] == 0
    assert other.figures["skipped"] == {"OwnedElsewhere": 4}
    told = json.dumps(Sweep.objects.get(organization__slug="second").sources)
    assert "First" not in told and str(first.organization_id) not in told
    world.sim.faults()
    assert begun.wait().figures["succeeded"] == 4
    assert world.verdict() == {"moved": 4}
    assert not world.moves(organization__slug="second").exists()
