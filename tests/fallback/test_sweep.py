"""Sweeps against a real control plane: what is planned, what is left alone and why."""

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import structlog
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from accounts import belonging
from accounts.models import Activity, Organization
from config.base.actor import Actor
from fallback import configuring, planning, tasks
from fallback.models import (
    Connection,
    Destination,
    FallbackConfig,
    Mode,
    Move,
    MoveState,
    MoveStep,
    PurgeMode,
    Relocation,
    Sweep,
)
from fallback.simulator.client import Simulator
from fallback.sweep import request, run_requested, sweep
from tests.fallback.simulating import serving

pytestmark = pytest.mark.django_db
ADA = Actor(name="ada", sees_all=True)
Json = dict[str, Any]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with serving() as found:
        yield found


@pytest.fixture
def seeded(simulator: Simulator) -> Json:
    return simulator.seed(jobs=3, runsPerJob=2, destinations=2, healthyRuns=3)


@pytest.fixture
def connection(simulator: Simulator, organization: Organization) -> Connection:
    return Connection.objects.create(
        organization=organization, name="remote", base_url=simulator.url, token=simulator.token
    )


@pytest.fixture
def config(connection: Connection, seeded: Json) -> FallbackConfig:
    return configured(connection, seeded)


def configured(connection: Connection, seeded: Json, **fields: Any) -> FallbackConfig:
    source = seeded["source"]
    config = FallbackConfig(
        connection=connection,
        source_cluster_id=source["clusterId"],
        source_workspace_id=source["workspaceIds"][0],
        **fields,
    )
    places = [
        Destination(cluster_id=place["clusterId"], workspace_id=place["workspaceId"])
        for place in seeded["destinations"]
    ]
    return configuring.save_config(config, places, ADA)


def swept(*arguments: str) -> tuple[Json, int]:
    """What `manage.py sweep --json` prints, and its exit code."""
    out = StringIO()
    try:
        call_command("sweep", "--json", *arguments, stdout=out)
    except SystemExit as end:
        return json.loads(out.getvalue()), int(end.code or 0)
    return json.loads(out.getvalue()), 0


@pytest.mark.django_db(transaction=True)
def test_what_is_stuck_is_moved_with_its_own_input(
    config: FallbackConfig, simulator: Simulator
) -> None:
    figures, code = swept("--wait")
    assert code == 0
    assert figures.pop("seconds") >= 0
    assert figures.pop("seen") >= 6
    assert figures == {
        "stuck": 6,
        "planned": 6,
        "succeeded": 6,
        "failed": 0,
        "needsAttention": 0,
        "open": 0,
        "skipped": {},
        "errors": 0,
    }
    verdict = simulator.verdict()
    assert verdict["totals"] == {"moved": 6}
    assert (verdict["strays"], verdict["healthyTouched"], verdict["manifestChanges"]) == (
        [],
        [],
        [],
    )
    for move in Move.objects.all():
        states = [step.state for step in move.steps.filter(event="entered")]
        assert states[0] == "Planned"
        assert states[-3:] == ["Triggering", "Terminating", "Succeeded"]
        verbs = Activity.objects.filter(object_id=str(move.pk)).values_list("verb", flat=True)
        assert sorted(verbs) == ["move.planned", "move.succeeded"]


@pytest.mark.django_db(transaction=True)
def test_a_second_sweep_leaves_alone_what_was_moved(config: FallbackConfig) -> None:
    swept("--wait")
    figures, code = swept("--wait")
    assert (code, figures["planned"], figures["stuck"]) == (0, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_never_leaves_the_source_and_moves_it_once(
    connection: Connection, seeded: Json, simulator: Simulator
) -> None:
    configured(connection, seeded, purge_mode=PurgeMode.NEVER)
    swept("--wait")
    figures, _ = swept("--wait")
    assert figures["skipped"]["AlreadyMoved"] == 6
    assert simulator.verdict()["totals"] == {"unterminated": 6}


@pytest.mark.django_db(transaction=True)
def test_directly_ends_the_source_before_the_trigger(
    connection: Connection, seeded: Json, simulator: Simulator
) -> None:
    configured(connection, seeded, purge_mode=PurgeMode.DIRECTLY)
    figures, code = swept("--wait")
    assert (code, figures["succeeded"]) == (0, 6)
    assert simulator.verdict()["totals"] == {"moved": 6}
    entered = MoveStep.objects.filter(move=Move.objects.first(), event="entered")
    states = list(entered.values_list("state", flat=True))
    assert states.index("Terminating") < states.index("Triggering")


def test_observe_moves_nothing_and_says_what_would(connection: Connection, seeded: Json) -> None:
    configured(connection, seeded, mode=Mode.OBSERVE)
    row = sweep(connection.organization, ADA)
    assert (row.planned, row.skipped["ObserveOnly"]) == (0, 6)
    told = [run["message"] for run in row.sources[0]["runs"] if run["reason"] == "ObserveOnly"]
    assert all("would move to" in message for message in told)
    assert not Move.objects.exists()


def test_a_dry_run_writes_nothing(config: FallbackConfig) -> None:
    before = Activity.objects.count()
    figures, code = swept("--dry-run")
    assert (code, figures["planned"], figures["open"]) == (0, 6, 0)
    assert not Move.objects.exists() and not Relocation.objects.exists()
    assert not Sweep.objects.exists() and Activity.objects.count() == before


def test_a_move_says_how_long_its_run_was_stuck_and_how_long_is_too_long(
    config: FallbackConfig,
) -> None:
    sweep(config.connection.organization, ADA)
    told = {move.message for move in Move.objects.all()}
    assert told <= {f"Stuck for 1 h {age} min, the limit is 1 h." for age in (29, 30)}
    assert told


def test_a_sweep_plans_as_many_moves_as_it_may(config: FallbackConfig, settings: Settings) -> None:
    settings.FALLBACK_MAX_MOVES_PER_SWEEP = 4
    row = sweep(config.connection.organization, ADA)
    assert (row.planned, row.skipped["Capped"]) == (4, 2)
    assert sweep(config.connection.organization, ADA).planned == 2


def test_a_full_destination_passes_to_the_next(config: FallbackConfig) -> None:
    first, second = config.destinations.all()
    Destination.objects.filter(pk=first.pk).update(max_open_moves=2)
    Destination.objects.filter(pk=second.pk).update(max_open_moves=1)
    row = sweep(config.connection.organization, ADA)
    assert (row.planned, row.skipped["DestinationFull"]) == (3, 3)
    there = list(Move.objects.values_list("destination_workspace_id", flat=True))
    assert sorted(map(there.count, (first.workspace_id, second.workspace_id))) == [1, 2]


def test_a_disconnected_destination_is_passed_over(
    config: FallbackConfig, simulator: Simulator
) -> None:
    first, second = config.destinations.all()
    simulator.connect(first.cluster_id, False)
    assert sweep(config.connection.organization, ADA).planned == 6
    there = set(Move.objects.values_list("destination_workspace_id", flat=True))
    assert there == {second.workspace_id}


def test_quiet_passes_share_a_row(config: FallbackConfig, simulator: Simulator) -> None:
    organization = config.connection.organization
    simulator.reset()
    FallbackConfig.objects.all().delete()
    for _ in range(3):
        sweep(organization, Actor.system("sweep"))
    row = Sweep.objects.get()
    assert (row.passes, row.quiet) == (3, True)
    sweep(organization, ADA, by_person=True)
    assert Sweep.objects.count() == 2


def test_a_sweep_that_was_asked_for_is_made_once(config: FallbackConfig) -> None:
    pk = request(config.connection.organization, ADA).pk
    assert Sweep.objects.filter(pk=pk, finished_at=None).exists()
    assert (run_requested(), run_requested()) == (1, 0)
    row = Sweep.objects.get(pk=pk, finished_at__isnull=False)
    assert (row.planned, row.by_name, row.by_person) == (6, "ada", True)
    assert all(move.by_person for move in Move.objects.all())
    dry = request(config.connection.organization, ADA, dry_run=True)
    run_requested()
    dry.refresh_from_db()
    assert (dry.planned, Move.objects.count()) == (0, 6)


def test_a_refused_token_moves_nothing_and_is_told_once(config: FallbackConfig) -> None:
    Connection.objects.update(token="wrong")
    for _ in range(2):
        row = sweep(config.connection.organization, Actor.system("sweep"))
        assert (row.planned, row.sources[0]["error"]) == (0, "Unauthorized")
    assert Connection.objects.get().state == "unauthorized"
    assert Activity.objects.filter(verb="connection.unauthorized").count() == 1
    figures, code = swept()
    assert (figures["errors"], code) == (1, 1)


def test_a_clock_that_is_off_moves_nothing(config: FallbackConfig, simulator: Simulator) -> None:
    simulator.settings(clockOffsetSeconds=120)
    row = sweep(config.connection.organization, ADA)
    assert (row.planned, row.sources[0]["error"]) == (0, "ClockSkew")
    assert "120 s off" in row.sources[0]["message"] or "119 s off" in row.sources[0]["message"]


def test_one_source_that_fails_stops_no_other(config: FallbackConfig, simulator: Simulator) -> None:
    broken = Connection.objects.create(
        organization=config.connection.organization,
        name="broken",
        base_url="http://127.0.0.1:9/api/svc",
        token="t",
    )
    other = FallbackConfig.objects.create(
        connection=broken, source_cluster_id="c", source_workspace_id="w"
    )
    Destination.objects.create(
        config=other, source_workspace_id="w", cluster_id="c", workspace_id="v", workspace_fqn="v"
    )
    row = sweep(config.connection.organization, ADA)
    assert (row.planned, row.errors) == (6, 1)
    assert {source["error"] for source in row.sources} == {"", "Unreachable"}


def test_the_command_says_why_it_cannot_run(organization: Organization) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("sweep")
    assert caught.value.returncode == 2
    with pytest.raises(CommandError, match="no organization 'nobody'") as caught:
        call_command("sweep", "--organization", "nobody")
    assert caught.value.returncode == 2


def test_the_tick_says_once_why_it_does_nothing(
    settings: Settings, config: FallbackConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_told", "")
    settings.JOB_FALLBACK_ENABLED = False
    with structlog.testing.capture_logs() as logs:
        tasks.sweep_tick()
        tasks.sweep_tick()
    told = [line["why"] for line in logs if line["event"] == "automation_idle"]
    assert told == ["JOB_FALLBACK_ENABLED is off."]  # also without a cache, as here
    settings.JOB_FALLBACK_ENABLED = True
    tasks.sweep_organization(str(config.connection.organization_id))
    assert Move.objects.filter(state=MoveState.PLANNED, by_person=False).count() == 6


def test_the_processes_of_a_worker_say_it_once_together(
    settings: Settings, config: FallbackConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    monkeypatch.setattr(tasks, "_WORKER", "one")
    with structlog.testing.capture_logs() as logs:
        for enabled in (False, False, True, True, False, False):
            monkeypatch.setattr(tasks, "_told", "")  # a process that has had no tick yet
            settings.JOB_FALLBACK_ENABLED = enabled
            tasks.tell_once(tasks.why_idle())
    events = [line["event"] for line in logs]
    assert events == ["automation_idle", "automation_active", "automation_idle"]


def test_an_organization_deleted_while_its_runs_were_looked_at(
    config: FallbackConfig, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no open moves when it is deleted, and gets none afterwards."""
    write = planning.write

    def later(*arguments: Any) -> None:
        belonging.delete(organization, ADA, organization.name)
        write(*arguments)

    monkeypatch.setattr(planning, "write", later)
    sweep(organization, ADA)
    assert not Move.objects.exists()
