"""Moves, their steps and the deployments that they share: the state machine's, read-only here.

Commands and manifests hold other people's secrets. They stay encrypted: no page loads them.
"""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.enums import ActionVariant

from accounts.admin.base import Masses, Question, ReadOnly, asking
from accounts.admin.showing import (
    SECONDS,
    ByPersonFilter,
    DayFilter,
    OrganizationFilter,
    link,
    link_to,
    moment,
    pill,
    state,
    table,
    when,
)
from accounts.forms import NeededReasonForm
from config.base import live
from config.base.actor import Actor
from fallback import moving
from fallback.admin.connections import ConnectionFilter
from fallback.models import Move, MoveState, MoveStep, Relocation
from fallback.models.move import NEXT
from fallback.tasks import drive_tick

MOST_STEPS = 100  # shown on a move's page
RELOCATIONS: dict[str, str] = {
    Relocation.State.CREATING: "active",
    Relocation.State.ROLLING_OUT: "active",
    Relocation.State.ACTIVE: "good",
    Relocation.State.FAILED: "bad",
}
RETRY = Question(
    title="Retry moves",
    sentence="Each is taken up where it broke. Nothing is created or triggered twice.",
    button="Retry",
    done="goes on",
)
CANCEL = Question(
    title="Cancel moves",
    sentence="The runs stay where they are, and later sweeps leave them alone.",
    button="Cancel moves",
    done="cancelled",
    way_out="Keep moving",
    form=NeededReasonForm,
    danger=True,
)


def retry_now(move: Move, actor: Actor, reason: str) -> None:
    moving.retry(move, actor, reason)
    live.nudge(drive_tick)


@admin.register(Move)
class MoveAdmin(Masses):
    list_display = (
        when("created_at"),
        "run",
        "how",
        "reason",
        "to",
        "owner",
        when("updated_at"),
    )
    list_display_links = ("run",)
    list_filter = (
        OrganizationFilter,
        ConnectionFilter,
        ("state", ChoicesDropdownFilter),
        ("purge_mode", ChoicesDropdownFilter),
        ("by_person", ByPersonFilter),
        ("created_at", DayFilter),
    )
    search_fields = (
        "^job_name",
        "^source_run_name",
        "=source_run_id",
        "=destination_run_name",
        "=reason",
    )
    search_help_text = "Job, run or reason"
    ordering = ("-created_at", "-id")
    change_form_outer_after_template = "admin/fallback/steps.html"
    actions = ["retry", "cancel"]
    actions_detail = ["retry", "cancel"]
    fieldsets = (
        (
            None,
            {"fields": (("how", "reason"), "message", ("progress", "attempts", "next_attempt_at"))},
        ),
        (
            "Source",
            {
                "fields": (
                    ("job_name", "source_run_name", "source_status"),
                    ("source_cluster_id", "source_workspace_id", "source_created_at"),
                    ("source_application_id", "source_version", "source_run_id"),
                )
            },
        ),
        (
            "Destination",
            {
                "fields": (
                    ("destination_workspace_fqn", "destination_workspace_id"),
                    ("relocation", "destination_deployment_id", "destination_run_name"),
                )
            },
        ),
        ("Lineage", {"fields": (("lineage_link", "hop"), "way")}),
        (
            "Record",
            {
                "fields": (
                    ("organization", "connection"),
                    ("config", "sweep", "by_person"),
                    ("purge_mode", "stuck_threshold_minutes", "mailed_at"),
                    ("created_at", "updated_at", "finished_at"),
                )
            },
        ),
    )
    readonly_fields = ("how", "progress", "lineage_link", "way", "next_attempt_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Move]:
        paths = ("organization", "connection", "config", "sweep", "relocation")
        secrets = ("command", "connection__token", "relocation__manifest", "sweep__sources")
        return super().get_queryset(request).select_related(*paths).defer(*secrets)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {"steps": lambda: self.steps(object_id)}
        return super().change_view(request, object_id, form_url, (extra_context or {}) | context)

    def steps(self, object_id: str) -> dict[str, Any]:
        """The latest, in their order."""
        latest = list(MoveStep.objects.filter(move_id=object_id).order_by("-id")[: MOST_STEPS + 1])
        headers = ("time", "state", "event", "attempt", "call", "HTTP", "ms", "request", "message")
        rows = [
            (
                moment(step.created_at, f"%m-%d %H:%M:%S.{step.created_at.microsecond // 1000:03}"),
                step.state,
                state("event", step.event, step.get_event_display()),
                step.attempt,
                step.call,
                step.status if step.status is not None else "",
                step.milliseconds if step.milliseconds is not None else "",
                step.request_id,
                step.message,
            )
            for step in reversed(latest[:MOST_STEPS])
        ]
        query = urlencode({"move__id__exact": object_id})
        everything = f"{reverse('admin:fallback_movestep_changelist')}?{query}"
        return {
            "table": table(headers, rows),
            "cut": len(latest) > MOST_STEPS,
            "most": MOST_STEPS,
            "all": everything,
        }

    @display(description="job and run", header=True)
    def run(self, move: Move) -> list[str]:
        return [move.job_name, move.source_run_name]

    @display(description="to")
    def to(self, move: Move) -> str:
        return move.destination_workspace_fqn

    @display(description="organization, connection", header=True)
    def owner(self, move: Move) -> list[object]:
        return [move.organization, move.connection or "connection deleted"]

    @display(description="state")
    def how(self, move: Move) -> str:
        return state("move", move.state)

    @display(description="how far")
    def progress(self, move: Move) -> str:
        if move.finished_at:
            return "ended"
        if move.past_the_point:
            return "past its trigger: it has to be finished"
        return "before its trigger: it can be cancelled"

    @display(description="lineage")
    def lineage_link(self, move: Move) -> str:
        query = urlencode({"lineage__exact": str(move.lineage)})
        return link(f"{reverse('admin:fallback_move_changelist')}?{query}", move.lineage)

    @display(description="workspaces visited")
    def way(self, move: Move) -> str:
        return " → ".join([*move.visited, move.destination_workspace_fqn])

    def offers(self, action: str, row: Any) -> bool:
        if action == "retry":
            return row.state in (MoveState.FAILED, MoveState.NEEDS_ATTENTION)
        return MoveState.CANCELLED in NEXT[row.state] and not row.past_the_point

    retry = asking("Retry", RETRY, retry_now, "refresh")
    cancel = asking("Cancel", CANCEL, moving.cancel, "cancel", ActionVariant.DANGER)


@admin.register(MoveStep)
class MoveStepAdmin(Masses):
    has_history = False
    list_display = (
        when("created_at", SECONDS),
        "move_link",
        "state",
        "how",
        "attempt",
        "call",
        "status",
        "milliseconds",
        "message",
    )
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("event", ChoicesDropdownFilter),
        ("created_at", DayFilter),
    )
    search_fields = ("=request_id", "=move__source_run_name")
    search_help_text = "Request id or run"
    ordering = ("-id",)
    fields = (
        ("created_at", "move_link"),
        ("state", "how", "attempt"),
        ("call", "status", "milliseconds", "request_id"),
        "message",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[MoveStep]:
        return super().get_queryset(request).select_related("move").defer("move__command")

    @display(description="move")
    def move_link(self, step: MoveStep) -> str:
        return link_to(step.move)

    @display(description="event")
    def how(self, step: MoveStep) -> str:
        return state("event", step.event, step.get_event_display())


@admin.register(Relocation)
class RelocationAdmin(ReadOnly):
    list_display = (
        when("created_at"),
        "name",
        "source_version",
        "how",
        "destination_workspace_fqn",
        "connection",
        "attempts",
        "message",
    )
    list_display_links = ("name",)
    list_filter = (
        OrganizationFilter.by("connection__organization_id"),
        ConnectionFilter,
        ("state", ChoicesDropdownFilter),
        ("created_at", DayFilter),
    )
    search_fields = ("^name", "=source_application_id", "=deployment_id", "=application_id")
    search_help_text = "Name or id"
    ordering = ("-created_at", "-id")
    fieldsets = (
        (None, {"fields": (("name", "how", "attempts"), "message", "moves_link")}),
        (
            "Source",
            {
                "fields": (
                    ("source_workspace_id", "source_application_id"),
                    ("source_version", "source_deployment_id"),
                )
            },
        ),
        (
            "Destination",
            {
                "fields": (
                    ("destination_workspace_fqn", "destination_workspace_id"),
                    ("application_id", "deployment_id"),
                )
            },
        ),
        (
            "Record",
            {"fields": (("connection", "remote"), ("created_at", "asked_at", "updated_at"))},
        ),
    )
    readonly_fields = ("how", "moves_link")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Relocation]:
        rows = super().get_queryset(request).select_related("connection")
        return rows.defer("manifest", "connection__token")

    @display(description="state")
    def how(self, relocation: Relocation) -> str:
        return pill(
            relocation.get_state_display(),
            RELOCATIONS.get(relocation.state, "idle"),
        )

    @display(description="moves")
    def moves_link(self, relocation: Relocation) -> str:
        query = urlencode({"relocation__id__exact": str(relocation.pk)})
        return link(f"{reverse('admin:fallback_move_changelist')}?{query}", "Moves that share it")
