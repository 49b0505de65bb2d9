"""Users, organizations, and who has which role in which."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import AdminPasswordChangeForm

from accounts import belonging, deactivating, joining, live, passwords
from accounts.admin.auditing import Audited, Deletable
from accounts.admin.base import Question, asking
from accounts.admin.showing import OrganizationFilter, pill, when
from accounts.forms import IssueTokenForm, NeededReasonForm, UserChangeForm, UserCreationForm
from accounts.middleware import actor_of
from accounts.models import ApiToken, Membership, Organization, User
from config.base.problems import Conflict

DEACTIVATE = Question(
    title="Deactivate users",
    sentence="They are signed out, their tokens stop working, and what they made stays.",
    button="Deactivate",
    done="deactivated",
    way_out="Keep active",
    form=NeededReasonForm,
    danger=True,
)
REACTIVATE = Question(
    title="Reactivate users",
    sentence="They can sign in again, and their tokens work again unless they were revoked.",
    button="Reactivate",
    done="reactivated",
)
ISSUE = Question(
    title="Issue a token",
    sentence="It acts as this user, and its secret is shown once. It can do no more than they can.",
    button="Issue token",
    form=IssueTokenForm,
)
ROTATE = Question(
    title="Rotate join codes",
    sentence="The code of now lets nobody in any more. Its admins and owners see the new one.",
    button="Rotate code",
    done="has a new join code",
    way_out="Keep the code",
    form=NeededReasonForm,
)
LEAVE = Question(
    title="End memberships",
    sentence="They see nothing of the organization any more; what they made there stays.",
    button="End membership",
    done="ended",
    way_out="Keep membership",
    form=NeededReasonForm,
    danger=True,
)


class MembershipInline(TabularInline):
    model = Membership
    fields: tuple[str, ...] = ("user", "organization", "role")
    extra = 0
    per_page = 25
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "organization")


class OrganizationsInline(MembershipInline):
    """Of a user."""

    fields = ("organization", "role")
    autocomplete_fields = ("organization",)
    verbose_name_plural = "organizations"


class PeopleInline(MembershipInline):
    """Of an organization."""

    fields = ("user", "role")
    autocomplete_fields = ("user",)
    verbose_name_plural = "people"


class WithMembers(Audited):
    """A page where memberships are edited: each by its verb, so that an owner is always left."""

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        if formset.model is not Membership:
            super().save_formset(request, form, formset, change)
            return
        actor = actor_of(request)
        formset.save(commit=False)
        for row, names in formset.changed_objects:
            if {"user", "organization"} & set(names):  # else another one would get the role
                raise Conflict("A membership stays where it is: end it, and add another.", "Fixed")
            if names:
                belonging.change_role(row, row.role, actor)
        for row in formset.new_objects:
            belonging.add(row.user, row.organization, row.role, actor)
        for row in formset.deleted_objects:  # last: somebody else may be the owner by now
            belonging.remove(row, actor)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except Conflict as error:  # all of it is undone
            self.message_user(request, f"{error} Nothing was saved.", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


@admin.register(User)
class UserAdmin(WithMembers, BaseUserAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "state", "is_superuser", "roles", when("last_login"))
    list_filter = (OrganizationFilter.by("memberships__organization"), "is_active", "is_superuser")
    search_fields = ("username", "email")
    ordering = ("username",)
    filter_horizontal = ()
    inlines = [OrganizationsInline]
    readonly_fields = ("state", "last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("username", "email", "password")}),
        ("Access", {"fields": ("state", "is_superuser")}),
        ("Times", {"fields": (("created_at", "last_login"),)}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "email", "is_superuser", "password1", "password2")}),
    )
    actions = ["deactivate", "reactivate"]
    actions_detail = ["issue_token", "deactivate", "reactivate"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("memberships__organization")

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return self.inlines if obj else []

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.acting = request.user
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if obj.is_staff != obj.is_superuser:  # what Django itself asks some pages of the admin for
            obj.is_staff = obj.is_superuser
            form.unseen = {"is_staff": obj.is_staff}
        super().save_model(request, obj, form, change)
        if change and "is_superuser" in form.changed_data:
            live.rights_changed(obj.pk)

    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        with transaction.atomic():
            response = super().user_change_password(request, id, form_url)
            if request.method == "POST" and response.status_code == 302:
                user: Any = self.get_object(request, id)
                own = request.session.session_key if user == request.user else None
                passwords.ended(user, own)
                self.record(request, "user.password_set", user)
        return response

    @display(description="state")
    def state(self, user: User) -> str:
        return pill("active", "good") if user.is_active else pill("deactivated")

    @display(description="roles")
    def roles(self, user: User) -> str:
        told = [f"{m.organization}: {m.role}" for m in user.memberships.all()]
        return ", ".join([*told[:3], "…"] if len(told) > 3 else told)

    def offers(self, action: str, row: Any) -> bool:
        return {"deactivate": row.is_active, "reactivate": not row.is_active}.get(
            action, row.is_active
        )

    deactivate = asking(
        "Deactivate", DEACTIVATE, deactivating.deactivate, "person_off", ActionVariant.DANGER
    )
    reactivate = asking("Reactivate", REACTIVATE, deactivating.reactivate, "person")

    @action(description="Issue token", icon="key")
    def issue_token(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        def do(user: User, **answer: Any) -> None:
            with transaction.atomic():
                token, secret = ApiToken.objects.issue(user, **answer)
                change = {"user": str(user), "read_only": token.read_only}
                self.record(request, "token.issued", token, change)
            text = f"Token {token.name}: {secret} Store it now, it is not shown again."
            self.message_user(request, text, messages.WARNING)

        return self.ask(request, ISSUE, do, object_id=object_id)


@admin.register(Organization)
class OrganizationAdmin(WithMembers):
    list_display = ("name", "slug", "state", "people", when("created_at"))
    search_fields = ("name", "slug")
    ordering = ("name",)
    inlines = [PeopleInline]
    actions_detail = ["rotate_code"]
    readonly_fields = ("slug", "state", "created_at")
    fieldsets = ((None, {"fields": ("name", "slug", ("state", "created_at"))}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        return super().get_queryset(request).annotate(people_count=Count("memberships"))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return super().get_fieldsets(request, obj) if obj else ((None, {"fields": ("name",)}),)

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return self.inlines if obj else []

    @display(description="state")
    def state(self, organization: Organization) -> str:
        return pill("deleted") if organization.deleted_at else pill("active", "good")

    def offers(self, action: str, row: Any) -> bool:
        return row.deleted_at is None

    @action(description="Rotate join code", icon="autorenew")
    def rotate_code(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        def do(organization: Organization, reason: str) -> None:
            joining.rotate(organization, actor_of(request), reason)

        return self.ask(request, ROTATE, do, object_id=object_id)

    @display(description="people", ordering="people_count")
    def people(self, organization: Any) -> int:
        return int(organization.people_count)


@admin.register(Membership)
class MembershipAdmin(WithMembers, Deletable):
    deletion = LEAVE
    list_display = ("user", "organization", "role", when("created_at"))
    list_filter = (OrganizationFilter, ("role", ChoicesDropdownFilter))
    search_fields = ("user__username", "user__email", "organization__name")
    list_select_related = ("user", "organization")
    autocomplete_fields = ("user", "organization")
    ordering = ("-created_at", "-id")
    fields = ("user", "organization", "role")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("user", "organization") if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            belonging.change_role(obj, obj.role, actor_of(request))
        else:
            made = belonging.add(obj.user, obj.organization, obj.role, actor_of(request))
            obj.pk = made.pk

    def delete_row(self, request: HttpRequest, row: Any, reason: str) -> None:
        belonging.remove(row, actor_of(request), reason)
