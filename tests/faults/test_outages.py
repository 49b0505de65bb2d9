"""A remote that is away for a while, in whole or in part, and one that refuses the token."""

import time

import pytest

from accounts.models import Activity
from fallback.models import Connection, Sweep
from fallback.simulator.client import Simulator
from tests.faults.world import Installation, Json, wait_for

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(
    "trigger",
    [
        pytest.param("lost", id="triggers arrive"),
        # Ten seconds more: only then is it certain that a trigger did not arrive.
        pytest.param("refuse", id="nothing arrives", marks=pytest.mark.soak),
    ],
)
def test_down_in_the_middle(world: Installation, trigger: str) -> None:
    """For three seconds no call is answered, and nobody can know whether it was carried out."""
    world.sim.settings(latencyMs=30, rolloutSeconds=0.2)
    world.seed(jobs=8, runsPerJob=5, healthyRuns=4)
    sweep = world.begin_sweep(timeout=90)
    wait_for(lambda: len(world.calls("trigger")) > 5)
    world.sim.faults({"call": "trigger", "effect": trigger}, {"call": "*", "effect": "refuse"})
    time.sleep(3)
    world.sim.faults()
    assert sweep.wait().figures["open"] == 0
    assert world.verdict() == {"moved": 40}
    assert world.states() == {"Succeeded": 40}


def test_the_remote_is_killed_and_comes_back(world: Installation) -> None:
    """kill -9: connections are refused for two seconds; what it has answered it still knows."""
    with Simulator.start(state=world.home / "remote.sqlite3", rollout_seconds=1) as remote:
        world.sim = remote
        world.seed(jobs=4, runsPerJob=5)
        sweep = world.begin_sweep(timeout=90)
        wait_for(lambda: len(remote.log()) == 4)
        remote.kill()
        time.sleep(2)
        remote.run()
        assert sweep.wait().figures["open"] == 0
        assert world.verdict() == {"moved": 20}


def test_nobody_there_is_not_nothing_stuck(world: Installation) -> None:
    world.seed(jobs=2, runsPerJob=2)
    world.sim.faults({"call": "*", "effect": "refuse"})
    swept = world.begin_sweep().wait()
    assert (swept.code, swept.figures["seen"], swept.figures["errors"]) == (1, 0, 1)
    assert Sweep.objects.get().sources[0]["error"] == "Unreachable"
    world.sim.faults()
    assert world.sweep()["succeeded"] == 4


@pytest.mark.parametrize("effect", ["status", "refuse", "garbage", "truncated"])
def test_one_bad_page_does_not_cost_a_sweep(world: Installation, effect: str) -> None:
    """A page that is asked for again; or a source that moves nothing, not half of it."""
    world.seed(jobs=5, runsPerJob=25)
    world.sim.faults({"call": "list_runs", "effect": effect, "skip": 1, "times": 1})
    first = world.manage("sweep", "--json").figures
    assert first["planned"] in (125, 0)
    assert first["planned"] == 125 or effect in ("garbage", "truncated")
    second = world.manage("sweep", "--json").figures
    assert first["planned"] + second["planned"] == 125
    assert world.moves().values("source_run_id").distinct().count() == 125


def test_a_remote_that_wants_to_be_left_alone_holds_nobody_up(world: Installation) -> None:
    """A minute and more: longer than a task may take, so that its worker would be killed."""
    world.seed(jobs=1, runsPerJob=1)
    busy = {"effect": "status", "status": 503, "retryAfter": 70, "times": 1}
    world.sim.faults({"call": "list_runs", **busy})
    begun = time.monotonic()
    assert world.sweep()["succeeded"] == 1
    assert time.monotonic() - begun < 20


def test_terminate_is_down_during_a_whole_sweep(world: Installation) -> None:
    """Moved runs wait for their end; nothing of them is moved again."""
    world.seed(jobs=3, runsPerJob=2)
    world.sim.faults({"call": "terminate", "effect": "status", "status": 503})
    first = world.sweep(timeout=2)
    assert (first["planned"], first["succeeded"], first["open"]) == (6, 0, 6)
    second = world.sweep(timeout=2)
    assert (second["planned"], second["skipped"]) == (0, {"InProgress": 6})
    world.sim.faults()
    world.hurry()
    assert world.sweep()["succeeded"] == 6
    assert world.verdict() == {"moved": 6}
    assert len(world.calls("trigger")) == 6


def unauthorized() -> int:
    return Activity.objects.filter(verb="connection.unauthorized").count()


def test_the_token_is_refused_in_the_middle(world: Installation) -> None:
    """Told once, however many calls it hits; moves go on when it is accepted again."""
    world.sim.settings(latencyMs=40, rolloutSeconds=0.3)
    world.seed(jobs=6, runsPerJob=4)
    first = world.begin_sweep(timeout=4)
    wait_for(lambda: len(world.calls("trigger")) > 5)
    world.sim.settings(tokens=["another"])
    assert first.wait().figures["open"] == 24
    connection = Connection.objects.get()
    assert (connection.state, unauthorized()) == ("unauthorized", 1)
    second = world.sweep(timeout=2)
    assert (second["planned"], second["errors"], unauthorized()) == (0, 1, 1)
    assert Sweep.objects.latest("created_at").sources[0]["error"] == "Unauthorized"
    world.sim.settings(tokens=[world.sim.token], latencyMs=0)
    world.hurry()
    assert world.sweep(timeout=90)["open"] == 0
    assert world.verdict() == {"moved": 24}
    connection.refresh_from_db()
    assert (connection.state, unauthorized()) == ("connected", 1)


@pytest.mark.parametrize(
    "fault",
    [
        {"effect": "status", "status": 500},
        {"effect": "status", "status": 403},
        {"effect": "refuse"},
        {"effect": "garbage"},
    ],
    ids=lambda fault: f"{fault['effect']} {fault.get('status', '')}".strip(),
)
def test_one_source_failing_never_stops_another(world: Installation, fault: Json) -> None:
    seeded = world.seed(sourceClusters=3, jobs=2, runsPerJob=2)
    bad = seeded["sources"][1]["workspaceId"]
    match = {"workspaceId": bad}
    world.sim.faults({"call": "list_runs", "match": match, **fault})
    sweep = world.begin_sweep().wait()
    assert (sweep.code, sweep.figures["succeeded"], sweep.figures["errors"]) == (1, 8, 1)
    assert {row["workspaceId"] for row in Sweep.objects.get().sources if row["error"]} == {bad}
    assert world.verdict() == {"moved": 8, "waiting": 4}


def test_a_token_that_is_replaced_while_a_sweep_waits(world: Installation) -> None:
    """The old one is refused from then on, and the sweep goes on with the new one."""
    world.seed(jobs=1, runsPerJob=1)
    world.sim.faults({"call": "terminate", "effect": "status", "status": 503})
    sweep = world.begin_sweep(timeout=30)
    wait_for(lambda: world.states() == {"Terminating Unavailable": 1})
    connection = world.connection()
    connection.token = "new-token"
    connection.save()
    world.sim.settings(tokens=["new-token"])
    world.sim.faults()
    try:
        assert sweep.wait().figures["succeeded"] == 1
    finally:
        world.sim.settings(tokens=[world.sim.token])
    assert world.verdict() == {"moved": 1}
