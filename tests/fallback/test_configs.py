"""Bad rows are refused twice: by validation, with the field's name, and by the database."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from config.base.actor import Actor
from fallback.configuring import save_config
from fallback.models import (
    Connection,
    Destination,
    FallbackConfig,
    Move,
    Pause,
    Relocation,
)
from tests.factories import alike
from tests.fallback.factories import (
    ConnectionFactory,
    FallbackConfigFactory,
    MoveFactory,
    PauseFactory,
    RelocationFactory,
)

ACTOR = Actor.system("test")
EMOJI, HUGE = "team-🚀", "a" * 10_000
pytestmark = pytest.mark.django_db


@pytest.fixture
def connection() -> Connection:
    return ConnectionFactory.create()


def save(connection: Connection, *places: str, **fields: Any) -> FallbackConfig:
    """Through the verb, and without the remote: what can be told without it is told."""
    fields = {"source_cluster_id": "source", "source_workspace_id": "here"} | fields
    destinations = [
        Destination(cluster_id="spare", workspace_id=place, workspace_fqn=f"spare:{place}")
        for place in places or ("there",)
    ]
    config = FallbackConfig(connection=connection, **fields)
    return save_config(config, destinations, ACTOR, look_up=False)


def refused(connection: Connection, *places: str, **fields: Any) -> dict[str, list[str]]:
    before = FallbackConfig.objects.count()
    with pytest.raises(ValidationError) as found:
        save(connection, *places, **fields)
    assert FallbackConfig.objects.count() == before, "nothing is half-saved"
    return found.value.message_dict


class TestValidation:
    @pytest.mark.parametrize("minutes", [0, -1, "x", 10**9, None, "60 min"])
    def test_a_threshold(self, connection, minutes):
        assert list(refused(connection, stuck_threshold_minutes=minutes)) == [
            "stuck_threshold_minutes"
        ]

    @pytest.mark.parametrize("minutes", [1, 60, 525_600])
    def test_a_threshold_in_range_is_taken(self, connection, minutes):
        assert save(connection, stuck_threshold_minutes=minutes).pk

    @pytest.mark.parametrize("value", [EMOJI, HUGE, "", "a b", "-a", "a\n", "a/../b", None])
    @pytest.mark.parametrize("field", ["source_cluster_id", "source_workspace_id"])
    def test_an_id(self, connection, field, value):
        assert field in refused(connection, **{field: value})

    @pytest.mark.parametrize("value", [EMOJI, HUGE, "a b", "-a", "a\n"])
    def test_a_job_id(self, connection, value):
        assert list(refused(connection, source_job_id=value)) == ["source_job_id"]

    @pytest.mark.parametrize("value", [EMOJI, HUGE, "", "a b", "-a"])
    def test_a_destinations_id(self, connection, value):
        (told, *_) = refused(connection, value)["destinations"]
        assert told.startswith("workspace_id: ")

    def test_a_destination_is_needed(self, connection):
        config = FallbackConfig(
            connection=connection, source_cluster_id="a", source_workspace_id="b"
        )
        with pytest.raises(ValidationError) as found:
            save_config(config, [], ACTOR, look_up=False)
        assert list(found.value.message_dict) == ["destinations"]

    def test_source_and_destination_differ(self, connection):
        told = refused(connection, "here")["destinations"]
        assert told == ["workspace_id: Source and destination are the same."]

    def test_a_destination_is_there_once(self, connection):
        (told,) = refused(connection, "there", "there")["destinations"]
        assert told == "workspace_id: there is there twice."

    @pytest.mark.parametrize("job", ["", "job-1"])
    def test_one_config_for_a_source(self, connection, job):
        save(connection, source_job_id=job)
        assert refused(connection, source_job_id=job) == {
            "source_workspace_id": ["There is a config for this source already."]
        }
        assert save(connection, source_job_id="another").pk
        assert save(ConnectionFactory.create(), source_job_id=job).pk

    def test_a_chain_that_leads_back_is_spelled_out(self, connection):
        save(connection, "second", source_workspace_id="first")
        save(connection, "third", source_workspace_id="second")
        (told,) = refused(connection, "first", source_workspace_id="third")["destinations"]
        assert re.fullmatch(
            r"This closes a loop: \S*third → \S*first → \S*second → \S*third\.", told
        )
        assert save(connection, "fourth", source_workspace_id="third").pk

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("mode", "approve"),
            ("mode", "whatever"),
            ("purge_mode", "Gracefully"),
            ("purge_mode", "whatever"),
            ("statuses", []),
            ("statuses", ["DONE"]),
            ("statuses", "CREATED"),
            ("max_hops", 0),
            ("max_hops", 21),
            ("cooldown_minutes", -1),
            ("cooldown_minutes", 10**9),
        ],
    )
    def test_a_choice(self, connection, field, value):
        assert list(refused(connection, **{field: value})) == [field]

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", EMOJI),
            ("name", HUGE),
            ("name", ""),
            ("base_url", ""),
            ("base_url", HUGE),
            ("base_url", "tfy.example.org"),
            ("token", "a b"),
            ("assumed_user", EMOJI),
        ],
    )
    def test_a_connections_field(self, organization, field, value):
        connection = ConnectionFactory.build(organization=organization, **{field: value})
        with pytest.raises(ValidationError) as found:
            connection.full_clean()
        assert field in found.value.message_dict


# Past validation: one write for each constraint that must fail.


def _configs(**fields: Any) -> None:
    made = FallbackConfigFactory.create()
    fields = {"source_cluster_id": "a", "source_workspace_id": "b"} | fields
    FallbackConfig.objects.bulk_create([FallbackConfig(connection=made.connection, **fields)])


def _second_config(job_id: str) -> None:
    first = FallbackConfigFactory.create(source_job_id=job_id)
    same = {"connection": first.connection, "source_workspace_id": first.source_workspace_id}
    second = FallbackConfigFactory.build(source_job_id=job_id, **same)
    FallbackConfig.objects.bulk_create([second])


def _destinations(**changes: Any) -> None:
    FallbackConfigFactory.create(destinations=2)
    Destination.objects.update(**changes)


def _moves(states: tuple[str, ...], alike: dict[str, Any]) -> None:
    move = MoveFactory.create(state=states[0], **alike)
    for state in states[1:]:
        MoveFactory.create(
            state=state, connection=move.connection, relocation=move.relocation, **alike
        )


def _relocations(**alike: Any) -> None:
    first = RelocationFactory.create()
    same = {"connection": first.connection, "destination_workspace_id": "spare-ws"}
    Relocation.objects.filter(pk=first.pk).update(**alike)
    Relocation.objects.bulk_create([RelocationFactory.build(**same | alike)])


JOB = {"source_application_id": "app", "source_workspace_id": "ws", "source_version": "1"}
ROLLING = {"remote": "https://tfy:443", "name": "same-name", "state": "Creating"}
WRONG: dict[str, list[Callable[[], object]]] = {
    "config_one_per_source": [lambda: _second_config(""), lambda: _second_config("job")],
    "config_threshold_in_range": [
        lambda: _configs(stuck_threshold_minutes=0),
        lambda: _configs(stuck_threshold_minutes=525_601),
        lambda: _configs(stuck_threshold_minutes=10**9),
        lambda: FallbackConfigFactory.create(stuck_threshold_minutes=525_601),
    ],
    "config_source_ids_plain": [
        lambda: _configs(source_cluster_id=EMOJI),
        lambda: _configs(source_workspace_id=""),
        lambda: _configs(source_workspace_id="a b"),
        lambda: _configs(source_workspace_id="a\n"),
        lambda: _configs(source_job_id="-a"),
    ],
    "config_modes_supported": [
        lambda: _configs(mode="approve"),
        lambda: _configs(purge_mode="Gracefully"),
        lambda: _configs(mode=""),
    ],
    "destination_once": [lambda: _destinations(workspace_id="same")],
    "destination_is_not_source": [lambda: _destinations(workspace_id=F("source_workspace_id"))],
    "destination_ids_plain": [
        lambda: _destinations(cluster_id=EMOJI),
        lambda: _destinations(cluster_id=""),
    ],
    "connection_name": [
        lambda: alike(ConnectionFactory, "organization_id", "name"),
    ],
    "connection_one_from_environment": [
        lambda: [
            ConnectionFactory.create(from_environment=True, base_url="", token="") for _ in "ab"
        ]
    ],
    "connection_environment_stores_nothing": [
        lambda: ConnectionFactory.create(base_url=""),
        lambda: ConnectionFactory.create(from_environment=True),
        lambda: ConnectionFactory.create(from_environment=True, base_url=""),
    ],
    "pause_has_one_scope": [lambda: PauseFactory.create(config=FallbackConfigFactory.create())],
    "pause_one_global": [lambda: [PauseFactory.create(connection=None) for _ in "ab"]],
    "relocation_once": [lambda: _relocations(**JOB)],
    "relocation_one_rollout_at_a_time": [
        lambda: _relocations(**ROLLING),
        lambda: _relocations(**ROLLING | {"state": "RollingOut"}),
    ],
    "move_once_per_run": [
        lambda: _moves(("Planned", "Planned"), {"source_run_id": "run"}),
        lambda: _moves(("Succeeded", "Planned"), {"source_run_id": "run"}),
        lambda: _moves(("NeedsAttention", "Succeeded"), {"source_run_id": "run"}),
    ],
    "move_claims_a_run_once": [
        lambda: _moves(
            ("Terminating", "Succeeded"),
            {"destination_run_name": "run", "destination_deployment_id": "d"},
        )
    ],
    "move_one_unanswered_trigger": [
        lambda: _moves(
            ("Triggering", "Verifying"),
            {"trigger_unanswered": True, "destination_deployment_id": "d", "command": "same"},
        )
    ],
    "move_finished_at_iff_closed": [
        lambda: MoveFactory.create(finished_at=timezone.now()),
        lambda: MoveFactory.create(state="Failed", finished_at=None),
    ],
    "move_open_has_a_connection": [
        lambda: MoveFactory.create() and Move.objects.update(connection=None),
        lambda: MoveFactory.create() and Move.objects.update(relocation=None),
    ],
    "move_succeeded_has_a_run": [
        lambda: MoveFactory.create(state="Succeeded", destination_run_name="")
    ],
}


def constraints() -> set[str]:
    models = apps.get_app_config("fallback").get_models()
    return {str(one.name) for model in models for one in model._meta.constraints}


def test_every_constraint_is_tried():
    assert set(WRONG) == constraints()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        pytest.param(name, write, id=f"{name}-{number}")
        for name, writes in WRONG.items()
        for number, write in enumerate(writes)
    ],
)
def test_the_database_refuses(name, write):
    with pytest.raises(IntegrityError) as found, transaction.atomic():
        write()
    text = str(found.value)
    assert name in text or "UNIQUE constraint failed" in text, text


@pytest.mark.parametrize(
    "fields",
    [
        {"source_workspace_id": HUGE},
        {"stuck_threshold_minutes": -1},
        {"stuck_threshold_minutes": "x"},
        {"stuck_threshold_minutes": 10**30},
    ],
    ids=["10 kB", "-1", "x", "10^30"],
)
def test_the_database_refuses_what_its_types_do_not_hold(fields):
    with pytest.raises((DatabaseError, ValueError, OverflowError)), transaction.atomic():
        _configs(**fields)


def test_one_pause_for_each_connection_and_config(connection):
    PauseFactory.create(connection=connection)
    with pytest.raises(IntegrityError), transaction.atomic():
        Pause.objects.bulk_create([PauseFactory.build(connection=connection)])
    config = FallbackConfigFactory.create(connection=connection)
    PauseFactory.create(connection=None, config=config)
    with pytest.raises(IntegrityError), transaction.atomic():
        Pause.objects.bulk_create([PauseFactory.build(connection=None, config=config)])


def test_what_is_over_makes_room():
    """Constraints forbid two that are open, not two at all."""
    _moves(("Failed", "Cancelled", "Planned"), {"source_run_id": "run"})
    _relocations(remote="https://tfy:443", name="same-name", state="Active")
