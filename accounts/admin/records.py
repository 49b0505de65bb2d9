"""Tokens and activities: shown, and never edited."""

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display
from unfold.enums import ActionVariant

from accounts import tokens
from accounts.admin.auditing import Audited
from accounts.admin.base import Masses, Question, ReadOnly, asking
from accounts.admin.showing import SECONDS, DayFilter, OrganizationFilter, pill, when
from accounts.forms import NeededReasonForm
from accounts.models import Activity, ApiToken, Chain, Organization

REVOKE = Question(
    title="Revoke tokens",
    sentence="What uses them is refused from now on. A revoked token never works again.",
    button="Revoke",
    done="revoked",
    way_out="Keep token",
    form=NeededReasonForm,
    danger=True,
)


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly, Audited):
    list_display = (
        "name",
        "prefix",
        "user",
        "organization",
        "state",
        "read_only",
        when("last_used_at"),
        when("expires_at"),
    )
    list_filter = (OrganizationFilter, "read_only", ("created_at", DayFilter))
    search_fields = ("name", "prefix", "user__username", "user__email")
    ordering = ("-created_at", "-id")
    fieldsets = (
        (None, {"fields": ("name", "prefix", "user", "organization", ("state", "read_only"))}),
        ("Times", {"fields": (("created_at", "last_used_at"), ("expires_at", "revoked_at"))}),
    )
    readonly_fields = ("state",)
    actions = ["revoke"]
    actions_detail = ["revoke"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        rows = super().get_queryset(request).select_related("user", "organization")
        return rows.defer("digest")

    @display(description="state")
    def state(self, token: ApiToken) -> str:
        if token.revoked_at:
            return pill("revoked")
        if token.expires_at and token.expires_at <= timezone.now():
            return pill("expired")
        return pill("usable", "good") if token.user.is_active else pill("user deactivated")

    def offers(self, action: str, row: Any) -> bool:
        return row.revoked_at is None

    revoke = asking("Revoke", REVOKE, tokens.revoke, "key_off", ActionVariant.DANGER)


class ActorKindFilter(DropdownFilter):
    title = "kind of actor"
    parameter_name = "actor_kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("user", "person"), ("token", "token"), ("system", "system")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(actor_kind=self.value()) if self.value() else queryset


@admin.register(Activity)
class ActivityAdmin(Masses):
    has_history = False
    list_display = (
        when("created_at", SECONDS),
        "actor_name",
        "verb",
        "refused",
        "object_name",
        "object_kind",
        "organization_name",
        "reason",
    )
    list_filter = (OrganizationFilter, ActorKindFilter, "refused", ("created_at", DayFilter))
    search_fields = ("=verb", "=object_id", "=request_id", "=actor_name", "^object_name")
    search_help_text = "Verb, object, id, request id or actor"
    ordering = ("-id",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("created_at", "verb", "refused"),
                    ("actor_name", "actor_kind", "actor_id"),
                )
            },
        ),
        ("Object", {"fields": ("object_name", ("object_kind", "object_id"), "organization_name")}),
        ("What changed", {"fields": ("reason", "change")}),
        ("Request", {"fields": (("request_id", "address"),)}),
        ("Chain", {"fields": (("position", "digest"),)}),
    )
    readonly_fields = ("organization_name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Activity]:
        named = Organization.objects.filter(pk=OuterRef("organization_id")).values("name")
        return super().get_queryset(request).annotate(organization_named=Subquery(named))

    @display(description="organization")
    def organization_name(self, found: Any) -> str:
        return found.organization_named or ""


@admin.register(Chain)
class ChainAdmin(ReadOnly):
    """How far each organization's activities are sealed. `manage.py verify_activity` proves it."""

    has_history = False
    list_display = ("organization_id", "position", "anchor_position", when("updated_at", SECONDS))
    search_fields = ("=organization_id",)
    ordering = ("organization_id",)
    fieldsets = (
        (None, {"fields": ("organization_id", "updated_at")}),
        ("Head", {"fields": (("position", "digest"), "signature")}),
        ("Anchor", {"fields": (("anchor_position", "anchor_digest"), "anchor_signature")}),
    )
