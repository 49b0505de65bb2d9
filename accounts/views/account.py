"""One's own account: email and user name, password, and the browsers that are signed in."""

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts import agents, belonging, passwords, renaming, sessions
from accounts.models import Activity, Membership, User
from accounts.scope import PageRequest, deed, page, reason_of, signed_in, telling_outcome
from accounts.signing import too_many
from accounts.throttling import TooMany
from config.base.forms import PageForm
from config.base.problems import Conflict

SHOWN = 10  # activities


class AccountForm(PageForm):
    username = forms.CharField(
        label="User name",
        max_length=64,
        widget=forms.TextInput({"autocomplete": "username", "autocapitalize": "none"}),
    )
    email = forms.EmailField(
        max_length=254,
        widget=forms.EmailInput({"autocomplete": "email"}),
        help_text="Where a link to a new password goes.",
    )


def password_field(label: str, kind: str, help_text: str = "") -> forms.CharField:
    widget = forms.PasswordInput({"autocomplete": kind})
    return forms.CharField(
        label=label, max_length=1000, strip=False, widget=widget, help_text=help_text
    )


class NewPasswordForm(PageForm):
    new_password = password_field("New password", "new-password", "8 characters or more.")
    repeated = password_field("New password again", "new-password")

    def clean_repeated(self) -> str:
        repeated = str(self.cleaned_data["repeated"])
        if repeated != self.cleaned_data.get("new_password", repeated):
            raise ValidationError("This is not the same password.")
        return repeated


class PasswordForm(NewPasswordForm):
    current_password = password_field("Current password", "current-password")
    field_order = ("current_password", "new_password", "repeated")


def me(request: PageRequest) -> User:
    user = request.user
    assert isinstance(user, User)
    return user


@signed_in
@require_http_methods(["GET", "POST"])
def account(request: PageRequest) -> HttpResponse:
    user = me(request)
    told = {"username": user.username, "email": user.email}
    form = AccountForm(request.POST or None, initial=told)
    if request.method == "POST" and form.is_valid():
        try:
            renaming.rename(user, request.actor, **form.cleaned_data)
        except ValidationError as error:
            form.blame(error)
        except renaming.Taken as taken:
            form.add_error(taken.field, str(taken))
        else:
            messages.success(request, "Saved account.")
            return redirect("account")
    form.describe()
    mine = Membership.objects.filter(user=user, organization__deleted_at=None)
    context = {
        "form": form,
        "happened": _happened_to(user),
        "may_create": belonging.may_create(request.actor),
        "memberships": mine.select_related("organization").order_by("organization__name")[:200],
    }
    return render(request, "accounts/account.html", context, status=_status(form))


def _happened_to(user: User) -> list[Activity]:
    """The latest of what belongs to no organization, and so is on no other page of this person."""
    about = Activity.objects.filter(object_kind="user", object_id=str(user.pk))
    return list(about.filter(organization_id=None).order_by("-created_at", "-id")[:SHOWN])


@signed_in
@require_http_methods(["GET", "POST"])
def password(request: PageRequest) -> HttpResponse:
    form = PasswordForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and _changed(request, form):
        messages.success(request, "Changed the password. All other sessions have ended.")
        return redirect("account")
    form.describe()
    wait = getattr(request, "try_again_after", 0)
    status = 200 if wait else _status(form)  # the middleware makes 429 of it
    return render(request, "accounts/password_change.html", {"form": form}, status=status)


def _changed(request: PageRequest, form: PasswordForm) -> bool:
    user, given = me(request), form.cleaned_data
    kept = request.session.session_key
    try:
        passwords.change(
            user, request.actor, given["current_password"], given["new_password"], kept
        )
    except ValidationError as error:
        form.blame(error)
    except TooMany as error:
        request.try_again_after = error.wait  # type: ignore[attr-defined]
        form.add_error(None, too_many(error.wait))
    except Conflict as error:
        form.add_error(None, str(error))
    else:
        update_session_auth_hash(request, user)
        return True
    return False


def _status(form: forms.Form) -> int:
    return 400 if form.is_bound and form.errors else 200


@page
def list_sessions(request: PageRequest) -> HttpResponse:
    here = request.session.session_key
    rows: list[dict[str, Any]] = [
        {"session": row, "browser": agents.told(row.agent), "here": row.pk == here}
        for row in sessions.of(me(request))[:200]
    ]
    return render(request, "accounts/sessions.html", {"rows": rows})


@deed
def end_session(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    found = get_object_or_404(sessions.of(me(request)), id=pk)
    with telling_outcome(request, f"Ended the session of {agents.told(found.agent)}."):
        sessions.end(found, request.actor)
    return redirect("sessions")


@deed
def end_other_sessions(request: PageRequest) -> HttpResponse:
    key = request.session.session_key
    count = sessions.end_others(me(request), request.actor, key, reason_of(request))
    told = "There was no other session." if not count else f"Ended {count} other sessions."
    messages.success(request, "Ended the other session." if count == 1 else told)
    return redirect("sessions")
