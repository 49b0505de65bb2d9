"""Sweeps: what each pass saw, planned and left alone; and asking for one."""

import uuid
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts.listing import page_of
from accounts.models import Organization
from accounts.scope import PageRequest, deed, must, page, where_may
from config.base import live
from fallback import outlook, sweep
from fallback.models import Sweep
from fallback.tasks import drive_tick

KINDS = {"": "All sweeps", "asked": "Asked for", "dry": "Dry runs", "busy": "Not quiet"}


@page
def sweeps(request: PageRequest) -> HttpResponse:
    context = _listed(request)
    context |= {"kinds": KINDS, "sweep_organizations": where_may(request.reader, "sweep.run")}
    return render(request, "fallback/sweeps.html", context)


@page
def rows(request: PageRequest) -> HttpResponse:
    return render(request, "fallback/_sweeps.html", _listed(request))


def _listed(request: PageRequest) -> dict[str, Any]:
    kind = request.GET.get("kind", "")
    found = Sweep.objects.visible_to(request.reader)
    if kind == "asked":
        found = found.filter(by_person=True)
    elif kind == "dry":
        found = found.filter(dry_run=True)
    elif kind == "busy":
        found = found.filter(quiet=False)
    load = Sweep.objects.defer("sources").select_related("organization")
    listed = page_of(request, found, load)
    return {
        "page": listed,
        "kind": kind,
        "many": len({row.organization_id for row in listed.rows}) > 1,
    }


@page
def one(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    return render(request, "fallback/sweep.html", _told(request, pk))


@page
def now(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    return render(request, "fallback/_sweep.html", _told(request, pk))


def _told(request: PageRequest, pk: uuid.UUID) -> dict[str, Any]:
    visible = Sweep.objects.visible_to(request.actor).select_related("organization")
    found = get_object_or_404(visible, pk=pk)
    ids = {source["workspaceId"] for source in found.sources}
    moves = found.moves.defer("command").select_related("config")
    return {
        "sweep": found,
        "sources": sorted(found.sources, key=_weight),
        "left": outlook.left_alone(found),
        "moves": moves[:50],
        "names": outlook.workspace_names(request.actor, ids) if ids else {},
    }


def _weight(source: dict[str, Any]) -> tuple[bool, int, int, str]:
    """Trouble first, then what had most to do."""
    return (not source["error"], -source["planned"], -source["stuck"], source["workspaceId"])


@deed
def request_one(request: PageRequest) -> HttpResponse:
    """Ask for a sweep, or a dry run, that a worker makes within seconds."""
    mine = Organization.objects.visible_to(request.actor)
    organization = mine.filter(slug=request.POST.get("organization", "")).first()
    if organization is None:
        raise Http404
    must(request.actor, "sweep.run", organization.pk)
    dry_run = bool(request.POST.get("dry_run"))
    row = sweep.request(organization, request.actor, dry_run=dry_run)
    live.nudge(drive_tick)
    what = "A dry run" if dry_run else "A sweep"
    messages.success(request, f"{what} of {organization} begins within seconds.")
    return redirect("sweep", pk=row.pk)
