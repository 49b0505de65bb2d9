"""What the API takes."""

from typing import Any

from rest_framework import serializers

from config.base.api import Body, Moment
from fallback import match
from fallback.models import Mode, PurgeMode
from fallback.models.config import (
    LONGEST_THRESHOLD,
    REMOTE_ID,
    default_statuses,
    default_threshold,
    not_yet_supported,
)
from fallback.models.connection import ASSUMED_USER
from fallback.serializers import ConfigShown, ConnectionShown, SourceShown

STATUSES = [*match.STUCK_STATUSES, *match.OPTIONAL_STATUSES]
MOST_DESTINATIONS = 20
LONGEST_TOKEN = 8000
ORGANIZATION = "Needed by those who are in several organizations."


class RemoteId(serializers.CharField):
    """An id of TrueFoundry's."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=128, validators=[REMOTE_ID], **kwargs)


class SourceBody(Body):
    """Whose stuck runs: those of a workspace, or of one job in it."""

    told = frozenset(SourceShown.Meta.fields)

    cluster_id = RemoteId(source="source_cluster_id")
    workspace_id = RemoteId(source="source_workspace_id")
    job_id = RemoteId(
        source="source_job_id",
        required=False,
        allow_null=True,
        allow_blank=True,
        help_text="A run's applicationId. Without: every job.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "source_job_id" in attrs or not getattr(self.root, "partial", False):
            attrs["source_job_id"] = attrs.get("source_job_id") or ""
        return attrs


class DestinationBody(Body):
    """A workspace where stuck runs may go."""

    cluster_id = RemoteId()
    workspace_id = RemoteId()
    workspace_fqn = serializers.CharField(
        max_length=300, required=False, allow_blank=True, help_text="Looked up where it is missing."
    )
    enabled = serializers.BooleanField(required=False)
    max_open_moves = serializers.IntegerField(
        min_value=1, max_value=1_000_000, required=False, allow_null=True
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        missing = [name for name in ("cluster_id", "workspace_id") if name not in attrs]
        if missing:  # a PATCH, too, says all of a destination
            required = ["This field is required."]
            raise serializers.ValidationError({name: required for name in missing})
        return attrs


# `validated_data["places"]` are the destinations in order, where any were given.
class ConfigBody(Body):
    """Give `destination`, or `destinations`."""

    told = frozenset(ConfigShown.Meta.fields)

    organization_id = serializers.UUIDField(required=False, help_text=ORGANIZATION)
    connection_id = serializers.UUIDField(
        required=False, help_text="Needed where the organization has several connections."
    )
    source = SourceBody(source="*")  # type: ignore[assignment]
    destination = DestinationBody(required=False, allow_null=True, help_text="The only one.")
    destinations = serializers.ListField(
        child=DestinationBody(),
        required=False,
        allow_empty=False,
        max_length=MOST_DESTINATIONS,
        help_text="Several, in the order in which they are tried.",
    )
    stuck_threshold_minutes = serializers.IntegerField(
        min_value=1, max_value=LONGEST_THRESHOLD, required=False
    )
    statuses = serializers.ListField(
        child=serializers.ChoiceField(choices=STATUSES),
        required=False,
        allow_empty=False,
        max_length=10,
    )
    mode = serializers.ChoiceField(
        choices=Mode.choices, required=False, validators=[not_yet_supported]
    )
    purge_mode = serializers.ChoiceField(
        choices=PurgeMode.choices, required=False, validators=[not_yet_supported]
    )
    enabled = serializers.BooleanField(required=False)
    max_hops = serializers.IntegerField(min_value=1, max_value=20, required=False)
    cooldown_minutes = serializers.IntegerField(
        min_value=0, max_value=LONGEST_THRESHOLD, required=False
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        one, several = attrs.pop("destination", None), attrs.pop("destinations", None)
        if one and several and not _same_place(one, several[0]):
            text = "It differs from the first of destinations: give one of the two."
            raise serializers.ValidationError({"destination": [text]})
        if several or one:
            attrs["places"] = several or [one]
        elif not self.partial:
            raise serializers.ValidationError({"destination": ["This field is required."]})
        if "statuses" in attrs:
            attrs["statuses"] = list(dict.fromkeys(attrs["statuses"]))
        return attrs if self.partial else defaults() | attrs


def defaults() -> dict[str, Any]:
    """Of what is missing from a POST or PUT."""
    return {
        "stuck_threshold_minutes": default_threshold(),
        "statuses": default_statuses(),
        "mode": Mode.AUTO,
        "purge_mode": PurgeMode.AFTER_ACCEPT,
        "enabled": True,
        "max_hops": 3,
        "cooldown_minutes": 0,
    }


def _same_place(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("cluster_id", "workspace_id"))


class ConnectionBody(Body):
    """Where a control plane is, and a service token for it."""

    told = frozenset(ConnectionShown.Meta.fields)

    organization_id = serializers.UUIDField(required=False, help_text=ORGANIZATION)
    name = serializers.CharField(max_length=100)
    base_url = serializers.CharField(
        max_length=300,
        allow_blank=True,
        help_text="https://HOST/api/svc; without a path it gets /api/svc.",
    )
    token = serializers.CharField(
        max_length=LONGEST_TOKEN,
        required=False,
        allow_blank=True,
        write_only=True,
        help_text="Stored encrypted, never told again.",
    )
    assumed_user = serializers.CharField(max_length=64, required=False, validators=[ASSUMED_USER])
    enabled = serializers.BooleanField(required=False)


class PauseBody(Body):
    """What is paused, why, and until when."""

    connection_id = serializers.UUIDField(required=False, allow_null=True)
    config_id = serializers.UUIDField(required=False, allow_null=True)
    everything = serializers.BooleanField(
        required=False, help_text="Instead of either: all there is, for superusers."
    )
    reason = serializers.CharField(max_length=500, help_text="Others will read it.")
    until = Moment(required=False, allow_null=True, help_text="Without: until it is ended.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("connection_id") and attrs.get("config_id"):
            text = "Pause a connection or a config, not both."
            raise serializers.ValidationError({"config_id": [text]})
        named = attrs.get("connection_id") or attrs.get("config_id")
        if bool(named) == attrs.get("everything", False):
            text = "Name a connectionId or a configId, or say everything: true."
            raise serializers.ValidationError({"connection_id": [text]})
        return attrs


class SweepBody(Body):
    """Whose sources to look at."""

    organization_id = serializers.UUIDField(required=False, help_text=ORGANIZATION)
    dry_run = serializers.BooleanField(required=False, help_text="Tell, and move nothing.")
