"""Configs: which stuck runs go where."""

import uuid
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone

from accounts import roles
from accounts.listing import page_of
from accounts.scope import PageRequest, deed, may_somewhere, must, needed_reason_of, page, reason_of
from config.base.problems import Conflict
from config.base.secrets import Undecryptable
from fallback import configuring
from fallback.models import Connection, Destination, FallbackConfig, Mode, Move, MoveState, Pause
from fallback.views.config_form import connect
from fallback.views.pauses import resumable

STATES = {
    "": "All states",
    "enabled": "Enabled",
    "disabled": "Disabled",
    "paused": "Paused",
    "repair": "Needs repair",
}
MODES = {"": "All modes", Mode.OBSERVE: "observe", Mode.AUTO: "auto"}
MOVES_SHOWN = 10
LOST_KEY = "The connection’s stored token cannot be read with the keys of this installation."


@page
def configs(request: PageRequest) -> HttpResponse:
    context = _listed(request)
    context |= {
        "states": STATES,
        "modes": MODES,
        "connections": Connection.objects.visible_to(request.reader)
        .only("name")
        .order_by("name")[:200],
        "may_write": may_somewhere(request.reader, "config.write"),
        "lacking": _lacking(FallbackConfig.objects.visible_to(request.reader)).count(),
    }
    return render(request, "fallback/configs.html", context)


@page
def rows(request: PageRequest) -> HttpResponse:
    return render(request, "fallback/_configs.html", _listed(request))


def _lacking(found: QuerySet[FallbackConfig]) -> QuerySet[FallbackConfig]:
    unnamed = Destination.objects.filter(config=OuterRef("pk"), workspace_fqn="")
    return found.filter(Exists(unnamed))


def _paused(found: QuerySet[FallbackConfig]) -> QuerySet[FallbackConfig]:
    active = Pause.objects.active(timezone.now())
    own = active.filter(config=OuterRef("pk"))
    whole = active.filter(connection=OuterRef("connection_id"))
    everything = active.filter(connection=None, config=None)
    return found.filter(Q(Exists(own)) | Q(Exists(whole)) | Q(Exists(everything)))


def _listed(request: PageRequest) -> dict[str, Any]:
    names = ("search", "mode", "state", "connection")
    chosen = {n: request.GET.get(n, "").replace("\0", "").strip()[:128] for n in names}
    visible = FallbackConfig.objects.visible_to(request.reader)
    found = _filtered(visible, chosen).order_by("source_workspace_name", "source_job_name", "pk")
    load = (
        FallbackConfig.objects.select_related("connection", "pause", "connection__pause")
        .defer("connection__token")
        .prefetch_related("destinations")
    )
    listed = page_of(request, found, load)
    counts = (
        Move.objects.filter(config__in=[row.pk for row in listed.rows], state=MoveState.SUCCEEDED)
        .order_by()
        .values_list("config_id")
        .annotate(n=Count("pk"))
    )
    return {
        "page": listed,
        "everything": pause_of_everything(),
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "moved": dict(counts) if listed.rows else {},
    }


def _filtered(found: QuerySet[FallbackConfig], chosen: dict[str, str]) -> QuerySet[FallbackConfig]:
    if text := chosen["search"]:
        there = Destination.objects.filter(config=OuterRef("pk")).filter(
            Q(workspace_fqn__icontains=text) | Q(workspace_id=text)
        )
        found = found.filter(
            Q(source_workspace_name__icontains=text)
            | Q(source_job_name__icontains=text)
            | Q(source_workspace_id=text)
            | Q(source_job_id=text)
            | Q(source_cluster_id=text)
            | Q(Exists(there))
        )
    if chosen["mode"]:
        found = found.filter(mode=chosen["mode"])
    if chosen["connection"]:
        try:
            found = found.filter(connection_id=uuid.UUID(chosen["connection"]))
        except ValueError:
            found = found.none()
    if chosen["state"] == "repair":
        return _lacking(found)
    if chosen["state"] == "paused":
        return _paused(found)
    if chosen["state"] in ("enabled", "disabled"):
        return found.filter(enabled=chosen["state"] == "enabled")
    return found


def one_of(request: PageRequest, pk: uuid.UUID) -> FallbackConfig:
    """Raises Http404 for what the reader cannot see."""
    found = FallbackConfig.objects.visible_to(request.actor).select_related(
        "connection__organization", "pause", "connection__pause"
    )
    found = found.defer("connection__token").prefetch_related("destinations")
    return get_object_or_404(found, pk=pk)


@page
def one(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    found = one_of(request, pk)
    actor, home = request.actor, found.organization_id
    context = _told(request, found) | {
        "may_write": roles.may(actor, "config.write", home),
        "may_pause": roles.may(actor, "fallback.pause", home),
        "pause_scopes": [(f"config:{found.pk}", str(found))],
    }
    return render(request, "fallback/config.html", context)


@page
def now(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Its moves, fetched again when something has changed."""
    return render(request, "fallback/_config_moves.html", _told(request, one_of(request, pk)))


def _told(request: PageRequest, found: FallbackConfig) -> dict[str, Any]:
    moves = Move.objects.filter(config=found)
    counts = dict(moves.order_by().values_list("state").annotate(n=Count("pk")))
    everything = pause_of_everything()
    pause = active_pause(found, everything)
    latest = moves.defer("command").select_related("config")[:MOVES_SHOWN]
    return {
        "config": found,
        "state": state_of(found, everything),
        "pause": pause,
        "resume_scope": resumable(request.actor, pause),
        "moves": latest,
        "total": sum(counts.values()),
        "moved": counts.get(MoveState.SUCCEEDED, 0),
        "failed": counts.get(MoveState.FAILED, 0),
        "names": {found.source_workspace_id: found.source_workspace_name},
    }


def pause_of_everything() -> Pause | None:
    whole = Pause.objects.active(timezone.now()).filter(connection=None, config=None)
    return whole.first()


def active_pause(config: FallbackConfig, everything: Pause | None) -> Pause | None:
    """The pause that holds it: its own, its connection's, or that of everything."""
    for holder in (config, config.connection):
        pause: Pause | None = getattr(holder, "pause", None)
        if pause and (pause.until is None or pause.until > timezone.now()):
            return pause
    return everything


def state_of(config: FallbackConfig, everything: Pause | None) -> str:
    """What a list says of it: what a person must do comes first."""
    if config.needs_repair:
        return "repair"
    if active_pause(config, everything):
        return "paused"
    return "enabled" if config.enabled else "disabled"


@deed
def switch(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Enable or disable it."""
    found = one_of(request, pk)
    must(request.actor, "config.write", found.organization_id, found)
    found.enabled = request.POST.get("enabled") == "yes"
    try:
        configuring.save_config(
            found,
            list(found.destinations.all()),
            request.actor,
            look_up=False,
            reason=reason_of(request),
        )
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        word = "Enabled" if found.enabled else "Disabled"
        messages.success(request, f"{word} {found}.")
    return redirect("config", pk=pk)


@deed
def repair(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Look up the FQNs that are missing, at the control plane."""
    found = one_of(request, pk)
    must(request.actor, "config.write", found.organization_id, found)
    try:
        repaired, problems = configuring.repair(request.actor, [found], connect)
    except Conflict as conflict:
        repaired, problems = 0, [str(conflict)]
    except Undecryptable:
        repaired, problems = 0, [LOST_KEY]
    if repaired:
        messages.success(request, f"Repaired {found}.")
    for problem in problems[:3]:
        messages.error(request, problem)
    return redirect("config", pk=pk)


@deed
def delete(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    found = one_of(request, pk)
    must(request.actor, "config.write", found.organization_id, found)
    if request.POST.get("confirm", "").strip() != str(found):
        messages.error(request, f"Type {found} to delete it.")
        return redirect("config", pk=pk)
    name = str(found)
    try:
        configuring.delete_config(found, request.actor, needed_reason_of(request))
    except Conflict as conflict:
        messages.error(request, str(conflict))
        return redirect("config", pk=pk)
    messages.success(request, f"Deleted {name}. Its open moves go on to their end.")
    return redirect("configs")
