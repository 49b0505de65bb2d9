"""What holds moves back: caps, pauses, switches, clocks, loops; and what is finished anyway."""

from typing import Any

import pytest

from accounts.models import Activity
from config.base.actor import Actor
from fallback.configuring import save_config
from fallback.models import Destination, FallbackConfig, PurgeMode, Sweep
from tests.faults.world import Installation, Json, Running, wait_for

pytestmark = pytest.mark.faults


def test_no_sweep_plans_more_than_it_may(world: Installation) -> None:
    world.seed(jobs=3, runsPerJob=4)
    for left in (12, 7, 2):
        swept = world.sweep(FALLBACK_MAX_MOVES_PER_SWEEP="5")
        assert swept["planned"] == swept["succeeded"] == min(left, 5)
        assert swept["skipped"].get("Capped", 0) == max(left - 5, 0)
    assert world.verdict() == {"moved": 12}


def test_a_destination_takes_no_more_than_its_limit(world: Installation) -> None:
    seeded = world.sim.seed(jobs=2, runsPerJob=4, destinations=2)
    world.config(seeded["sources"][0], *seeded["destinations"])
    Destination.objects.update(max_open_moves=3)
    swept = world.sweep()
    assert (swept["succeeded"], swept["skipped"]) == (6, {"DestinationFull": 2})
    used = [run["successors"][0]["workspaceId"] for run in succeeded(world)]
    assert {used.count(place["workspaceId"]) for place in seeded["destinations"]} == {3}


def test_a_disconnected_cluster_is_passed_over(world: Installation) -> None:
    seeded = world.sim.seed(jobs=2, runsPerJob=2, destinations=2)
    world.config(seeded["sources"][0], *seeded["destinations"])
    first, second = seeded["destinations"]
    world.sim.connect(first["clusterId"], False)
    assert world.sweep()["succeeded"] == 4
    used = {run["successors"][0]["workspaceId"] for run in succeeded(world)}
    assert used == {second["workspaceId"]}


def succeeded(world: Installation) -> list[Json]:
    return [run for run in world.sim.verdict()["runs"] if run["outcome"] == "moved"]


@pytest.mark.parametrize("seconds", [120, -120])
def test_a_clock_that_is_off_moves_nothing(world: Installation, seconds: int) -> None:
    world.seed(jobs=2, runsPerJob=2)
    world.sim.settings(clockOffsetSeconds=seconds)
    swept = world.begin_sweep().wait()
    assert (swept.code, swept.figures["planned"], swept.figures["errors"]) == (1, 0, 1)
    assert Sweep.objects.get().sources[0]["error"] == "ClockSkew"
    assert world.calls("create") == []
    world.sim.settings(clockOffsetSeconds=0)
    assert world.sweep()["succeeded"] == 4


def scope_of(world: Installation, scope: str) -> tuple[str, ...]:
    if scope == "everything":
        return ()
    if scope == "connection":
        return ("--connection", str(world.connection().pk))
    return ("--config", str(FallbackConfig.objects.first().pk))  # type: ignore[union-attr]


@pytest.mark.parametrize(("scope", "paused"), [("everything", 8), ("connection", 8), ("config", 4)])
def test_a_pause_stops_what_is_new_and_what_has_triggered_nothing(
    world: Installation, scope: str, paused: int
) -> None:
    world.seed(sourceClusters=2, jobs=2, runsPerJob=2)
    where = scope_of(world, scope)
    assert world.manage("sweep", "--json").figures["planned"] == 8
    assert world.manage("pause", *where, "--reason", "a test").code == 0
    assert world.sweep()["succeeded"] == 8 - paused
    world.seed(jobs=1, runsPerJob=1)
    swept = world.sweep()
    assert swept["skipped"].get("Paused", 0) == (1 if scope != "config" else 0)
    assert world.states().get("Planned", 0) == paused
    assert world.manage("resume", *where).code == 0
    assert world.sweep()["open"] == 0
    assert world.verdict() == {"moved": 9}
    assert Activity.objects.filter(verb__in=["fallback.paused", "fallback.resumed"]).count() == 2


EAGER = "from config.celery import app; app.conf.task_always_eager = True"


def begin_tick(world: Installation, name: str, **env: str) -> Running:
    """One of beat's ticks, with all that it sends, in a process of its own."""
    code = f"{EAGER}; from fallback import tasks; tasks.{name}_tick()"
    return world.begin("shell", "--verbosity", "0", "--command", code, **env)


def plan(world: Installation, **wish: Any) -> None:
    """Moves that automation has planned, and begun nothing of."""
    world.seed(**wish)
    world.manage("sweep", "--json")
    world.moves().update(by_person=False)


def half_moved(world: Installation) -> None:
    """Four moves that have triggered and not terminated; their process is dead."""
    plan(world, jobs=2, runsPerJob=2)
    world.sim.faults({"call": "terminate", "effect": "status"})
    driving = begin_tick(world, "drive", JOB_FALLBACK_ENABLED="true")
    wait_for(lambda: world.states() == {"Terminating Unavailable": 4})
    driving.kill()
    world.sim.faults()
    world.expire_leases()
    world.hurry()


def test_what_has_triggered_is_finished_in_spite_of_a_pause(world: Installation) -> None:
    half_moved(world)
    assert world.manage("pause", "--reason", "a test").code == 0
    assert world.sweep()["succeeded"] == 4
    assert world.verdict() == {"moved": 4}


def test_switched_off_the_ticks_begin_nothing_and_finish_what_has_begun(
    world: Installation,
) -> None:
    half_moved(world)
    plan(world, jobs=1, runsPerJob=2)
    world.seed(jobs=1, runsPerJob=2)
    for name in ("sweep", "drive", "drive"):
        assert begin_tick(world, name).wait().code == 0
    assert world.states() == {"Succeeded": 4, "Planned": 2}
    assert world.verdict() == {"moved": 4, "waiting": 4}
    assert "JOB_FALLBACK_ENABLED is off" in world.words()
    assert world.sweep()["succeeded"] == 4  # a person's sweep does what a person asks for


@pytest.mark.parametrize("what", ["config", "connection"])
def test_what_is_disabled_is_left_alone(world: Installation, what: str) -> None:
    seeded = world.seed(sourceClusters=2, jobs=2, runsPerJob=2)
    if what == "config":
        first = seeded["sources"][0]["workspaceId"]
        FallbackConfig.objects.filter(source_workspace_id=first).update(enabled=False)
        assert world.sweep()["succeeded"] == 4
    else:
        connection = world.connection()
        type(connection).objects.update(enabled=False)
        assert world.begin_sweep().wait().code == 2
        assert world.verdict() == {"waiting": 8}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("switched off", "ConfigDisabled"),
        ("only observing", "ConfigDisabled"),
        ("deleted", "ConfigDisabled"),
        ("another purge mode", "ConfigChanged"),
    ],
)
def test_what_is_changed_while_a_sweep_looks_is_heeded(
    world: Installation, change: str, reason: str
) -> None:
    """A listing may take 40 seconds: longer than people wait before they trust what they did."""
    world.seed(sourceClusters=2, jobs=1, runsPerJob=1)
    config = FallbackConfig.objects.all()[:1].get()
    listing = {"call": "list_runs", "match": {"workspaceId": config.source_workspace_id}}
    world.sim.faults({**listing, "effect": "hang", "seconds": 3, "times": 1})
    begun = world.begin_sweep()
    wait_for(lambda: world.sim.fired()[0]["fired"])
    same = FallbackConfig.objects.filter(pk=config.pk)
    if change == "deleted":
        same.delete()
    elif change == "another purge mode":
        config.purge_mode = PurgeMode.NEVER
        save_config(config, list(config.destinations.all()), Actor.system("test"), look_up=False)
    else:
        same.update(**({"mode": "observe"} if change == "only observing" else {"enabled": False}))
    figures = begun.wait().figures
    assert (figures["planned"], figures["skipped"]) == (1, {reason: 1})
    assert figures["errors"] == 0
    assert world.verdict() == {"moved": 1, "waiting": 1}


def test_observing_changes_nothing(world: Installation) -> None:
    world.seed(jobs=2, runsPerJob=2, mode="observe")
    assert world.sweep()["skipped"] == {"ObserveOnly": 4}
    assert not world.moves().exists()
    assert world.verdict() == {"waiting": 4}


# Jobs that move on: the simulator's clock, within what is allowed, makes a minute pass.


def stuck_at_the_destination(world: Installation, **config: Any) -> tuple[Json, Json]:
    """Two runs moved to a place without room, where they have been for more than a minute."""
    seeded = world.sim.seed(jobs=1, runsPerJob=2, destinations=2)
    first, second = seeded["destinations"]
    world.sim.make_room(first["workspaceId"], False)
    world.config(seeded["sources"][0], first)
    world.sim.settings(clockOffsetSeconds=-45)
    assert world.sweep()["succeeded"] == 2
    world.sim.settings(clockOffsetSeconds=45)
    world.config(first, second, stuck_threshold_minutes=1, **config)
    return seeded, first


def test_two_hops_are_one_lineage(world: Installation) -> None:
    stuck_at_the_destination(world)
    assert world.sweep()["succeeded"] == 2
    assert world.verdict() == {"moved": 2}
    assert sorted(world.moves().values_list("hop", flat=True)) == [1, 1, 2, 2]
    assert world.moves().values("lineage").distinct().count() == 2
    assert world.moves().values("job_name").distinct().count() == 1


def test_no_more_hops_than_allowed(world: Installation) -> None:
    stuck_at_the_destination(world, max_hops=1)
    swept = world.sweep()
    assert (swept["planned"], swept["skipped"]) == (0, {"MaxHops": 2})


def test_a_cooldown_between_hops(world: Installation) -> None:
    stuck_at_the_destination(world, cooldown_minutes=5)
    swept = world.sweep()
    assert (swept["planned"], swept["skipped"]) == (0, {"Cooldown": 2})


def test_never_back_to_where_it_has_been(world: Installation) -> None:
    """A loop that no config shows: the first was deleted before the second was made."""
    seeded, first = stuck_at_the_destination(world)
    FallbackConfig.objects.all().delete()
    world.config(first, seeded["sources"][0], stuck_threshold_minutes=1)
    swept = world.sweep()
    assert (swept["planned"], swept["skipped"]) == (0, {"LoopDetected": 2})
    assert world.verdict() == {"moved": 2}
