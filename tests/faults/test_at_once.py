"""Several at once: sweeps, workers, beats, organizations. And Valkey, which may be away."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from accounts.models import Activity
from fallback.models import Sweep
from tests.faults.conftest import Install
from tests.faults.world import Daemon, Installation, wait_for

pytestmark = pytest.mark.faults
CELERY = ("celery", "--quiet", "--app", "config")
WORKER = (*CELERY, "worker", "--concurrency", "2", "--without-gossip", "--without-mingle")
BEAT = (*CELERY, "beat")


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


@dataclass
class Fleet:
    """A broker, two workers and two beats, whose ticks come every second."""

    world: Installation
    valkey: Daemon
    workers: list[Daemon]

    def moves(self, number: int) -> None:
        """So many more stuck runs: each is moved, and was planned once."""
        before = self.world.moves().count()
        self.world.seed(jobs=number // 6, runsPerJob=6, healthyRuns=8, commands="identical")
        self.have_moved(before + number)

    def have_moved(self, number: int, seconds: float = 60) -> None:
        wait_for(lambda: self.world.states() == {"Succeeded": number}, seconds, every=0.2)
        assert self.world.verdict() == {"moved": number}
        assert Activity.objects.filter(verb="move.planned").count() == number


@contextmanager
def running(world: Installation) -> Iterator[Fleet]:
    enabled = {"JOB_FALLBACK_ENABLED": "true"}
    world.ticks(1)
    valkey = world.daemon("valkey", "config.valkey")
    workers = [world.daemon("worker", *WORKER, **enabled) for _ in range(2)]
    for _ in range(2):
        world.daemon("beat", *BEAT, **enabled)
    yield Fleet(world, valkey, workers)


@pytest.fixture(scope="module")
def fleet(install: Install) -> Iterator[Fleet]:
    with install() as world, running(world) as fleet:
        world.sim.settings(latencyMs=20, rolloutSeconds=0.5)
        yield fleet


def test_two_workers_and_two_beats(fleet: Fleet) -> None:
    fleet.moves(60)
    assert not Sweep.objects.filter(by_person=True).exists()


def test_the_ticks_catch_up_when_valkey_comes_back(fleet: Fleet) -> None:
    """A worker that holds a task when the broker goes does not go with it."""
    world, before = fleet.world, fleet.world.moves().count()
    world.sim.settings(latencyMs=300)
    begun = len(world.calls("trigger"))
    world.seed(jobs=2, runsPerJob=3)
    wait_for(lambda: len(world.calls("trigger")) > begun, 60)  # from nothing, should it come first
    fleet.valkey.kill()
    fleet.have_moved(before + 6)
    world.sim.settings(latencyMs=20)
    world.seed(jobs=2, runsPerJob=3)
    world.sweep()  # a person needs no broker
    fleet.have_moved(before + 12)
    world.seed(jobs=2, runsPerJob=3)
    fleet.valkey.start()
    fleet.have_moved(before + 18)
    assert all(worker.runs for worker in fleet.workers)


@pytest.mark.soak
def test_a_worker_dies_among_others(fleet: Fleet) -> None:
    """No lease is shortened: what it held is taken up two minutes later."""
    world, before = fleet.world, fleet.world.moves().count()
    world.sim.settings(latencyMs=100)
    begun = len(world.calls("trigger"))
    world.seed(jobs=20, runsPerJob=10)
    wait_for(lambda: len(world.calls("trigger")) > begun + 20, every=0.05)
    fleet.workers[0].kill()
    fleet.have_moved(before + 200, 240)
