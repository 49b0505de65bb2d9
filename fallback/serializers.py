"""What the API tells of the fallback. Inputs and manifests of jobs are never told."""

from typing import Any

from django.db.models import Q
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from config.base.api import Moment, Shown
from fallback.models import (
    Connection,
    Destination,
    FallbackConfig,
    Move,
    MoveState,
    MoveStep,
    Pause,
    Sweep,
)

# Configs and pauses


class SourceShown(Shown):
    """Whose stuck runs: those of a workspace, or of one job in it."""

    cluster_id = serializers.CharField(source="source_cluster_id")
    workspace_id = serializers.CharField(source="source_workspace_id")
    workspace_name = serializers.CharField(source="source_workspace_name")
    job_id = serializers.SerializerMethodField(help_text="null: every job.")
    job_name = serializers.CharField(source="source_job_name")

    class Meta:
        model = FallbackConfig
        fields = ("cluster_id", "workspace_id", "workspace_name", "job_id", "job_name")

    def get_job_id(self, config: FallbackConfig) -> str | None:
        return config.source_job_id or None


class DestinationShown(Shown):
    """A workspace where stuck runs may go."""

    class Meta:
        model = Destination
        fields = ("cluster_id", "workspace_id", "workspace_fqn", "enabled", "max_open_moves")


class PauseShown(Shown):
    """What is paused, by whom, why, and until when."""

    scope = serializers.SerializerMethodField()
    by = serializers.CharField(source="by_name")

    class Meta:
        model = Pause
        fields = (
            "id",
            "scope",
            "connection_id",
            "config_id",
            "reason",
            "until",
            "by",
            "created_at",
        )

    @extend_schema_field(serializers.ChoiceField(["everything", "connection", "config"]))
    def get_scope(self, pause: Pause) -> str:
        if pause.config_id:
            return "config"
        return "connection" if pause.connection_id else "everything"


def told(configs: list[FallbackConfig]) -> list[Any]:
    """Configs with their `connection` and `destinations` loaded, as the API tells them."""
    pauses = list(Pause.objects.active(timezone.now()).filter(_stops(configs))) if configs else []
    by_scope = {pause.connection_id or pause.config_id: pause for pause in pauses}
    for config in configs:
        # The most general first.
        stops = (by_scope.get(scope) for scope in (None, config.connection_id, config.pk))
        config.stopped_by = next(filter(None, stops), None)  # type: ignore[attr-defined]
        config.paused = config.stopped_by is not None  # type: ignore[attr-defined]
        config.first = next(iter(config.destinations.all()), None)  # type: ignore[attr-defined]
    return list(ConfigShown(configs, many=True).data)


def _stops(configs: list[FallbackConfig]) -> Q:
    everything = Q(connection=None, config=None)
    connections = Q(connection__in={config.connection_id for config in configs})
    return everything | connections | Q(config__in=[config.pk for config in configs])


class ConfigShown(Shown):
    """Where stuck runs of a workspace, or of one job in it, go."""

    source = SourceShown(source="*")  # type: ignore[assignment]
    destination = DestinationShown(
        source="first", allow_null=True, help_text="The first of `destinations`."
    )
    destinations = DestinationShown(many=True)
    needs_repair = serializers.BooleanField()
    paused = serializers.BooleanField()
    pause = PauseShown(source="stopped_by", allow_null=True, help_text="What stops it now.")
    created_by = serializers.CharField(source="created_by_name")

    class Meta:
        model = FallbackConfig
        fields = (
            "id",
            "organization_id",
            "connection_id",
            "source",
            "destination",
            "destinations",
            "stuck_threshold_minutes",
            "statuses",
            "mode",
            "purge_mode",
            "enabled",
            "max_hops",
            "cooldown_minutes",
            "needs_repair",
            "paused",
            "pause",
            "created_by",
            "created_at",
            "updated_at",
        )


class RepairShown(serializers.Serializer[Any]):
    repaired = serializers.IntegerField(help_text="How many destinations got their FQN.")
    problems = serializers.ListField(child=serializers.CharField())
    needs_repair = serializers.BooleanField(help_text="Whether something is still missing.")


# Connections


class ConnectionShown(Shown):
    """A control plane; never its token."""

    has_token = serializers.BooleanField()

    class Meta:
        model = Connection
        fields = (
            "id",
            "organization_id",
            "name",
            "base_url",
            "has_token",
            "assumed_user",
            "enabled",
            "from_environment",
            "state",
            "message",
            "checked_at",
            "created_at",
            "updated_at",
        )


class FindingShown(serializers.Serializer[Any]):
    name = serializers.CharField()
    works = serializers.BooleanField()
    message = serializers.CharField()


class TestShown(serializers.Serializer[Any]):
    works = serializers.BooleanField()
    findings = FindingShown(many=True)


# Moves


class MoveSourceShown(Shown):
    """The stuck run."""

    cluster_id = serializers.CharField(source="source_cluster_id")
    workspace_id = serializers.CharField(source="source_workspace_id")
    application_id = serializers.CharField(source="source_application_id")
    version = serializers.CharField(source="source_version")
    deployment_id = serializers.CharField(source="source_deployment_id")
    run_id = serializers.CharField(source="source_run_id")
    run_name = serializers.CharField(source="source_run_name")
    status = serializers.CharField(source="source_status")
    created_at = Moment(source="source_created_at")

    class Meta:
        model = Move
        fields = (
            "cluster_id",
            "workspace_id",
            "application_id",
            "version",
            "deployment_id",
            "run_id",
            "run_name",
            "status",
            "created_at",
        )


class MoveDestinationShown(Shown):
    """The run that takes its place."""

    cluster_id = serializers.CharField(source="destination_cluster_id")
    workspace_id = serializers.CharField(source="destination_workspace_id")
    workspace_fqn = serializers.CharField(source="destination_workspace_fqn")
    deployment_id = serializers.CharField(source="destination_deployment_id")
    run_id = serializers.CharField(source="destination_run_id")
    run_name = serializers.CharField(source="destination_run_name")

    class Meta:
        model = Move
        fields = (
            "cluster_id",
            "workspace_id",
            "workspace_fqn",
            "deployment_id",
            "run_id",
            "run_name",
        )


class MoveShown(Shown):
    """One stuck run's way to another workspace."""

    source = MoveSourceShown(source="*")  # type: ignore[assignment]
    destination = MoveDestinationShown(source="*")
    can_retry = serializers.SerializerMethodField()
    can_cancel = serializers.SerializerMethodField(
        help_text="Not once a trigger was sent: the move is then finished."
    )

    class Meta:
        model = Move
        fields = (
            "id",
            "organization_id",
            "connection_id",
            "config_id",
            "sweep_id",
            "state",
            "reason",
            "message",
            "attempts",
            "job_name",
            "source",
            "destination",
            "purge_mode",
            "lineage",
            "hop",
            "by_person",
            "can_retry",
            "can_cancel",
            "created_at",
            "updated_at",
            "next_attempt_at",
            "finished_at",
        )

    def get_can_retry(self, move: Move) -> bool:
        return move.state in (MoveState.FAILED, MoveState.NEEDS_ATTENTION)

    def get_can_cancel(self, move: Move) -> bool:
        return not move.finished_at and not move.past_the_point


class StepShown(Shown):
    """What a move did, and what it was answered."""

    class Meta:
        model = MoveStep
        fields = (
            "state",
            "event",
            "attempt",
            "call",
            "request_id",
            "status",
            "milliseconds",
            "message",
            "created_at",
        )


class MoveWithSteps(MoveShown):
    """One stuck run's way to another workspace, step by step."""

    steps = StepShown(many=True)

    class Meta(MoveShown.Meta):
        fields = (*MoveShown.Meta.fields, "steps")  # type: ignore[assignment]


# Sweeps


class SweepShown(Shown):
    """One pass over an organization's sources."""

    state = serializers.SerializerMethodField()
    by = serializers.CharField(source="by_name")
    skipped = serializers.DictField(
        child=serializers.IntegerField(), help_text="How many runs, by the reason."
    )

    class Meta:
        model = Sweep
        fields = (
            "id",
            "organization_id",
            "state",
            "dry_run",
            "by_person",
            "by",
            "passes",
            "seen",
            "stuck",
            "planned",
            "skipped",
            "errors",
            "created_at",
            "finished_at",
        )

    @extend_schema_field(serializers.ChoiceField(["Waiting", "Running", "Finished"]))
    def get_state(self, sweep: Sweep) -> str:
        if sweep.finished_at:
            return "Finished"
        return "Running" if sweep.lease else "Waiting"


# Reports of sweeps are kept for long: what an older one lacks has a default.
class RunLeftShown(serializers.Serializer[Any]):
    run = serializers.CharField(default="")
    job = serializers.CharField(default="")
    reason = serializers.CharField(default="")
    message = serializers.CharField(default="")


class SweepSourceShown(serializers.Serializer[Any]):
    connection = serializers.CharField(default="")
    cluster_id = serializers.CharField(source="clusterId", default="")
    workspace_id = serializers.CharField(source="workspaceId", default="")
    seen = serializers.IntegerField(default=0)
    stuck = serializers.IntegerField(default=0)
    planned = serializers.IntegerField(default=0)
    skipped = serializers.DictField(child=serializers.IntegerField(), default=dict)
    error = serializers.CharField(default="")
    message = serializers.CharField(default="")
    runs = RunLeftShown(
        many=True, default=list, help_text="Examples of what was left alone, and why."
    )


class SweepWithSources(SweepShown):
    """One pass over an organization's sources, source by source."""

    sources = SweepSourceShown(many=True)

    class Meta(SweepShown.Meta):
        fields = (*SweepShown.Meta.fields, "sources")  # type: ignore[assignment]
