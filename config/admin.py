"""The admin site: who gets in, what its sidebar shows, and the system's ticks."""

from typing import Any

from celery.schedules import ParseException
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import transaction
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse, reverse_lazy
from django_celery_beat import admin as beat
from django_celery_beat import models as ticks
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts import activity
from accounts.admin.auditing import Audited
from accounts.middleware import actor_of
from config.base.parameters import LATEST


def superusers_only(request: HttpRequest) -> bool:
    if request.user.is_active and request.user.is_superuser:
        return True
    if request.method == "POST" and request.path != reverse("admin:logout"):
        activity.refused(actor_of(request), "admin.open", None, reason="Only superusers may.")
    return False


# The one check that every page of the site goes through.
admin.site.has_permission = superusers_only  # type: ignore[method-assign]
admin.site.unregister(Group)  # roles are ours
for _model in (
    ticks.PeriodicTask,
    ticks.IntervalSchedule,
    ticks.CrontabSchedule,
    ticks.ClockedSchedule,
    ticks.SolarSchedule,
):
    admin.site.unregister(_model)


class TaskSelectWidget(UnfoldAdminSelectWidget, beat.TaskSelectWidget):
    pass


class TickForm(beat.PeriodicTaskForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = TaskSelectWidget()
        for name in ("start_time", "expires"):
            self.fields[name].validators.append(MaxValueValidator(LATEST))

    def clean(self) -> Any:
        # The library's own stumbles over a task that was refused already.
        return self.cleaned_data if "task" in self.errors else super().clean()

    def _clean_json(self, field: str) -> Any:
        try:
            return super()._clean_json(field)
        except RecursionError:
            raise ValidationError("This is JSON that is nested too deeply.") from None


@admin.register(ticks.PeriodicTask)
class TickAdmin(Audited, beat.PeriodicTaskAdmin):
    form = TickForm
    list_display = ("name", "enabled", "scheduler", "last_run_at", "total_run_count")
    list_filter = ("enabled",)
    date_hierarchy = None
    actions = ("enable_tasks", "disable_tasks", "run_tasks")
    fieldsets = (
        (None, {"fields": ("name", ("regtask", "task"), "enabled", "description")}),
        ("Schedule", {"fields": (("interval", "crontab"), ("start_time", "one_off"))}),
        ("Arguments", {"fields": (("args", "kwargs"),)}),
        ("Sending", {"fields": (("expires", "expire_seconds"), ("queue", "priority"))}),
        ("Record", {"fields": (("last_run_at", "crontab_translation"),)}),
    )

    @admin.action(description="Enable selected tasks")
    def enable_tasks(self, request: HttpRequest, queryset: Any) -> None:
        with transaction.atomic():
            self._record_each(request, "changed", queryset.filter(enabled=False), [False, True])
            super().enable_tasks(request, queryset)

    @admin.action(description="Disable selected tasks")
    def disable_tasks(self, request: HttpRequest, queryset: Any) -> None:
        with transaction.atomic():
            self._record_each(request, "changed", queryset.filter(enabled=True), [True, False])
            super().disable_tasks(request, queryset)

    def _record_each(
        self, request: HttpRequest, what: str, rows: Any, enabled: list[bool] | None = None
    ) -> None:
        for row in rows:
            change = {"enabled": enabled} if enabled else {}
            self.record(request, f"periodictask.{what}", row, change)

    @admin.action(description="Run selected tasks now")
    def run_tasks(self, request: HttpRequest, queryset: Any) -> None:
        try:
            super().run_tasks(request, queryset)
        except Exception:  # redis, kombu and the OS each raise their own
            text = "The broker is away: nothing was sent. The ticks go on once it is back."
            self.message_user(request, text, messages.ERROR)
        else:
            self._record_each(request, "run", queryset)


@admin.register(ticks.IntervalSchedule)
class IntervalAdmin(Audited, beat.IntervalScheduleAdmin):
    inlines: list[Any] = []


@admin.register(ticks.CrontabSchedule)
class CrontabAdmin(Audited, beat.CrontabScheduleAdmin):
    inlines: list[Any] = []

    @admin.display(description="human readable")
    def human_readable(self, row: Any) -> str:
        try:
            return str(row.human_readable)
        except ParseException:  # the form says what is wrong
            return ""


def favicon(request: HttpRequest) -> str:
    return static("img/switchyard.svg")


def stylesheet(request: HttpRequest) -> str:
    return static("css/admin.css")


def script(request: HttpRequest) -> str:
    return static("js/admin.js")


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar. Names of models, grouped as people think of them."""
    groups: dict[str, list[tuple[str, str, str]]] = {
        "Fallback": [
            ("Moves", "swap_horiz", "fallback_move"),
            ("Configs", "alt_route", "fallback_fallbackconfig"),
            ("Connections", "hub", "fallback_connection"),
            ("Sweeps", "radar", "fallback_sweep"),
            ("Pauses", "pause_circle", "fallback_pause"),
            ("Relocations", "deployed_code", "fallback_relocation"),
            ("Steps", "footprint", "fallback_movestep"),
        ],
        "People": [
            ("Users", "person", "accounts_user"),
            ("Organizations", "domain", "accounts_organization"),
            ("Memberships", "group", "accounts_membership"),
            ("Invites", "mail", "accounts_invite"),
            ("API tokens", "key", "accounts_apitoken"),
            ("Activities", "history", "accounts_activity"),
            ("Chains", "link", "accounts_chain"),
            ("Webhooks", "webhook", "accounts_webhook"),
            ("Deliveries", "outgoing_mail", "accounts_delivery"),
        ],
        "System ticks": [
            ("Ticks", "schedule", "django_celery_beat_periodictask"),
            ("Intervals", "timer", "django_celery_beat_intervalschedule"),
            ("Crontabs", "calendar_month", "django_celery_beat_crontabschedule"),
        ],
    }
    return [
        {
            "title": title,
            "separator": True,
            "items": [
                {"title": name, "icon": icon, "link": reverse_lazy(f"admin:{model}_changelist")}
                for name, icon, model in items
            ],
        }
        for title, items in groups.items()
    ]
