"""What the API's lists of the fallback may be filtered by."""

from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from config.base.parameters import FLAG, ID, MOMENT, NUMBER, AnyOf, Filters, one_of
from fallback.models import (
    ConnectionState,
    Destination,
    Mode,
    MoveState,
    PurgeMode,
)
from fallback.models.move import OPEN


class Truth(AnyOf):
    """By a condition of its own, true or false."""

    def __init__(self, condition: Any, description: str = "") -> None:
        super().__init__(FLAG, description=description)
        self.condition = condition

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        if not value or set(value) == {True, False}:
            return qs
        return qs.filter(self.condition) if value[0] else qs.exclude(self.condition)


class Towards(AnyOf):
    """Configs with a destination that has any of the values."""

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        if not value:
            return qs
        places = Destination.objects.filter(**{f"{self.field_name}__in": value})
        return qs.filter(pk__in=places.values("config_id"))


class Dated(Filters):
    created_after = AnyOf(MOMENT, "created_at", "gte")
    created_before = AnyOf(MOMENT, "created_at", "lt")


class ConfigFilters(Dated):
    connection_id = AnyOf(ID)
    source_cluster_id = AnyOf()
    source_workspace_id = AnyOf()
    source_job_id = AnyOf(description="Empty: those for every job.")
    destination_cluster_id = Towards(field_name="cluster_id")
    destination_workspace_id = Towards(field_name="workspace_id")
    mode = AnyOf(one_of(Mode.values))
    purge_mode = AnyOf(one_of(PurgeMode.values))
    enabled = AnyOf(FLAG)
    needs_repair = Truth(
        Exists(Destination.objects.filter(config=OuterRef("pk"), workspace_fqn="")),
        "Whether a destination has no FQN.",
    )
    created_by = AnyOf(field_name="created_by_name")
    updated_after = AnyOf(MOMENT, "updated_at", "gte")
    updated_before = AnyOf(MOMENT, "updated_at", "lt")


class ConnectionFilters(Dated):
    name = AnyOf()
    state = AnyOf(one_of(ConnectionState.values))
    enabled = AnyOf(FLAG)
    from_environment = AnyOf(FLAG)


class PauseFilters(Dated):
    connection_id = AnyOf(ID)
    config_id = AnyOf(ID)
    by = AnyOf(field_name="by_name")


class MoveFilters(Dated):
    state = AnyOf(one_of(MoveState.values))
    open = Truth(Q(state__in=OPEN), "Whether it still goes on, or waits for a person.")
    reason = AnyOf()
    connection_id = AnyOf(ID)
    config_id = AnyOf(ID)
    sweep_id = AnyOf(ID)
    lineage = AnyOf(ID, description="The logical job: one id across its moves.")
    job_name = AnyOf()
    purge_mode = AnyOf(one_of(PurgeMode.values))
    by_person = AnyOf(FLAG)
    hop = AnyOf(NUMBER)
    source_cluster_id = AnyOf()
    source_workspace_id = AnyOf()
    source_application_id = AnyOf()
    source_run_id = AnyOf()
    source_run_name = AnyOf()
    destination_cluster_id = AnyOf()
    destination_workspace_id = AnyOf()
    destination_deployment_id = AnyOf()
    destination_run_id = AnyOf()
    destination_run_name = AnyOf()
    updated_after = AnyOf(MOMENT, "updated_at", "gte")
    updated_before = AnyOf(MOMENT, "updated_at", "lt")
    finished_after = AnyOf(MOMENT, "finished_at", "gte")
    finished_before = AnyOf(MOMENT, "finished_at", "lt")


class SweepFilters(Dated):
    by_person = AnyOf(FLAG)
    by = AnyOf(field_name="by_name")
    dry_run = AnyOf(FLAG)
    quiet = AnyOf(FLAG)
    finished = Truth(Q(finished_at__isnull=False))
    with_errors = Truth(Q(errors__gt=0))
    finished_after = AnyOf(MOMENT, "finished_at", "gte")
    finished_before = AnyOf(MOMENT, "finished_at", "lt")
