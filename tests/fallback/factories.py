"""Rows of the fallback for tests. Each factory makes the least that is valid.

They write straight to the database: what only verbs check (the remote's knowledge of ids, loops)
is up to the test.
"""

from datetime import timedelta
from typing import Any

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from config.base.redaction import keyed_hash
from fallback.models import (
    Destination,
    FallbackConfig,
    Move,
    MoveState,
    MoveStep,
    Pause,
    PurgeMode,
    Relocation,
    StepEvent,
    Sweep,
)
from fallback.models.move import CLOSED, DRIVEN
from tests.factories import ConnectionFactory, OrganizationFactory

__all__ = [
    "ConnectionFactory",
    "DestinationFactory",
    "FallbackConfigFactory",
    "MoveFactory",
    "MoveStepFactory",
    "PauseFactory",
    "RelocationFactory",
    "SweepFactory",
]


class DestinationFactory(DjangoModelFactory[Destination]):
    """Of a config that is there: `DestinationFactory(config=config)`."""

    class Meta:
        model = Destination

    position = factory.Sequence(int)
    source_workspace_id = factory.SelfAttribute("config.source_workspace_id")
    cluster_id = "spare"
    workspace_id = factory.Sequence("spare-ws-{}".format)
    workspace_fqn = factory.LazyAttribute(lambda place: f"{place.cluster_id}:{place.workspace_id}")


class FallbackConfigFactory(DjangoModelFactory[FallbackConfig]):
    """With one destination; `destinations=3` makes three, `destinations=[{…}, {…}]` just those."""

    class Meta:
        model = FallbackConfig
        skip_postgeneration_save = True

    connection = factory.SubFactory(ConnectionFactory)
    source_cluster_id = "source"
    source_workspace_id = factory.Sequence("source-ws-{}".format)

    @factory.post_generation
    def destinations(self: Any, create: bool, given: int | list[dict[str, Any]] | None) -> None:
        if not create:
            return
        wanted = given if isinstance(given, list) else [{}] * (1 if given is None else given)
        for position, fields in enumerate(wanted):
            DestinationFactory.create(config=self, position=position, **fields)


class SweepFactory(DjangoModelFactory[Sweep]):
    class Meta:
        model = Sweep

    organization = factory.SubFactory(OrganizationFactory)
    finished_at = factory.LazyFunction(timezone.now)


class RelocationFactory(DjangoModelFactory[Relocation]):
    class Meta:
        model = Relocation

    connection = factory.SubFactory(ConnectionFactory)
    remote = factory.SelfAttribute("connection.remote")
    source_workspace_id = "source-ws"
    source_application_id = factory.Sequence("app-{}".format)
    source_version = "1"
    source_deployment_id = factory.Sequence("deployment-{}".format)
    destination_workspace_id = "spare-ws"
    destination_workspace_fqn = "spare:spare-ws"
    name = factory.Sequence("job-{:010x}".format)


class MoveFactory(DjangoModelFactory[Move]):
    """Planned and due; `MoveFactory(state="Failed")` is closed, with all that goes with it."""

    class Meta:
        model = Move

    connection = factory.SubFactory(ConnectionFactory)
    organization = factory.SelfAttribute("connection.organization")
    relocation = factory.SubFactory(
        RelocationFactory, connection=factory.SelfAttribute("..connection")
    )
    remote = factory.SelfAttribute("connection.remote")
    state = MoveState.PLANNED
    purge_mode = PurgeMode.AFTER_ACCEPT
    statuses = factory.LazyFunction(lambda: ["CREATED", "SCHEDULED"])
    stuck_threshold_minutes = 60
    job_name = "train"
    source_cluster_id = "source"
    source_workspace_id = factory.SelfAttribute("relocation.source_workspace_id")
    source_application_id = factory.SelfAttribute("relocation.source_application_id")
    source_version = factory.SelfAttribute("relocation.source_version")
    source_deployment_id = factory.SelfAttribute("relocation.source_deployment_id")
    source_run_id = factory.Sequence("run-{}".format)
    source_run_name = factory.Sequence("train-run-{}".format)
    source_created_at = factory.LazyFunction(lambda: timezone.now() - timedelta(minutes=90))
    source_status = "SCHEDULED"
    visited = factory.LazyAttribute(lambda move: [move.source_workspace_id])
    command = factory.Sequence('{{"shard": "{}"}}'.format)
    command_hash = factory.LazyAttribute(lambda move: keyed_hash(move.command))
    destination_cluster_id = "spare"
    destination_workspace_id = factory.SelfAttribute("relocation.destination_workspace_id")
    destination_workspace_fqn = factory.SelfAttribute("relocation.destination_workspace_fqn")
    destination_run_name = factory.LazyAttribute(
        lambda move: f"moved-{move.source_run_id}" if move.state == MoveState.SUCCEEDED else ""
    )
    resume_state = factory.LazyAttribute(
        lambda move: MoveState.TRIGGERING if move.state == MoveState.NEEDS_ATTENTION else ""
    )
    next_attempt_at = factory.LazyAttribute(
        lambda move: timezone.now() if move.state in DRIVEN else None
    )
    finished_at = factory.LazyAttribute(
        lambda move: timezone.now() if move.state in CLOSED else None
    )


class MoveStepFactory(DjangoModelFactory[MoveStep]):
    class Meta:
        model = MoveStep

    move = factory.SubFactory(MoveFactory)
    state = factory.SelfAttribute("move.state")
    event = StepEvent.ENTERED


class PauseFactory(DjangoModelFactory[Pause]):
    """Of a connection; `connection=None` pauses everything, `connection=None, config=…` that."""

    class Meta:
        model = Pause

    connection = factory.SubFactory(ConnectionFactory)
    reason = "maintenance"
    by_name = "ada"
