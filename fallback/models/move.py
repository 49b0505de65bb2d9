"""Moves: one stuck run's way to another workspace, written down step by step."""

import uuid
from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Organization
from config.base.actor import Actor
from config.base.leases import Leased, LeasedQuerySet
from config.base.problems import Conflict
from config.base.secrets import EncryptedJSONField, EncryptedTextField
from fallback.models.config import FallbackConfig, PurgeMode
from fallback.models.connection import Connection
from fallback.models.sweep import Sweep


class MoveState(models.TextChoices):
    PLANNED = "Planned", "Planned"  # decided; nothing has happened yet
    AWAITING_APPROVAL = "AwaitingApproval", "AwaitingApproval"
    CREATING = "Creating", "Creating"  # the deployment is being made at the destination
    AWAITING_READY = "AwaitingReady", "AwaitingReady"  # it is rolling out
    TRIGGERING = "Triggering", "Triggering"  # the trigger is about to be sent, or was
    VERIFYING = "Verifying", "Verifying"  # its answer was lost: the run is looked for
    TERMINATING = "Terminating", "Terminating"  # the source run is being stopped
    SUCCEEDED = "Succeeded", "Succeeded"
    FAILED = "Failed", "Failed"  # before the trigger; nothing runs at the destination
    CANCELLED = "Cancelled", "Cancelled"
    NEEDS_ATTENTION = "NeedsAttention", "NeedsAttention"  # a person must decide


S = MoveState
CLOSED = [S.SUCCEEDED, S.FAILED, S.CANCELLED]
OPEN = [state for state in S if state not in CLOSED]
DRIVEN = [state for state in OPEN if state not in (S.NEEDS_ATTENTION, S.AWAITING_APPROVAL)]
BEFORE_TRIGGER = [S.PLANNED, S.AWAITING_APPROVAL, S.CREATING, S.AWAITING_READY]
# With PurgeMode.DIRECTLY, Terminating comes before Triggering; otherwise after it.
NEXT: dict[str, set[str]] = {
    S.PLANNED: {S.CREATING, S.AWAITING_READY, S.TRIGGERING, S.TERMINATING, S.FAILED, S.CANCELLED},
    S.AWAITING_APPROVAL: {S.PLANNED, S.CANCELLED},
    S.CREATING: {S.AWAITING_READY, S.TRIGGERING, S.TERMINATING, S.FAILED, S.CANCELLED},
    S.AWAITING_READY: {S.CREATING, S.TRIGGERING, S.TERMINATING, S.FAILED, S.CANCELLED},
    S.TRIGGERING: {S.AWAITING_READY, S.VERIFYING, S.TERMINATING, S.SUCCEEDED, S.CANCELLED},
    S.VERIFYING: {S.TRIGGERING, S.TERMINATING, S.SUCCEEDED},
    S.TERMINATING: {S.TRIGGERING, S.SUCCEEDED, S.CANCELLED},
    S.NEEDS_ATTENTION: {*DRIVEN, S.CANCELLED},
    S.FAILED: {S.PLANNED},
    S.SUCCEEDED: set(),
    S.CANCELLED: set(),
}
for _state in DRIVEN:
    NEXT[_state] |= {S.NEEDS_ATTENTION}


SEARCHED = (
    "job_name",
    "source_run_name",
    "destination_run_name",
    "destination_workspace_fqn",
    "reason",
)
PLACES = ("source_workspace_id", "destination_workspace_id")  # what lists are filtered by, too


class Relocation(Leased):
    """A version of a source job as a deployment at a destination; its runs' moves share it."""

    class State(models.TextChoices):
        NEW = "New", "New"  # nothing sent
        CREATING = "Creating", "Creating"  # the deployment was asked for; perhaps unanswered
        ROLLING_OUT = "RollingOut", "RollingOut"
        ACTIVE = "Active", "Active"
        FAILED = "Failed", "Failed"  # `message` says why; a retry begins anew

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(Connection, models.CASCADE, related_name="relocations")
    remote = models.CharField(max_length=300)
    source_workspace_id = models.CharField(max_length=128)
    source_application_id = models.CharField(max_length=128)
    source_version = models.CharField(max_length=32)
    source_deployment_id = models.CharField(max_length=128)
    tenant_name = models.CharField(max_length=200, blank=True)
    destination_workspace_id = models.CharField(max_length=128)
    destination_workspace_fqn = models.CharField(max_length=300)
    name = models.CharField(max_length=32)  # at the destination
    state = models.CharField(max_length=10, choices=State, default=State.NEW)
    message = models.CharField(max_length=500, blank=True)
    manifest = EncryptedJSONField(null=True, blank=True, editable=False)
    version_before = models.PositiveIntegerField(default=0)  # the application's, at the intent
    application_id = models.CharField(max_length=128, blank=True)
    deployment_id = models.CharField(max_length=128, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    asked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    objects = LeasedQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "connection",
                    "destination_workspace_id",
                    "source_workspace_id",
                    "source_application_id",
                    "source_version",
                ],
                name="relocation_once",
            ),
            # Versions of one application are made one after the other: then a version that
            # appears while an answer is missing can only be the one that was asked for.
            models.UniqueConstraint(
                fields=["remote", "destination_workspace_id", "name"],
                condition=Q(state__in=["Creating", "RollingOut"]),
                name="relocation_one_rollout_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.source_version}"


class MoveQuerySet(LeasedQuerySet):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_all:
            return self.exclude(organization__in=Organization.objects.deleted())
        return self.filter(organization_id__in=actor.organizations)

    def open(self) -> Self:
        """By the time and not by the states, which is the same: that has an index of its own."""
        return self.filter(finished_at__isnull=True)

    def drivable(self, held: Q | None = None) -> Self:
        """Moves that a worker may take further; of those in `held` only past their trigger."""
        moves = self.filter(state__in=DRIVEN)
        if held is None:
            return moves
        return moves.exclude(held & Q(state__in=BEFORE_TRIGGER))


class Move(Leased):
    """One stuck run's way. Keeps a snapshot of all that it needs: its config may go."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Without an index of its own: others begin with it.
    organization = models.ForeignKey(
        Organization, models.PROTECT, related_name="moves", db_index=False
    )
    # Null once the connection was deleted; then the move has ended.
    connection = models.ForeignKey(
        Connection, models.SET_NULL, null=True, blank=True, related_name="moves"
    )
    config = models.ForeignKey(
        FallbackConfig, models.SET_NULL, null=True, blank=True, related_name="moves"
    )
    sweep = models.ForeignKey(Sweep, models.SET_NULL, null=True, blank=True, related_name="moves")
    by_person = models.BooleanField(default=False)  # goes on while JOB_FALLBACK_ENABLED is off
    remote = models.CharField(max_length=300)

    lineage = models.UUIDField(default=uuid.uuid4)
    hop = models.PositiveSmallIntegerField(default=1)
    visited = models.JSONField(default=list)  # workspace ids, the source's last

    purge_mode = models.CharField(max_length=15, choices=PurgeMode)
    statuses = models.JSONField(default=list)
    stuck_threshold_minutes = models.PositiveIntegerField()

    job_name = models.CharField(max_length=200)  # of the logical job, whatever its name here
    source_cluster_id = models.CharField(max_length=128)
    source_workspace_id = models.CharField(max_length=128)
    source_application_id = models.CharField(max_length=128)
    source_version = models.CharField(max_length=32)
    source_deployment_id = models.CharField(max_length=128)
    source_run_id = models.CharField(max_length=128)
    source_run_name = models.CharField(max_length=200)
    source_created_at = models.DateTimeField()
    source_status = models.CharField(max_length=40)
    tenant_name = models.CharField(max_length=200, blank=True)
    command = EncryptedTextField(blank=True)
    command_hash = models.CharField(max_length=64)  # keyed: tells commands apart

    destination_cluster_id = models.CharField(max_length=128)
    destination_workspace_id = models.CharField(max_length=128)
    destination_workspace_fqn = models.CharField(max_length=300)
    relocation = models.ForeignKey(
        Relocation, models.SET_NULL, null=True, blank=True, related_name="moves"
    )
    destination_deployment_id = models.CharField(max_length=128, blank=True)
    # The new run's own, as the remote told it: not the relocation's where the run is a wrong one.
    destination_application_id = models.CharField(max_length=128, blank=True)
    destination_run_id = models.CharField(max_length=128, blank=True)
    destination_run_name = models.CharField(max_length=200, blank=True)

    state = models.CharField(max_length=20, choices=MoveState, default=MoveState.PLANNED)
    resume_state = models.CharField(max_length=20, choices=MoveState, blank=True)
    reason = models.CharField(max_length=40, blank=True)
    message = models.CharField(max_length=500, blank=True)
    attempts = models.PositiveIntegerField(default=0)  # in this state
    # A trigger is out whose answer we do not have: it may have started a run, or may yet.
    trigger_unanswered = models.BooleanField(default=False)
    trigger_sent_at = models.DateTimeField(null=True, blank=True)
    trigger_lost_at = models.DateTimeField(null=True, blank=True)
    trigger_after = models.BigIntegerField(null=True, blank=True)  # epoch ms, the remote's clock
    # Once a terminate may be out unanswered; then a RUNNING source may still be about to end.
    terminate_lost_at = models.DateTimeField(null=True, blank=True)
    terminate_answered = models.BooleanField(default=False)
    source_recovered = models.BooleanField(default=False)  # terminating the new run instead
    mailed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = MoveQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["remote", "source_run_id"],
                condition=Q(state__in=[*OPEN, S.SUCCEEDED]),
                name="move_once_per_run",
            ),
            models.UniqueConstraint(
                fields=["remote", "destination_deployment_id", "destination_run_name"],
                condition=~Q(destination_run_name=""),
                name="move_claims_a_run_once",
            ),
            models.UniqueConstraint(
                fields=["remote", "destination_deployment_id", "command_hash"],
                condition=Q(trigger_unanswered=True),
                name="move_one_unanswered_trigger",
            ),
            models.CheckConstraint(
                condition=Q(state__in=CLOSED, finished_at__isnull=False)
                | Q(state__in=OPEN, finished_at__isnull=True),
                name="move_finished_at_iff_closed",
            ),
            models.CheckConstraint(
                condition=Q(state__in=CLOSED)
                | Q(connection__isnull=False, relocation__isnull=False),
                name="move_open_has_a_connection",
            ),
            models.CheckConstraint(
                condition=~Q(state=S.SUCCEEDED) | ~Q(destination_run_name=""),
                name="move_succeeded_has_a_run",
            ),
        ]
        indexes = [
            # What a worker takes next.
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="move_due",
            ),
            # Lists of an organization, newest first; behind that what people search in, so that
            # a search of 100,000 moves does not read their wide rows.
            models.Index(
                fields=["organization", "-created_at", "-id", *SEARCHED, *PLACES],
                name="move_latest",
            ),
            # Few are open; SQLite would look for them through all that ever were, newest first.
            models.Index(
                fields=["organization", "-created_at", "-id"],
                condition=Q(finished_at__isnull=True),
                name="move_open",
            ),
            models.Index(fields=["organization", "-updated_at", "-id"], name="move_changed"),
            models.Index(fields=["-created_at", "-id"], name="move_latest_of_all"),
            models.Index(fields=["organization", "state", "-created_at"], name="move_by_state"),
            models.Index(fields=["organization", "job_name", "-created_at"], name="move_by_job"),
            models.Index(fields=["lineage"], name="move_lineage"),
            # A sweep asks which runs it knows, and which were made by a move.
            models.Index(fields=["remote", "source_run_id"], name="move_of_run"),
            models.Index(fields=["remote", "destination_run_id"], name="move_made_run"),
            # Mail for those that need a person.
            models.Index(
                fields=["updated_at"],
                condition=Q(state=S.NEEDS_ATTENTION, mailed_at__isnull=True),
                name="move_to_mail",
            ),
        ]

    def __str__(self) -> str:
        return self.source_run_name

    @property
    def past_the_point(self) -> bool:
        """Whether a trigger was sent, or the source may have been ended for it."""
        state = self.resume_state or self.state
        return state not in BEFORE_TRIGGER and self.state not in CLOSED

    def must_allow(self, to: str) -> None:
        """Raises Conflict where the machine has no way from this state to `to`."""
        if to not in NEXT[self.state]:
            raise Conflict(f"A move that is {self.state} cannot become {to}.", "WrongState")


class StepEvent(models.TextChoices):
    ENTERED = "entered", "entered"  # the state's work is about to be tried
    ANSWERED = "answered", "answered"
    LOST = "lost", "answer lost"  # it may have happened
    REFUSED = "refused", "refused"
    WAITING = "waiting", "waiting"
    LOOKED = "looked", "looked"


class MoveStep(models.Model):
    """One thing that happened to a move; append-only, written with the transition it tells of."""

    move = models.ForeignKey(Move, models.CASCADE, related_name="steps")
    state = models.CharField(max_length=20, choices=MoveState)
    event = models.CharField(max_length=10, choices=StepEvent)
    attempt = models.PositiveIntegerField(default=0)
    call = models.CharField(max_length=200, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)  # HTTP
    milliseconds = models.PositiveIntegerField(null=True, blank=True)
    message = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.state} {self.event}"


def step(move: Move, state: str, event: StepEvent, message: str = "", **details: Any) -> MoveStep:
    """An unsaved step, for bulk inserts. Times are taken here, so that order is kept."""
    return MoveStep(
        move_id=move.pk,
        state=state,
        event=event,
        attempt=move.attempts,
        message=message[:500],
        created_at=details.pop("at", None) or datetime.now(tz=timezone.get_current_timezone()),
        **details,
    )
