"""Connections: the control planes, what works there, and their tokens."""

import uuid
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.db.models import Case, Count, Q, QuerySet, Value, When
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import roles
from accounts.listing import page_of
from accounts.scope import (
    PageRequest,
    Refused,
    deed,
    home_of,
    may_somewhere,
    must,
    needed_reason_of,
    page,
    reason_of,
    signed_in,
    where_may,
)
from config.base.forms import PageForm
from config.base.problems import Conflict
from config.base.secrets import Undecryptable
from fallback import connecting, external
from fallback.models import Connection, Move, Pause
from fallback.views.pauses import resumable

LOST_KEY = "Its stored token cannot be read with the keys of this installation. Rotate it."


class ConnectionForm(PageForm):
    """What is written; a token is never shown again, so an empty one keeps what is stored."""

    name = forms.CharField(max_length=100)
    base_url = forms.CharField(
        label="Address",
        max_length=300,
        help_text="The control plane’s, as in https://tfy.example.org. Without a path, /api/svc.",
    )
    assumed_user = forms.CharField(
        label="Assumed user",
        max_length=64,
        help_text="On whose behalf jobs are made and runs are started.",
    )
    token = forms.CharField(
        max_length=8000,
        required=False,
        help_text="A service token. Stored encrypted, never shown again.",
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, connection: Connection, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connection = connection
        if connection.from_environment:  # address and token are the environment's
            for name in ("base_url", "token", "assumed_user"):
                del self.fields[name]
        elif not connection._state.adding:
            del self.fields["token"]  # rotated apart
        self.describe()

    def save(self, actor: Any, reason: str) -> bool:
        """Whether it is saved; otherwise the form says why not."""
        if not self.is_valid():
            return False
        for name, value in self.cleaned_data.items():
            setattr(self.connection, name, value)
        try:
            connecting.save(self.connection, actor, reason)
        except ValidationError as error:
            self.blame(error)
            return False
        except Conflict as error:
            self.add_error("base_url" if "base_url" in self.fields else None, str(error))
            return False
        except IntegrityError:
            self.add_error("name", "The organization has a connection of this name.")
            return False
        return True


def told_of(found: QuerySet[Connection]) -> QuerySet[Connection]:
    """With `has_token`, and without the token: one that no key opens must not break a page."""
    return (
        found.select_related("organization", "pause")
        .defer("token")
        .annotate(has_token=Case(When(token="", then=Value(False)), default=Value(True)))
    )


def state_of(connection: Any) -> str:
    """What a list says of it: what a person must do comes first. Needs `told_of`."""
    ours = connection.has_token and not connection.from_environment
    environments = connection.from_environment and settings.TF_SERVICE_API_TOKEN
    if not ((ours or environments) and connection.url):
        return "no-token"
    if active_pause(connection):
        return "paused"
    return connection.state if connection.enabled else "disabled"


def active_pause(connection: Connection) -> Pause | None:
    pause: Pause | None = getattr(connection, "pause", None)
    ended = pause and pause.until and pause.until <= timezone.now()
    return None if ended else pause


@page
def connections(request: PageRequest) -> HttpResponse:
    context = _listed(request)
    context["may_write"] = may_somewhere(request.reader, "connection.write")
    return render(request, "fallback/connections.html", context)


@page
def rows(request: PageRequest) -> HttpResponse:
    return render(request, "fallback/_connections.html", _listed(request))


def _listed(request: PageRequest) -> dict[str, Any]:
    search = request.GET.get("search", "").replace("\0", "").strip()[:100]
    found = Connection.objects.visible_to(request.reader).order_by("name", "pk")
    if search:
        found = found.filter(Q(name__icontains=search) | Q(base_url__icontains=search))
    load = told_of(Connection.objects.annotate(config_count=Count("configs")))
    listed = page_of(request, found, load)
    return {
        "page": listed,
        "search": search,
        "states": {row.pk: state_of(row) for row in listed.rows},
        "many": len({row.organization_id for row in listed.rows}) > 1,
    }


def _one(request: PageRequest, pk: uuid.UUID) -> Connection:
    return get_object_or_404(told_of(Connection.objects.visible_to(request.actor)), pk=pk)


@page
def one(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    return render(request, "fallback/connection.html", _told(request, _one(request, pk)))


def _told(request: PageRequest, found: Connection) -> dict[str, Any]:
    actor, home = request.actor, found.organization_id
    pause = active_pause(found)
    return {
        "connection": found,
        "state": state_of(found),
        "configs": found.configs.count(),
        "open_moves": Move.objects.open().filter(organization=home, connection=found).count(),
        "may_write": roles.may(actor, "connection.write", home),
        "may_pause": roles.may(actor, "fallback.pause", home),
        "pause": pause,
        "resume_scope": resumable(actor, pause),
        "pause_scopes": [(f"connection:{found.pk}", str(found))],
    }


@signed_in
@require_http_methods(["GET", "POST"])
def create(request: PageRequest) -> HttpResponse:
    homes = where_may(request.actor, "connection.write")
    if not homes:
        raise Refused("connection.write")
    connection = Connection()
    home = home_of(request, homes)
    if home:
        connection.organization = home
    if request.method == "POST":
        form = ConnectionForm(request.POST, connection=connection)
        if home is None:
            form.add_error(None, "Choose an organization.")
        elif form.save(request.actor, ""):
            messages.success(request, f"Created {connection}. Test it next.")
            return redirect("connection", pk=connection.pk)
    else:
        initial = {"assumed_user": connection.assumed_user, "name": "TrueFoundry"}
        form = ConnectionForm(initial=initial, connection=connection)
    return _form_page(request, form, {"organizations": homes, "home": home})


def _form_page(request: PageRequest, form: ConnectionForm, more: dict[str, Any]) -> HttpResponse:
    context = {"form": form, "part": "Fallback", "thing": "connection", "things": "connections"}
    status = 400 if form.is_bound else 200
    return render(request, "fallback/connection_edit.html", context | more, status=status)


@signed_in
@require_http_methods(["GET", "POST"])
def edit(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    connection = _one(request, pk)
    must(request.actor, "connection.write", connection.organization_id, connection)
    if request.method == "POST":
        form = ConnectionForm(request.POST, connection=connection)
        if form.save(request.actor, reason_of(request)):
            messages.success(request, f"Saved {connection}.")
            return redirect("connection", pk=pk)
        connection = _one(request, pk)  # as it is stored, for what the page shows beside the form
    else:
        names = ("name", "base_url", "assumed_user")
        initial = {name: getattr(connection, name) for name in names}
        form = ConnectionForm(initial=initial, connection=connection)
    return _form_page(request, form, {"row": connection, "state": state_of(connection)})


@deed
def test(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Try it, ten seconds at most, and show each finding."""
    found = _one(request, pk)
    must(request.actor, "connection.write", found.organization_id, found)
    try:
        findings = connecting.test(found, request.actor, external.caller_of)
    except Undecryptable:
        findings = [connecting.Finding("token", False, LOST_KEY)]
    found = _one(request, pk)
    context = _told(request, found) | {"findings": findings}
    return render(request, "fallback/connection.html", context)


@deed
def rotate(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Store another token."""
    found = _one(request, pk)
    must(request.actor, "connection.write", found.organization_id, found)
    token = request.POST.get("token", "").strip()
    if found.from_environment:
        messages.error(request, "Its token is in the environment: change it there.")
    elif not token:
        messages.error(request, "Give the new token.")
    else:
        found.token = token
        _save(request, found, "The new token is stored. Test it next.")
    return redirect("connection", pk=pk)


@deed
def switch(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Enable or disable it."""
    found = _one(request, pk)
    must(request.actor, "connection.write", found.organization_id, found)
    found.enabled = request.POST.get("enabled") == "yes"
    _save(request, found, f"{'Enabled' if found.enabled else 'Disabled'} {found}.")
    return redirect("connection", pk=pk)


def _save(request: PageRequest, found: Connection, told: str) -> None:
    try:
        connecting.save(found, request.actor, reason_of(request))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    except Undecryptable:
        messages.error(request, LOST_KEY)
    else:
        messages.success(request, told)


@deed
def delete(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    found = _one(request, pk)
    must(request.actor, "connection.write", found.organization_id, found)
    if request.POST.get("confirm", "").strip() != found.name:
        messages.error(request, f"Type {found} to delete it.")
        return redirect("connection", pk=pk)
    try:
        connecting.delete(found, request.actor, needed_reason_of(request))
    except Conflict as conflict:
        messages.error(request, str(conflict))
        return redirect("connection", pk=pk)
    except Undecryptable:
        messages.error(request, LOST_KEY)
        return redirect("connection", pk=pk)
    messages.success(request, f"Deleted {found.name}.")
    return redirect("connections")
