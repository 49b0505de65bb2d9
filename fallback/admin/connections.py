"""Connections, and pauses of them, of configs and of everything."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import BooleanField, ExpressionWrapper, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from accounts.admin.auditing import Deletable
from accounts.admin.base import Question, ReadOnly, asking
from accounts.admin.showing import MOST_CHOICES, OrganizationFilter, by_id, link_to, state, when
from accounts.forms import Answer, NeededReasonForm
from accounts.middleware import actor_of
from config.base.actor import Actor
from fallback import connecting, pausing
from fallback.forms import ConnectionForm, PauseForm
from fallback.models import Connection, Pause

TEST = Question(
    title="Test connections",
    sentence="Tries token, clusters, workspaces, job runs and clock; changes nothing there.",
    button="Test connection",
    form=Answer,
)
PAUSE = Question(
    title="Pause",
    sentence="Nothing new is moved. Moves past their trigger are finished.",
    button="Pause",
    done="paused",
    way_out="Keep running",
    form=PauseForm,
)
RESUME = Question(
    title="Resume",
    sentence="What is stuck is moved again, from the next sweep on.",
    button="Resume",
    done="resumed",
    way_out="Keep paused",
)
PAUSE_ALL = Question(
    title="Pause everything",
    sentence="Nothing new is moved, for all organizations. Moves past their trigger are finished.",
    button="Pause everything",
    done="paused",
    way_out="Keep running",
    form=PauseForm,
    danger=True,
)
DELETE = Question(
    title="Delete connections",
    sentence="Their configs go with them. Moves that have ended stay on record.",
    button="Delete connection",
    done="deleted",
    way_out="Keep connection",
    form=NeededReasonForm,
    danger=True,
)


def paused(row: Model) -> Pause | None:
    """The pause of a connection or config that holds now."""
    pause: Pause | None = getattr(row, "pause", None)
    ended = pause is not None and pause.until is not None and pause.until <= timezone.now()
    return None if ended else pause


class Pausable:
    """Actions for rows that can be paused."""

    pause = asking("Pause", PAUSE, pausing.pause, "pause_circle", ActionVariant.WARNING)
    resume = asking("Resume", RESUME, pausing.resume, "play_circle")

    def offers(self, action: str, row: Any) -> bool:
        found = paused(row)
        return {"pause": found is None, "resume": found is not None}.get(action, True)


class ConnectionFilter(DropdownFilter):
    """By connection. Names only: their tokens are not touched."""

    title = "connection"
    parameter_name = "connection"
    path = "connection_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        named = Connection.objects.order_by("organization__name", "name")
        rows = named.values_list("pk", "organization__name", "name")[:MOST_CHOICES]
        return [(str(pk), f"{organization}: {name}") for pk, organization, name in rows]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return by_id(queryset, self.path, self.value())


@admin.register(Connection)
class ConnectionAdmin(Pausable, Deletable):
    form = ConnectionForm
    deletion = DELETE
    list_display = (
        "name",
        "organization",
        "address",
        "how",
        "has_token",
        "enabled",
        "paused_until",
        when("checked_at"),
    )
    list_filter = (OrganizationFilter, ("state", ChoicesDropdownFilter), "enabled")
    search_fields = ("name", "base_url")
    ordering = ("organization__name", "name")
    autocomplete_fields = ("organization",)
    actions = ["test", "pause", "resume", "delete_rows"]
    actions_detail = ["test", "pause", "resume"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        stored = ExpressionWrapper(~Q(token=""), output_field=BooleanField())
        rows = super().get_queryset(request).select_related("organization", "pause")
        return rows.defer("token").annotate(token_stored=stored)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            fields = ("organization", "name", "base_url", "new_token", "assumed_user", "enabled")
            return ((None, {"fields": fields}),)
        if obj.from_environment:
            fields = ("organization", "name", "address", "has_token", "assumed_user", "enabled")
        else:
            fields = ("organization", "name", "base_url", "new_token", "assumed_user", "enabled")
        state = (("how", "checked_at"), "message", "paused_until", ("created_at", "updated_at"))
        return ((None, {"fields": fields}), ("State", {"fields": state}))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fields = ("address", "has_token", "how", "message", "paused_until")
        times = ("checked_at", "created_at", "updated_at")
        environment = ["assumed_user"] if obj and obj.from_environment else []
        return (*fields, *times, *(["organization"] if obj else []), *environment)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        if obj and obj.from_environment:  # it stores neither
            for name in ("new_token", "base_url"):
                form.base_fields.pop(name, None)
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        connecting.save(obj, actor_of(request))

    def delete_row(self, request: HttpRequest, row: Any, reason: str) -> None:
        connecting.delete(row, actor_of(request), reason)

    @display(description="address", ordering="base_url")
    def address(self, connection: Connection) -> str:
        where = connection.url or "TRUEFOUNDRY_API_URL is not set"
        return f"{where} (environment)" if connection.from_environment else where

    @display(description="state", ordering="state")
    def how(self, connection: Connection) -> str:
        return state("connection", connection.state)

    @display(description="token", boolean=True)
    def has_token(self, connection: Any) -> bool:
        if connection.from_environment:
            return bool(connection.secret)
        return bool(connection.token_stored)

    @display(description="paused")
    def paused_until(self, connection: Connection) -> str:
        return told(paused(connection))

    @action(description="Test connection", icon="network_check")
    def test(
        self, request: HttpRequest, queryset: Any = None, object_id: str | None = None
    ) -> HttpResponse | None:
        def do(connection: Connection) -> None:
            for found in connecting.test(connection, actor_of(request)):
                level = messages.SUCCESS if found.works else messages.ERROR
                text = f"{connection}, {found.name}: {found.message}"
                self.message_user(request, text, level)

        return self.ask(request, TEST, do, queryset, object_id)


def told(pause: Pause | None) -> str:
    if pause is None:
        return ""
    until = pause.until and timezone.localtime(pause.until)
    end = f"until {until:%Y-%m-%d %H:%M}" if until else "until resumed"
    return state("config", "paused", f"Paused {end}")


def end(pause: Pause, actor: Actor, reason: str) -> None:
    pausing.resume(pause.config or pause.connection, actor, reason)


@admin.register(Pause)
class PauseAdmin(ReadOnly):
    list_display = (
        "scope",
        "organization",
        "how",
        "reason",
        "by_name",
        when("until"),
        when("created_at"),
    )
    list_filter = (
        OrganizationFilter.by("connection__organization"),
        ConnectionFilter,
    )
    search_fields = ("reason", "by_name", "connection__name")
    ordering = ("-created_at", "-id")
    fields = ("scope", "organization", "how", "reason", "by_name", "until", "created_at")
    actions = ["resume"]
    actions_detail = ["resume"]
    actions_list = ["pause_everything"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pause]:
        paths = ("connection__organization", "config__connection__organization")
        rows = super().get_queryset(request).select_related(*paths)
        return rows.defer("connection__token", "config__connection__token")

    @display(description="what")
    def scope(self, pause: Pause) -> str:
        return str(pause)

    @display(description="organization")
    def organization(self, pause: Pause) -> str:
        connection = pause.config.connection if pause.config else pause.connection
        return link_to(connection.organization) if connection else "all"

    @display(description="state")
    def how(self, pause: Pause) -> str:
        ended = pause.until and pause.until <= timezone.now()
        return state("config", "disabled", "Ended") if ended else state("config", "paused")

    resume = asking("Resume", RESUME, end, "play_circle")

    @action(description="Pause everything", icon="pause_circle", variant=ActionVariant.DANGER)
    def pause_everything(self, request: HttpRequest) -> HttpResponse | None:
        def do(_: None, reason: str, until: datetime | None) -> None:
            pausing.pause(None, actor_of(request), reason, until)

        return self.ask(request, PAUSE_ALL, do)
