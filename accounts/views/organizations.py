"""Organizations: the list, one with its members and invites, and what is done with it."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts import belonging, joining, roles
from accounts.listing import page_of
from accounts.models import Invite, Membership, Organization
from accounts.roles import Role
from accounts.scope import (
    PageRequest,
    Refused,
    deed,
    must,
    needed_reason_of,
    page,
    reason_of,
    signed_in,
)
from config.base.forms import PageForm
from config.base.problems import Conflict

MOST_INVITES = 100  # that a page shows


class OrganizationForm(PageForm):
    name = forms.CharField(
        max_length=100,
        help_text="Everybody in it sees this name. It can be changed.",
        widget=forms.TextInput({"autocomplete": "organization", "autofocus": True}),
    )


def one_of(request: PageRequest, key: str) -> Organization:
    """The organization of this id or slug. Raises Http404 where the reader sees none."""
    mine = Organization.objects.visible_to(request.actor)
    try:
        found = mine.filter(pk=UUID(key)).first()
    except ValueError:
        found = mine.filter(slug=key).first()
    if found is None:
        raise Http404
    return found


def text_of(request: PageRequest, name: str) -> str:
    return request.GET.get(name, "").replace("\0", "").strip()[:100]


# The list


@page
def organizations(request: PageRequest) -> HttpResponse:
    return render(request, "accounts/organizations.html", _listed(request))


@page
def organization_rows(request: PageRequest) -> HttpResponse:
    return render(request, "accounts/_organizations.html", _listed(request))


def _listed(request: PageRequest) -> dict[str, Any]:
    search = text_of(request, "search")
    mine = Organization.objects.visible_to(request.actor)
    found = mine.filter(name__icontains=search).order_by("name", "pk")
    load = Organization.objects.annotate(people=Count("memberships"))
    listed = page_of(request, found, load, search=bool(search))
    role = request.actor.roles
    return {
        "page": listed,
        "search": search,
        "may_create": belonging.may_create(request.actor),
        "roles": {row.pk: role.get(row.pk, "superuser") for row in listed.rows},
    }


@signed_in
@require_http_methods(["GET", "POST"])
def create(request: PageRequest) -> HttpResponse:
    if not belonging.may_create(request.actor):
        raise Refused("organization.create")
    form = OrganizationForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            made = belonging.create(form.cleaned_data["name"], request.actor)
        except ValidationError as error:
            form.blame(error)
        except Conflict as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, f"Created {made}. Invite people next.")
            return redirect("organization", key=made.pk)
    form.describe()
    status = 400 if form.is_bound else 200
    return render(request, "accounts/organization_new.html", {"form": form}, status=status)


# One of them


@page
def one(request: PageRequest, key: str) -> HttpResponse:
    found = one_of(request, key)
    actor = request.actor
    mine = belonging.own(actor, found)
    context = _members_of(request, found) | {
        "mine": mine,
        "may_rename": roles.may(actor, "organization.write", found.pk),
        "may_delete": roles.may(actor, "organization.delete", found.pk),
        "may_invite": roles.may(actor, "invite.write", found.pk),
        "meanings": _meanings(actor, found),
        "choices": {"": "All roles", **dict(Role.choices)},
    }
    if context["may_invite"]:
        context |= _invites_of(request, found)
        standing = joining.standing([found.pk])[found.pk]
        context["code"] = standing.code  # '' where no key opens it any more
        context["link"] = link_of(request, standing)
    return render(request, "accounts/organization.html", context)


@page
def member_rows(request: PageRequest, key: str) -> HttpResponse:
    context = _members_of(request, one_of(request, key))
    return render(request, "accounts/_members.html", context)


@page
def invite_rows(request: PageRequest, key: str) -> HttpResponse:
    found = one_of(request, key)
    must(request.actor, "invite.read", found.pk, found)
    return render(request, "accounts/_invites.html", _invites_of(request, found))


def _members_of(request: PageRequest, found: Organization) -> dict[str, Any]:
    search, role = text_of(request, "search"), text_of(request, "role")
    rows = Membership.objects.filter(organization=found).order_by("user__username", "pk")
    if search:
        rows = rows.filter(Q(user__username__icontains=search) | Q(user__email__icontains=search))
    if role in Role.values:
        rows = rows.filter(role=role)
    load = Membership.objects.select_related("user")
    listed = page_of(request, rows, load, search=bool(search))
    actor = request.actor
    may_write = roles.may(actor, "member.write", found.pk)
    return {
        "organization": found,
        "page": listed,
        "search": search,
        "role": role,
        "may_write": may_write,
        "within_reach": {
            row.pk for row in listed.rows if may_write and _reached(actor, row, found)
        },
    }


def _reached(actor: Any, row: Membership, home: Organization) -> bool:
    return roles.reaches(actor, row.role, home.pk)


def _invites_of(request: PageRequest, found: Organization) -> dict[str, Any]:
    """Those that were made by hand, newest first; the ones that are over come last."""
    rows: QuerySet[Invite] = Invite.objects.filter(organization=found, standing=False)
    made = list(rows.order_by("-created_at", "-pk")[:MOST_INVITES])
    told = [
        {
            "invite": row,
            "state": joining.state_of(row),
            "link": link_of(request, row),
        }
        for row in made
    ]
    told.sort(key=lambda one: one["state"] != "usable")
    return {"organization": found, "invites": told}


def link_of(request: PageRequest, invite: Invite) -> str:
    """Where one joins by it; '' where the reader must not see that, or no key opens the code."""
    if not (invite.code and roles.reaches(request.actor, invite.role, invite.organization_id)):
        return ""
    return request.build_absolute_uri(reverse("join", args=[invite.code]))


def _meanings(actor: Any, found: Organization) -> list[tuple[str, str]]:
    """The roles that the reader may give, with what each means."""
    given = [role for role in Role if roles.reaches(actor, role, found.pk)]
    return [(role.value, roles.MEANINGS[role]) for role in given]


@deed
def rename(request: PageRequest, key: str) -> HttpResponse:
    found = one_of(request, key)
    must(request.actor, "organization.write", found.pk, found)
    try:
        belonging.rename(found, request.POST.get("name", ""), request.actor, reason_of(request))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    except Conflict as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Renamed to {found}.")
    return redirect("organization", key=found.pk)


@deed
def delete(request: PageRequest, key: str) -> HttpResponse:
    found = one_of(request, key)
    must(request.actor, "organization.delete", found.pk, found)
    typed = request.POST.get("confirm", "")
    try:
        belonging.delete(found, request.actor, typed, needed_reason_of(request))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    except Conflict as error:
        messages.error(request, f"{error} Nothing was deleted.")
    else:
        messages.success(request, f"Deleted {found}. It is purged in 30 days.")
        return redirect("organizations")
    return redirect("organization", key=found.pk)


@deed
def leave(request: PageRequest, key: str) -> HttpResponse:
    found = one_of(request, key)
    mine = belonging.own(request.actor, found)
    if mine is None:  # a superuser, who sees it without being in it
        messages.error(request, f"You are no member of {found}.")
        return redirect("organization", key=found.pk)
    try:
        belonging.leave(mine, request.actor, reason_of(request))
    except Conflict as error:
        messages.error(request, str(error))
        return redirect("organization", key=found.pk)
    messages.success(request, f"You have left {found}.")
    return redirect("organizations")


# Members


def member_of(request: PageRequest, pk: UUID) -> Membership:
    """Raises Http404, and Refused where the reader may not change it."""
    visible = Organization.objects.visible_to(request.actor)
    rows = Membership.objects.select_related("user", "organization")
    found = rows.filter(pk=pk, organization__in=visible).first()
    if found is None:
        raise Http404
    must(request.actor, "member.write", found.organization_id, found)
    if not roles.reaches(request.actor, found.role, found.organization_id):
        raise Refused("member.write", found.organization_id, found)
    return found


@page
def member(request: PageRequest, pk: UUID) -> HttpResponse:
    found = member_of(request, pk)
    context = {
        "member": found,
        "organization": found.organization,
        "meanings": _meanings(request.actor, found.organization),
        "oneself": found.user_id == request.actor.user_id,
    }
    return render(request, "accounts/member.html", context)


@deed
def change_role(request: PageRequest, pk: UUID) -> HttpResponse:
    found = member_of(request, pk)
    before, home = found.role, found.organization_id
    try:
        found = belonging.change_role(
            found, request.POST.get("role", ""), request.actor, reason_of(request)
        )
    except PermissionDenied:
        raise Refused("member.write", home, found) from None
    except (Conflict, ValidationError) as error:
        told = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        messages.error(request, told)
        return redirect("member", pk=pk)
    if found.role == before:
        messages.info(request, f"{found.user} is {found.role} already.")
    else:
        messages.success(request, f"{found.user} is {found.role} now, and was {before}.")
    return redirect("organization", key=home)


@deed
def remove(request: PageRequest, pk: UUID) -> HttpResponse:
    found = member_of(request, pk)
    try:
        belonging.remove(found, request.actor, needed_reason_of(request))
    except PermissionDenied:
        raise Refused("member.write", found.organization_id, found) from None
    except Conflict as error:
        messages.error(request, str(error))
        return redirect("member", pk=pk)
    told = f"Removed {found.user}. The join code lets them in again until it is rotated."
    messages.success(request, told)
    return redirect("organization", key=found.organization_id)


# The table of roles


@page
def role_table(request: PageRequest) -> HttpResponse:
    context = {"rows": roles.table(), "meanings": list(roles.MEANINGS.items())}
    return render(request, "accounts/roles.html", context)
