"""Processes that die or stand still, anywhere: what they began is finished once, by others."""

import random
import signal
import time

import psutil
import pytest

from fallback.models import PurgeMode
from tests import needs
from tests.faults.databases import somebody_writes
from tests.faults.world import Installation, Json, Running, wait_for

pytestmark = pytest.mark.faults
PURGES = [PurgeMode.AFTER_ACCEPT, PurgeMode.DIRECTLY, PurgeMode.NEVER]
MOST_STEPS = 500


@pytest.mark.parametrize(
    ("jobs", "runs", "most", "hows"),
    [
        # With one run, just after a step is just before the next.
        pytest.param(1, 1, 30, ["before", "during"], id="one run"),
        pytest.param(2, 3, 150, ["before", "after", "during"], id="six", marks=pytest.mark.soak),
    ],
)
def test_dying_at_any_step(
    world: Installation, jobs: int, runs: int, most: int, hows: list[str]
) -> None:
    """A sweep for each step at which it can die, each with an organization of its own."""
    for how in hows:
        world.sim.settings(latencyMs=60 if how == "during" else 0)
        deaths = []
        for purge in PURGES:
            slug = f"{purge}-{how}-{{}}".lower()
            for number in range(1, most + 1):
                connection = world.connection(organization=slug.format(number))
                world.seed(connection, jobs=jobs, runsPerJob=runs, purge_mode=purge)
            arguments = ("sweep", "--wait", "--json", "--organization", slug)
            deaths.append(world.begin(*arguments, module="tests.faults.crash", CRASH_HOW=how))
        for process in deaths:
            ended = process.wait(600)
            assert ended.code == 0, ended.err
            died = int(ended.out.splitlines()[-1])
            assert (5 if how == "during" else 15) * jobs < died < most
    world.sim.settings(latencyMs=0)
    world.expire_leases()
    assert world.sweep(timeout=120)["open"] == 0
    each = jobs * runs * most * len(hows)
    assert world.verdict() == {"moved": 2 * each, "unterminated": each}  # PurgeMode.NEVER
    assert world.states() == {"Succeeded": 3 * each}


@pytest.mark.parametrize(
    ("kills", "stuck"),
    [(12, 60), pytest.param(256, 100, marks=pytest.mark.soak)],
)
def test_killed_at_random_moments(world: Installation, kills: int, stuck: int) -> None:
    """Each process finds what the others left; when nothing is left, more has become stuck."""
    chance = random.Random(kills)
    world.sim.settings(latencyMs=40, rolloutSeconds=0.1)
    wish = {"jobs": stuck // 10, "runsPerJob": 10, "healthyRuns": 8}
    world.seed(**wish)
    died = seeded = 0
    while died < kills:
        if not any(outcome == "waiting" for outcome in world.outcomes().values()):
            world.seed(**wish)
            seeded += 1
        process = world.begin_sweep()
        time.sleep(chance.uniform(0.2, 1.2))
        died += process.kill().code == -9
        world.expire_leases()
    assert world.sweep(timeout=120)["open"] == 0
    assert world.verdict() == {"moved": stuck * (seeded + 1)}
    assert world.states() == {"Succeeded": stuck * (seeded + 1)}


def stop(process: Running) -> None:
    """SIGSTOP, but not in a transaction: what it has locked there would stay locked."""
    process.signal(signal.SIGSTOP)
    while somebody_writes():
        process.signal(signal.SIGCONT)
        time.sleep(0.002)
        process.signal(signal.SIGSTOP)


def begin_briefly_leased(world: Installation, name: str, stuck: Json, **env: str) -> Running:
    connection = world.connection(organization=name)
    world.seed(connection, **stuck)
    arguments = ("sweep", "--wait", "--json", "--organization", connection.organization.slug)
    return world.begin(*arguments, module="tests.faults.crash", LEASE_SECONDS="3", **env)


def taken_over(world: Installation, stopped: list[Running], moved: int) -> None:
    """Their leases run out, another process does their work, and then they go on."""
    time.sleep(3)
    world.sim.settings(latencyMs=0)
    assert world.sweep(timeout=60)["open"] == 0
    assert world.verdict() == {"moved": moved}
    sent = world.sim.log()[-1]["seq"]
    for process in stopped:
        process.signal(signal.SIGCONT)
        assert process.wait().code == 0
    assert [row["call"] for row in world.sim.log(sent)] == []
    assert world.verdict() == {"moved": moved}


def test_stopped_past_its_lease_just_before_a_call(world: Installation) -> None:
    """Not even what it was about to send goes out when it wakes up."""
    paths = {"create": "/v1/apps", "trigger": "/v1/jobs/trigger", "terminate": "/v1/jobs/terminate"}
    one = {"jobs": 1, "runsPerJob": 1}
    stopped = [begin_briefly_leased(world, name, one, STOP_AT=paths[name]) for name in paths]
    for process in stopped:
        wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)  # noqa: B023
    taken_over(world, stopped, 3)


@pytest.mark.soak
@pytest.mark.parametrize("lap", range(8))
def test_stopped_past_its_lease_at_any_moment(world: Installation, lap: int) -> None:
    chance, stopped = random.Random(lap), []
    world.sim.settings(latencyMs=150)
    for call in ("create", "trigger", "terminate"):
        begun = len(world.calls(call))
        process = begin_briefly_leased(world, call, {"jobs": 4, "runsPerJob": 3})
        wait_for(lambda: len(world.calls(call)) > begun)  # noqa: B023
        time.sleep(chance.uniform(0, 0.1))
        stop(process)
        stopped.append(process)
    taken_over(world, stopped, 36)
