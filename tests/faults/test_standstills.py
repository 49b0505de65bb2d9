"""Processes that stand still for longer than what they hold is theirs: others finish it once."""

import random
import signal
import time
from contextlib import suppress

import psutil
import pytest

from tests.faults import stalling
from tests.faults.databases import somebody_writes
from tests.faults.world import Installation, Json, Running, wait_for

pytestmark = pytest.mark.faults


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


def taken_over(world: Installation, stopped: list[Running], moved: int, *codes: int) -> None:
    """Their leases run out, another process does their work, and then they would go on."""
    time.sleep(3)
    world.sim.settings(latencyMs=0)
    world.sweep(timeout=2)
    world.settle()
    assert world.sweep(timeout=60)["open"] == 0
    assert world.verdict() == {"moved": moved}
    sent = world.sim.log()[-1]["seq"]
    for process in stopped:
        with suppress(ProcessLookupError):  # it has been ended already
            process.signal(signal.SIGCONT)
        assert process.wait().code in codes
    assert [row["call"] for row in world.sim.log(sent)] == []
    assert world.verdict() == {"moved": moved}


PATHS = {"create": "/v1/apps", "trigger": "/v1/jobs/trigger", "terminate": "/v1/jobs/terminate"}


def stand_still(world: Installation, env: str, **more: str) -> list[Running]:
    """Three processes, each stopped where `env` says, of each kind of call."""
    one = {"jobs": 1, "runsPerJob": 1}
    stopped = [begin_briefly_leased(world, n, one, **{env: PATHS[n]}, **more) for n in PATHS]
    for process in stopped:
        gone = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
        wait_for(lambda: psutil.Process(process.pid).status() in gone)  # noqa: B023
    return stopped


@pytest.mark.parametrize("what", [{}, {"SUSPENDED": "1"}], ids=["a process", "a machine"])
def test_stopped_past_its_lease_just_before_a_call(
    world: Installation, what: dict[str, str]
) -> None:
    """Not even what it was about to send goes out when it wakes up."""
    stopped = stand_still(world, "STOP_AT", STANDSTILL_SECONDS="100", **what)
    taken_over(world, stopped, 3, 0)


def test_stopped_past_its_lease_after_the_look_at_the_clock(world: Installation) -> None:
    """It has seen that there is time, and would send at once: it does not wake up."""
    stopped = stand_still(world, "STOP_AFTER", STANDSTILL_SECONDS="1")
    taken_over(world, stopped, 3, -signal.SIGKILL)


def test_what_a_dead_process_has_not_got_rid_of_is_not_sent(world: Installation) -> None:
    """The remote stands still with half of the trigger; the other half is in our kernel."""
    seeded = world.sim.seed(jobs=1, runsPerJob=0, destinations=1)
    long = f"echo {'x' * 100_000}"
    world.sim.add_run(seeded["jobs"][0]["id"], ageMinutes=90, command=long)
    upstream = world.sim.url.removesuffix("/api/svc")
    with stalling.proxy(upstream, "/jobs/trigger") as stalled:
        connection = world.connection(url=stalled.url)
        world.config(seeded["sources"][0], *seeded["destinations"], connection=connection)
        first = world.begin_sweep()
        assert stalled.arrived.wait(20)
        time.sleep(0.5)  # the process has handed it to its kernel
        first.kill()
        world.expire_leases()
        world.sweep(timeout=1)
        assert world.states() == {"Verifying AnswerLost": 1}
        world.settle()
        assert world.sweep()["succeeded"] == 1
        stalled.go_on.set()
        assert stalled.over.wait(20)
    assert world.verdict() == {"moved": 1}


@pytest.mark.soak
@pytest.mark.parametrize("lap", range(8))
def test_stopped_past_its_lease_at_any_moment(world: Installation, lap: int) -> None:
    chance, stopped = random.Random(lap), []
    world.sim.settings(latencyMs=150)
    for call in ("create", "trigger", "terminate"):
        begun = len(world.calls(call))
        stuck: Json = {"jobs": 4, "runsPerJob": 3}
        process = begin_briefly_leased(world, call, stuck, STANDSTILL_SECONDS="0.9")
        wait_for(lambda: len(world.calls(call)) > begun)  # noqa: B023
        time.sleep(chance.uniform(0, 0.1))
        stop(process)
        stopped.append(process)
    taken_over(world, stopped, 36, 0, -signal.SIGKILL)  # 0: it stood still before it drove
