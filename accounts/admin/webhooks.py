"""Webhooks, notifications, and the deliveries to them."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.enums import ActionVariant

from accounts import messages, webhooks
from accounts.admin.auditing import Deletable
from accounts.admin.base import Masses, Question, ReadOnly, asking
from accounts.admin.showing import SECONDS, DayFilter, OrganizationFilter, link_to, state, when
from accounts.forms import NeededReasonForm
from accounts.middleware import actor_of
from accounts.models import Delivery, Webhook

PAUSE = Question(
    title="Pause webhooks",
    sentence="Nothing goes out. What happens waits for 24 hours at most.",
    button="Pause",
    done="paused",
    way_out="Keep active",
)
RESUME = Question(
    title="Resume webhooks",
    sentence="What waits goes out. A disabled one begins with what happens from now on.",
    button="Resume",
    done="resumed",
    way_out="Keep as it is",
)
DELETE = Question(
    title="Delete webhooks",
    sentence="Their deliveries go with them, also those that wait.",
    button="Delete webhook",
    done="deleted",
    way_out="Keep webhook",
    form=NeededReasonForm,
    danger=True,
)
REPLAY = Question(
    title="Replay deliveries",
    sentence="The same body is sent again, as a new message.",
    button="Replay",
    done="sent again",
    way_out="Back",
)


@admin.register(Webhook)
class WebhookAdmin(ReadOnly, Deletable):
    """Made and edited on the pages, where the secret is shown once; never shown here."""

    deletion = DELETE
    list_display = (
        "name",
        "organization",
        "kind",
        "address",
        "how",
        "failures_in_row",
        when("created_at"),
    )
    list_filter = (
        OrganizationFilter,
        ("kind", ChoicesDropdownFilter),
        ("state", ChoicesDropdownFilter),
    )
    search_fields = ("name", "message", "organization__name")
    ordering = ("organization__name", "name")
    fieldsets = (
        (None, {"fields": ("name", ("organization", "kind"), "address", "events")}),
        ("State", {"fields": (("how", "failures_in_row"), "message", "old_secret_until")}),
        ("Record", {"fields": ("position", "created_by_name", ("created_at", "updated_at"))}),
    )
    readonly_fields = ("address", "how")
    actions = ["pause", "resume", "delete_rows"]
    actions_detail = ["pause", "resume"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Webhook]:
        rows = super().get_queryset(request).select_related("organization")
        return rows.defer("secret", "old_secret")

    @display(description="address")
    def address(self, webhook: Webhook) -> str:
        return messages.masked(webhook) or "cannot be read with the keys of this installation"

    @display(description="state", ordering="state")
    def how(self, webhook: Webhook) -> str:
        return state("webhook", webhook.state)

    def offers(self, action: str, row: Any) -> bool:
        active = row.state == Webhook.State.ACTIVE
        return {"pause": active, "resume": not active}.get(action, True)

    pause = asking("Pause", PAUSE, webhooks.pause, "pause_circle", ActionVariant.WARNING)
    resume = asking("Resume", RESUME, webhooks.resume, "play_circle")

    def delete_row(self, request: HttpRequest, row: Any, reason: str) -> None:
        webhooks.delete(row, actor_of(request), reason)


@admin.register(Delivery)
class DeliveryAdmin(Masses):
    has_history = False
    list_display = (
        when("created_at", SECONDS),
        "event",
        "to",
        "how",
        "attempts",
        "status",
        "error",
    )
    list_filter = (
        OrganizationFilter.by("webhook__organization"),
        ("state", ChoicesDropdownFilter),
        ("created_at", DayFilter),
    )
    search_fields = ("=event", "=webhook__name")
    search_help_text = "Event or webhook"
    ordering = ("-created_at", "-id")
    fieldsets = (
        (None, {"fields": (("event", "to"), "message_id", ("how", "attempts"), "error")}),
        ("Request", {"fields": ("request_headers", "body")}),
        ("Answer", {"fields": (("status", "milliseconds"), "answer")}),
        ("Times", {"fields": (("created_at", "attempted_at"), ("finished_at", "due"))}),
    )
    readonly_fields = ("to", "how", "due")
    actions = ["replay"]
    actions_detail = ["replay"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        rows = super().get_queryset(request).select_related("webhook__organization")
        secrets = ("webhook__url", "webhook__secret", "webhook__old_secret")
        return rows.defer(*secrets)

    @display(description="webhook", ordering="webhook__name")
    def to(self, delivery: Delivery) -> str:
        return link_to(delivery.webhook)

    @display(description="state", ordering="state")
    def how(self, delivery: Delivery) -> str:
        return state("delivery", delivery.state)

    @display(description="next attempt")
    def due(self, delivery: Delivery) -> Any:
        return delivery.next_attempt_at

    def offers(self, action: str, row: Any) -> bool:
        return row.state != Delivery.State.PENDING

    replay = asking("Replay", REPLAY, webhooks.replay, "replay")
