"""Sweeps: what each pass saw. Here people start one."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.decorators import action, display

from accounts.admin.base import Question, ReadOnly
from accounts.admin.showing import (
    ByPersonFilter,
    DayFilter,
    OrganizationFilter,
    link,
    pill,
    state,
    table,
    when,
)
from accounts.middleware import actor_of
from accounts.models import Organization
from config.base import live
from fallback.forms import SweepForm
from fallback.models import Sweep
from fallback.sweep import sweep
from fallback.tasks import drive_tick, why_idle

MOST_TOLD = 20  # sources or runs in messages
SWEEP = Question(
    title="Sweep now",
    sentence="Looks at every source once and plans the moves of what is stuck. Workers drive them.",
    button="Sweep now",
    form=SweepForm,
)
DRY_RUN = Question(
    title="Dry run",
    sentence="Looks at every source once and tells what would be moved. Plans nothing.",
    button="Dry run",
    form=SweepForm,
)


@admin.register(Sweep)
class SweepAdmin(ReadOnly):
    list_display = (
        when("created_at"),
        "organization",
        "how",
        "by",
        "seen",
        "stuck",
        "planned",
        "left_alone",
        "problems",
        "passes",
        when("finished_at"),
    )
    list_filter = (
        OrganizationFilter,
        ("by_person", ByPersonFilter),
        ("quiet", BooleanRadioFilter),
        ("dry_run", BooleanRadioFilter),
        ("created_at", DayFilter),
    )
    search_fields = ("^by_name",)
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-id")
    list_before_template = "admin/notice.html"
    actions_list = ["dry_run", "sweep_now"]
    fieldsets = (
        (
            None,
            {"fields": (("organization", "how", "by"), ("created_at", "finished_at", "passes"))},
        ),
        (
            "Runs",
            {"fields": (("seen", "stuck", "planned"), "left_alone", ("problems", "moves_link"))},
        ),
    )
    readonly_fields = ("how", "by", "left_alone", "problems", "moves_link")
    change_form_outer_after_template = "admin/fallback/sources.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sweep]:
        return super().get_queryset(request).select_related("organization").defer("sources")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        why = why_idle()
        notice = f"Automation starts nothing new. {why}" if why else ""
        return super().changelist_view(request, (extra_context or {}) | {"notice": notice})

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        sources = context["original"].sources
        context["sources"] = table(
            ("connection", "workspace", "seen", "stuck", "planned", "left alone", "problem"),
            [
                (
                    source.get("connection", ""),
                    source.get("workspaceId", ""),
                    source.get("seen", 0),
                    source.get("stuck", 0),
                    source.get("planned", 0),
                    in_words(source.get("skipped", {})),
                    " ".join([source.get("error", ""), source.get("message", "")]).strip(),
                )
                for source in sources[:200]
            ],
        )
        runs = [run for source in sources for run in source.get("runs", [])][:200]
        context["runs"] = runs and table(
            ("run", "job", "reason", "message"),
            [(run["run"], run["job"], run["reason"], run["message"]) for run in runs],
        )
        return super().render_change_form(request, context, *args, **kwargs)

    @display(description="by")
    def by(self, found: Sweep) -> str:
        return found.by_name or "system"

    @display(description="state")
    def how(self, found: Sweep) -> str:
        if found.finished_at is None:
            return state("sweep", "running" if found.lease else "waiting")
        if found.errors:
            return state("sweep", "errors")
        return state("sweep", "quiet" if found.quiet else "done", "Dry run" * found.dry_run)

    @display(description="left alone")
    def left_alone(self, found: Sweep) -> str:
        return in_words(found.skipped)

    @display(description="problems")
    def problems(self, found: Sweep) -> str:
        return pill(found.errors, "bad") if found.errors else "0"

    @display(description="moves")
    def moves_link(self, found: Sweep) -> str:
        query = urlencode({"sweep__id__exact": str(found.pk)})
        return link(f"{reverse('admin:fallback_move_changelist')}?{query}", "Moves that it planned")

    @action(description="Sweep now", icon="radar")
    def sweep_now(self, request: HttpRequest) -> HttpResponse | None:
        def do(_: None, organization: Organization) -> None:
            found = sweep(organization, actor_of(request), by_person=True)
            live.nudge(drive_tick)
            self._tell(request, found, "planned")

        return self.ask(request, SWEEP, do)

    @action(description="Dry run", icon="visibility")
    def dry_run(self, request: HttpRequest) -> HttpResponse | None:
        def do(_: None, organization: Organization) -> None:
            found = sweep(organization, actor_of(request), by_person=True, dry_run=True)
            self._tell(request, found, "would be planned")
            runs = [run for source in found.sources for run in source["runs"]]
            lines = [
                f"{run['run']} of {run['job']}: {run['reason']} {run['message']}"
                for run in runs[:MOST_TOLD]
            ]
            if len(runs) > MOST_TOLD:
                lines.append(f"And {len(runs) - MOST_TOLD} more.")
            if lines:
                told = format_html_join(mark_safe("<br>"), "{}", ((line,) for line in lines))
                self.message_user(request, told, messages.INFO)

        return self.ask(request, DRY_RUN, do)

    def _tell(self, request: HttpRequest, found: Sweep, verb: str) -> None:
        left = f" Left alone: {in_words(found.skipped)}." if found.skipped else ""
        text = (
            f"{found.organization}: {found.seen} runs seen, {found.stuck} stuck, "
            f"{found.planned} {verb}.{left}"
        )
        self.message_user(request, text, messages.SUCCESS)
        for source in [source for source in found.sources if source["error"]][:MOST_TOLD]:
            where = f"{source['connection']}, workspace {source['workspaceId']}"
            text = f"{where}: {source['error']}. {source['message']}"
            self.message_user(request, text, messages.ERROR)


def in_words(skipped: dict[str, int]) -> str:
    """`3 Paused, 2 Cooldown`"""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
