"""Invites: shown without their codes, which are for an organization's own admins and owners."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.enums import ActionVariant

from accounts import joining
from accounts.admin.auditing import Audited
from accounts.admin.base import Question, ReadOnly, asking
from accounts.admin.showing import DayFilter, OrganizationFilter, state, when
from accounts.forms import NeededReasonForm
from accounts.models import Invite

REVOKE = Question(
    title="Revoke invites",
    sentence="Nobody joins by them any more. Who has joined stays.",
    button="Revoke",
    done="revoked",
    way_out="Keep invite",
    form=NeededReasonForm,
    danger=True,
)


@admin.register(Invite)
class InviteAdmin(ReadOnly, Audited):
    list_display = (
        "organization",
        "role",
        "standing",
        "state",
        "uses",
        "most_uses",
        "created_by_name",
        when("expires_at"),
        when("created_at"),
    )
    list_filter = (
        OrganizationFilter,
        ("role", ChoicesDropdownFilter),
        "standing",
        ("created_at", DayFilter),
    )
    search_fields = ("organization__name", "created_by_name")
    ordering = ("-created_at", "-id")
    fieldsets = (
        (None, {"fields": ("organization", ("role", "standing", "state"))}),
        ("Uses", {"fields": (("uses", "sign_ups", "most_uses"),)}),
        ("Times", {"fields": (("created_at", "created_by_name"), ("expires_at", "revoked_at"))}),
    )
    readonly_fields = ("state",)
    actions = ["revoke"]
    actions_detail = ["revoke"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invite]:
        return super().get_queryset(request).select_related("organization").defer("code")

    @display(description="state")
    def state(self, invite: Invite) -> str:
        return state("invite", joining.state_of(invite))

    def offers(self, action: str, row: Any) -> bool:
        return row.revoked_at is None and not row.standing

    revoke = asking("Revoke", REVOKE, joining.revoke, "link_off", ActionVariant.DANGER)
