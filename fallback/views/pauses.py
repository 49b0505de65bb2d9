"""Pausing and resuming: everything, a connection, or a config."""

import uuid
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from accounts import roles
from accounts.scope import PageRequest, Refused, deed, must, reason_of, telling_outcome
from accounts.views.signing import way_back
from config.base.actor import Actor
from config.base.problems import Conflict
from fallback import pausing
from fallback.models import Connection, FallbackConfig, Pause
from fallback.pausing import Scope

MOST_SCOPES = 100
SPANS = {
    "": "Until somebody resumes",
    "30": "30 minutes",
    "60": "1 hour",
    "240": "4 hours",
    "1440": "1 day",
}
EVERYTHING = "everything"


def scopes(request: PageRequest) -> list[tuple[str, str]]:
    """What the reader may pause from the overview: `connection:ID` or `everything`, and a label."""
    actor = request.actor
    connections = Connection.objects.visible_to(request.reader).select_related("organization")
    found = [
        (f"connection:{connection.pk}", f"{connection} in {connection.organization}")
        for connection in connections.defer("token").order_by("name")[:MOST_SCOPES]
        if roles.may(actor, "fallback.pause", connection.organization_id)
    ]
    if actor.sees_all and not actor.read_only:
        found.append((EVERYTHING, "Everything, in all organizations"))
    return found


def resumable(actor: Actor, pause: Pause | None) -> str:
    """What a form has to name so that `actor` resumes `pause`; '' where they may not."""
    if pause is None:
        return ""
    scope = pause.config or pause.connection
    if scope is None:
        return EVERYTHING if actor.sees_all and not actor.read_only else ""
    if not roles.may(actor, "fallback.pause", scope.organization_id):
        return ""
    return f"{'config' if pause.config_id else 'connection'}:{scope.pk}"


def _scope(request: PageRequest) -> Scope:
    """What the form names. Raises Http404 and Refused."""
    actor = request.actor
    kind, _, key = request.POST.get("scope", "").partition(":")
    if kind == EVERYTHING:
        if not actor.sees_all or actor.read_only:
            raise Refused("fallback.pause")
        return None
    models: dict[str, Any] = {"connection": Connection, "config": FallbackConfig}
    hidden = {"connection": "token", "config": "connection__token"}
    if kind not in models:
        raise Http404
    try:
        visible = models[kind].objects.visible_to(actor).defer(hidden[kind])
        found = visible.get(pk=uuid.UUID(key))
    except (ValueError, models[kind].DoesNotExist):
        raise Http404 from None
    must(actor, "fallback.pause", found.organization_id, found)
    return found


@deed
def pause(request: PageRequest) -> HttpResponse:
    scope = _scope(request)
    reason = request.POST.get("reason", "").replace("\0", "").strip()
    minutes = request.POST.get("minutes", "")
    lasting = timedelta(minutes=int(minutes)) if minutes in SPANS and minutes else None
    until = timezone.now() + lasting if lasting else None
    try:
        found = pausing.pause(scope, request.actor, reason, until)
    except ValidationError as error:
        told = "Give a reason: others will read it." if not reason else " ".join(error.messages)
        messages.error(request, told)
    except Conflict as conflict:
        messages.error(request, str(conflict))
    else:
        messages.success(request, f"Paused {found}. Moves past their trigger are finished.")
    return redirect(way_back(request))


@deed
def resume(request: PageRequest) -> HttpResponse:
    scope = _scope(request)
    with telling_outcome(request, f"Resumed {scope or 'everything'}."):
        pausing.resume(scope, request.actor, reason_of(request))
    return redirect(way_back(request))
