"""Moves: the list, one with its steps, and what people may do with it."""

import uuid
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts import roles
from accounts.listing import page_of
from accounts.scope import (
    PageRequest,
    deed,
    must,
    needed_reason_of,
    page,
    reason_of,
    telling_outcome,
)
from fallback import moving, outlook, telling
from fallback.models import Connection, FallbackConfig, Move, MoveState
from fallback.models.move import CLOSED, DRIVEN, SEARCHED

S = MoveState
GROUPS: dict[str, list[str]] = {
    "person": [S.NEEDS_ATTENTION, S.AWAITING_APPROVAL],
    "moving": [*DRIVEN],
    "ended": [*CLOSED],
}
GROUP_LABELS = {"person": "Needs a person", "moving": "Moving", "ended": "Ended"}
REASONS = [
    *("AnswerLost", "AwaitingEnd", "CancelledByPerson", "Conflict", "CreateRejected"),
    *("InternalError", "ManifestMissing", "NameTaken", "NotEnded", "PreparedElsewhere"),
    *("Rejected", "RemoteChanged", "RollingOut", "RolloutFailed", "RolloutTimedOut"),
    *("RolloutUnderWay", "RunClaimed", "RunUnseen", "SourceFailed", "SourceGone"),
    *("SourceRecovered", "SourceUnknown", "TriggerRejected", "TriggerUnderWay", "Unauthorized"),
    *("Unavailable", "WrongDeployment"),
]
MOST_PLACES = 200


@page
def moves(request: PageRequest) -> HttpResponse:
    context = _listed(request)
    context["connections"] = (
        Connection.objects.visible_to(request.reader).only("name").order_by("name")[:200]
    )
    context["places"] = (
        FallbackConfig.objects.visible_to(request.reader)
        .exclude(source_workspace_name="")
        .order_by("source_workspace_name")
        .values_list("source_workspace_name", flat=True)
        .distinct()[:MOST_PLACES]
    )
    context |= {"groups": GROUP_LABELS, "states": S, "reasons": REASONS}
    return render(request, "fallback/moves.html", context)


@page
def rows(request: PageRequest) -> HttpResponse:
    """The table alone, fetched again when something has changed."""
    return render(request, "fallback/_moves.html", _listed(request))


@page
def waiting(request: PageRequest) -> HttpResponse:
    """How many need a person, for the navigation of every page."""
    return render(request, "ui/waiting.html", {"waiting": outlook.waiting(request.reader)})


def _listed(request: PageRequest) -> dict[str, Any]:
    names = ("state", "connection", "workspace", "reason", "search", "config")
    chosen = {n: request.GET.get(n, "").replace("\0", "").strip()[:128] for n in names}
    found = _filtered(Move.objects.visible_to(request.reader), chosen)
    load = Move.objects.select_related("config", "connection").defer("command", "connection__token")
    search = any(chosen[name] for name in ("workspace", "reason", "search"))
    listed = page_of(request, found, load, search=search)
    return {"page": listed, "chosen": chosen, "filtered": any(chosen.values())} | _names(
        request, listed.rows
    )


def _filtered(found: QuerySet[Move], chosen: dict[str, str]) -> QuerySet[Move]:
    if state := chosen["state"]:
        found = found.filter(state__in=GROUPS.get(state, [state]))
    for name in ("connection", "config"):
        if chosen[name]:
            try:
                found = found.filter(**{f"{name}_id": uuid.UUID(chosen[name])})
            except ValueError:
                found = found.none()
    if place := chosen["workspace"]:
        sources = FallbackConfig.objects.filter(source_workspace_name=place)
        found = found.filter(
            Q(source_workspace_id=place)
            | Q(destination_workspace_id=place)
            | Q(destination_workspace_fqn=place)
            | Q(source_workspace_id__in=sources.values("source_workspace_id"))
        )
    if chosen["reason"]:
        found = found.filter(reason=chosen["reason"])
    if text := chosen["search"]:
        terms = ((f"{name}__icontains", text) for name in SEARCHED)
        found = found.filter(Q(*terms, _connector=Q.OR))
    return found


def _names(request: PageRequest, shown: list[Move]) -> dict[str, Any]:
    ids = {move.source_workspace_id for move in shown}
    return {"names": outlook.workspace_names(request.actor, ids) if ids else {}}


@page
def move(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    return render(request, "fallback/move.html", _told(request, pk))


@page
def now(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """The whole of it, fetched again when something has changed."""
    return render(request, "fallback/_move.html", _told(request, pk))


def _one(request: PageRequest, pk: uuid.UUID) -> Move:
    found = Move.objects.visible_to(request.actor).select_related(
        "config", "connection__organization", "sweep", "relocation"
    )
    hidden = ("command", "relocation__manifest", "sweep__sources", "connection__token")
    return get_object_or_404(found.defer(*hidden), pk=pk)


def _told(request: PageRequest, pk: uuid.UUID) -> dict[str, Any]:
    found = _one(request, pk)
    steps = list(found.steps.order_by("-id")[: telling.MOST_STEPS])[::-1]
    told = telling.story(found, steps)
    actor, home = request.actor, found.organization_id
    others = telling.chain(found)
    source_url, destination_url = telling.console_urls(found)
    open_now = found.state not in CLOSED
    may_retry = roles.may(actor, "move.retry", home)
    may_cancel = roles.may(actor, "move.cancel", home)
    began = told[0].begun if told else None
    return {
        "move": found,
        "steps": told,
        "all_steps": len(steps) < telling.MOST_STEPS,
        "shares": telling.shares(told),
        "whole": (found.finished_at - began) if found.finished_at and began else None,
        "others": [other for other in others if other.organization_id == home],
        "source_url": source_url,
        "destination_url": destination_url,
        "may_retry": may_retry,
        "may_cancel": may_cancel,
        "can_retry": may_retry and found.state in (S.FAILED, S.NEEDS_ATTENTION),
        "can_cancel": may_cancel and open_now and not found.past_the_point,
    } | _names(request, [found, *others])


@deed
def retry(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    found = _one(request, pk)
    must(request.actor, "move.retry", found.organization_id, found)
    with telling_outcome(request, "It is taken up again where it broke."):
        moving.retry(found, request.actor, reason_of(request))
    return redirect("move", pk=pk)


@deed
def cancel(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    found = _one(request, pk)
    must(request.actor, "move.cancel", found.organization_id, found)
    with telling_outcome(request, "The move is cancelled; its run stays where it is."):
        moving.cancel(found, request.actor, needed_reason_of(request))
    return redirect("move", pk=pk)
