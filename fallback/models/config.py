"""Configs: which stuck runs go where, and what is paused."""

import uuid
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import (
    MaxValueValidator,
    MinValueValidator,
    ProhibitNullCharactersValidator,
    RegexValidator,
)
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import Organization, User
from config.base.actor import Actor
from fallback import match
from fallback.models.connection import Connection

# `\Z` and the bounds are understood alike by Python (SQLite) and PostgreSQL.
REMOTE_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z"
REMOTE_ID = RegexValidator(
    REMOTE_ID_PATTERN,
    "Use an id as TrueFoundry shows it: letters, digits and . _ : -, at most 128.",
)
LONGEST_THRESHOLD = 525_600  # minutes: a year


class Mode(models.TextChoices):
    AUTO = "auto", "auto: move what is stuck"
    OBSERVE = "observe", "observe: record what would move, move nothing"
    APPROVE = "approve", "approve: wait for a person"


class PurgeMode(models.TextChoices):
    """The fate of the source run."""

    AFTER_ACCEPT = "AfterAccept", "after accept: create, trigger, terminate the source"
    DIRECTLY = "Directly", "directly: terminate and confirm, then trigger; never two copies"
    GRACEFULLY = "Gracefully", "gracefully: terminate once the new run is running"
    NEVER = "Never", "never: leave the source run"


NOT_YET = [Mode.APPROVE, PurgeMode.GRACEFULLY]
PURGES_NOW = [PurgeMode.AFTER_ACCEPT, PurgeMode.DIRECTLY, PurgeMode.NEVER]


def not_yet_supported(value: str) -> None:
    if value in NOT_YET:
        raise ValidationError(f"'{value}' is not supported yet.", code="NotYetSupported")


def known_statuses(value: Any) -> None:
    known = [*match.STUCK_STATUSES, *match.OPTIONAL_STATUSES]
    if not isinstance(value, list) or not value or set(value) - set(known):
        raise ValidationError(f"Choose at least one of {', '.join(known)}.")


def default_statuses() -> list[str]:
    return list(match.STUCK_STATUSES)


def default_threshold() -> int:
    return settings.JOB_FALLBACK_STUCK_THRESHOLD_MINUTES


class FallbackConfigQuerySet(models.QuerySet["FallbackConfig"]):
    def visible_to(self, actor: Actor) -> Self:
        alive = self.filter(connection__organization__deleted_at__isnull=True)
        if actor.sees_all:
            return alive
        return alive.filter(connection__organization_id__in=actor.organizations)


class FallbackConfig(models.Model):
    """Where stuck runs of a workspace, or of one job in it, go. Ids are TrueFoundry's."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(Connection, models.CASCADE, related_name="configs")
    source_cluster_id = models.CharField(max_length=128, validators=[REMOTE_ID])
    source_workspace_id = models.CharField(max_length=128, validators=[REMOTE_ID])
    source_job_id = models.CharField(
        max_length=128, blank=True, validators=[REMOTE_ID], help_text="Empty: every job."
    )
    source_workspace_name = models.CharField(max_length=200, blank=True, editable=False)
    source_job_name = models.CharField(max_length=200, blank=True, editable=False)
    stuck_threshold_minutes = models.PositiveIntegerField(
        default=default_threshold,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_THRESHOLD)],
    )
    statuses = models.JSONField(default=default_statuses, validators=[known_statuses])
    mode = models.CharField(
        max_length=10, choices=Mode, default=Mode.AUTO, validators=[not_yet_supported]
    )
    purge_mode = models.CharField(
        max_length=15,
        choices=PurgeMode,
        default=PurgeMode.AFTER_ACCEPT,
        validators=[not_yet_supported],
    )
    enabled = models.BooleanField(default=True)
    max_hops = models.PositiveSmallIntegerField(
        default=3, validators=[MinValueValidator(1), MaxValueValidator(20)]
    )
    cooldown_minutes = models.PositiveIntegerField(
        default=0, validators=[MaxValueValidator(LONGEST_THRESHOLD)]
    )
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    created_by_name = models.CharField(max_length=100, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = FallbackConfigQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "connection",
                    "source_cluster_id",
                    "source_workspace_id",
                    "source_job_id",
                ],
                name="config_one_per_source",
                violation_error_message="There is a config for this source already.",
            ),
            models.CheckConstraint(
                condition=Q(stuck_threshold_minutes__range=(1, LONGEST_THRESHOLD)),
                name="config_threshold_in_range",
            ),
            models.CheckConstraint(
                condition=Q(source_cluster_id__regex=REMOTE_ID_PATTERN)
                & Q(source_workspace_id__regex=REMOTE_ID_PATTERN)
                & (Q(source_job_id="") | Q(source_job_id__regex=REMOTE_ID_PATTERN)),
                name="config_source_ids_plain",
            ),
            models.CheckConstraint(
                condition=Q(mode__in=[Mode.AUTO, Mode.OBSERVE]) & Q(purge_mode__in=PURGES_NOW),
                name="config_modes_supported",
            ),
        ]

    def __str__(self) -> str:
        source = self.source_workspace_name or self.source_workspace_id
        if self.source_job_id:
            source += f" / {self.source_job_name or self.source_job_id}"
        return source

    @property
    def organization_id(self) -> uuid.UUID:
        return self.connection.organization_id

    @property
    def needs_repair(self) -> bool:
        """Whether a destination has no FQN. Reads `destinations`: prefetch them for lists."""
        return any(not destination.workspace_fqn for destination in self.destinations.all())


class Destination(models.Model):
    """One place where a config's runs may go; tried in order of position."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    config = models.ForeignKey(FallbackConfig, models.CASCADE, related_name="destinations")
    position = models.PositiveSmallIntegerField(default=0)
    # A copy of the config's, so that the database can refuse source = destination.
    source_workspace_id = models.CharField(max_length=128, editable=False)
    cluster_id = models.CharField(max_length=128, validators=[REMOTE_ID])
    workspace_id = models.CharField(max_length=128, validators=[REMOTE_ID])
    workspace_fqn = models.CharField(
        "workspace FQN",
        max_length=300,
        blank=True,
        validators=[RegexValidator(r"^[!-~]+\Z", "An FQN is plain ASCII without spaces.")],
        help_text="Looked up when it is left empty.",
    )
    enabled = models.BooleanField(default=True)
    max_open_moves = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["config", "workspace_id"],
                name="destination_once",
                violation_error_message="The config has this destination already.",
            ),
            models.CheckConstraint(
                condition=~Q(workspace_id=F("source_workspace_id")),
                name="destination_is_not_source",
                violation_error_message="Source and destination are the same workspace.",
            ),
            models.CheckConstraint(
                condition=Q(cluster_id__regex=REMOTE_ID_PATTERN)
                & Q(workspace_id__regex=REMOTE_ID_PATTERN),
                name="destination_ids_plain",
            ),
        ]

    def __str__(self) -> str:
        return self.workspace_fqn or self.workspace_id

    def clean(self) -> None:
        if self.config_id and not self.source_workspace_id:
            self.source_workspace_id = self.config.source_workspace_id
        if self.workspace_id and self.workspace_id == self.source_workspace_id:
            raise ValidationError({"workspace_id": "Source and destination are the same."})


class PauseQuerySet(models.QuerySet["Pause"]):
    def active(self, now: datetime) -> Self:
        return self.filter(Q(until__isnull=True) | Q(until__gt=now))

    def visible_to(self, actor: Actor) -> Self:
        """A global pause is seen by all: it stops everybody's moves."""
        if actor.sees_all:
            gone = Organization.objects.deleted().values("pk")
            of_gone = Q(connection__organization__in=gone)
            of_gone |= Q(config__connection__organization__in=gone)
            return self.exclude(pk__in=self.filter(of_gone).values("pk"))
        return self.filter(
            Q(connection__isnull=True, config__isnull=True)
            | Q(connection__organization_id__in=actor.organizations)
            | Q(config__connection__organization_id__in=actor.organizations)
        )


class Pause(models.Model):
    """Nothing new is moved: everywhere, for one connection, or for one config."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.OneToOneField(
        Connection, models.CASCADE, null=True, blank=True, related_name="pause"
    )
    config = models.OneToOneField(
        FallbackConfig, models.CASCADE, null=True, blank=True, related_name="pause"
    )
    reason = models.CharField(max_length=500, validators=[ProhibitNullCharactersValidator()])
    until = models.DateTimeField("end", null=True, blank=True)
    by_name = models.CharField("author", max_length=100, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = PauseQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(connection__isnull=True) | Q(config__isnull=True),
                name="pause_has_one_scope",
                violation_error_message="Pause a connection or a config, not both.",
            ),
            models.UniqueConstraint(
                models.Value(1),
                condition=Q(connection__isnull=True, config__isnull=True),
                name="pause_one_global",
                violation_error_message="Everything is paused already.",
            ),
        ]

    def __str__(self) -> str:
        if self.config_id:
            return f"config {self.config}"
        return f"connection {self.connection}" if self.connection_id else "everything"
