"""The overview: what needs a person, what moves, what is stuck, and what happened."""

from datetime import UTC, timedelta
from typing import Any

from django.db.models import Min
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts import belonging
from accounts.models import Activity
from accounts.scope import PageRequest, may_somewhere, page, where_may
from config.base.actor import Actor
from fallback import outlook
from fallback.models import Connection, MoveState, Sweep
from fallback.models.move import DRIVEN
from fallback.outlook import WAITING_FOR_A_PERSON
from fallback.views.pauses import resumable, scopes

MOST = 10
HOURS = 24
PLOT_TOP, PLOT_HEIGHT = 16, 80  # pixels
NEWS = 12


@page
def overview(request: PageRequest) -> HttpResponse:
    context = _standing(request)
    context["pause_scopes"] = scopes(request)
    context["may_connect"] = may_somewhere(request.reader, "connection.write")
    context["sweep_organizations"] = where_may(request.reader, "sweep.run")
    return render(request, "fallback/overview.html", context)


@page
def now(request: PageRequest) -> HttpResponse:
    """All that changes, fetched again when something has."""
    return render(request, "fallback/_overview.html", _standing(request))


def _standing(request: PageRequest) -> dict[str, Any]:
    reader = request.reader
    last = outlook.last_sweeps(reader)
    counted = outlook.counted(reader)
    moves = counted.order_by("-created_at", "-id").select_related("config").defer("command")
    waiting = list(moves.open().filter(state__in=WAITING_FOR_A_PERSON)[: MOST + 1])
    moving = list(moves.open().filter(state__in=DRIVEN)[: MOST + 1])
    stuck = outlook.stuck_runs(last)
    ids = {move.source_workspace_id for move in [*waiting, *moving]}
    ids |= {run["source"]["workspaceId"] for run in stuck[:MOST]}
    figures = outlook.figures(reader, last)
    # In a group: for a minimum alone SQLite goes through all moves by that column.
    waits = counted.filter(state=MoveState.NEEDS_ATTENTION).values("state")
    oldest = waits.annotate(at=Min("updated_at")) if figures["person"] else []
    return {
        "homeless": not (request.actor.roles or request.actor.sees_all),
        "may_create_home": belonging.may_create(request.actor),
        "figures": figures,
        "oldest": next((row["at"] for row in oldest), None),
        "banners": [
            {"found": found, "scope": resumable(request.actor, found.pause)}
            for found in outlook.hindrances(reader, last)
        ],
        "last": last,
        "last_sweep": last[0] if last else None,
        "seen": sum(sweep.seen for sweep in last),
        "sources": sum(len(sweep.sources) for sweep in last),
        "requested": Sweep.objects.visible_to(reader).filter(finished_at=None).exists(),
        "next_sweep_at": outlook.next_sweep_at(),
        "waiting": waiting[:MOST],
        "moving": moving[:MOST],
        "stuck": stuck[:MOST],
        "problems": outlook.problems(last)[:MOST],
        "hours": _by_hour(reader),
        # That a move is planned is seen beside; here it would come twice.
        "news": Activity.objects.exclude(verb="move.planned").newest(reader, NEWS),
        "connected": Connection.objects.visible_to(reader).exists(),
        "names": outlook.workspace_names(reader, ids) if ids else {},
    }


def _by_hour(reader: Actor) -> dict[str, Any]:
    """Moved and failed in each of the last 24 hours, by when they were planned, for a chart."""
    start = timezone.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    start -= timedelta(hours=HOURS - 1)
    counts = outlook.by_hour(reader, start)
    bars = []
    for hour in range(HOURS):
        at = start + timedelta(hours=hour)
        key = f"{at:%Y-%m-%d %H}"
        moved = counts.get((key, MoveState.SUCCEEDED), 0)
        failed = counts.get((key, MoveState.FAILED), 0)
        bars.append({"at": at, "moved": moved, "failed": failed})
    return _drawn(bars)


def _drawn(bars: list[dict[str, Any]]) -> dict[str, Any]:
    """The bars with their places: x in percent, y in pixels."""
    peak = max(1, *(bar["moved"] + bar["failed"] for bar in bars))
    step = 100 / len(bars)
    for index, bar in enumerate(bars):
        bar["x"] = round(index * step + 0.4, 2)
        bar["width"] = round(step - 1, 2)
        bar["moved_height"] = round(PLOT_HEIGHT * bar["moved"] / peak, 1)
        bar["moved_y"] = round(PLOT_TOP + PLOT_HEIGHT - bar["moved_height"], 1)
        height = round(PLOT_HEIGHT * bar["failed"] / peak, 1)
        bar["failed_height"] = max(height - 1, 1) if bar["failed"] else 0
        bar["failed_y"] = round(bar["moved_y"] - height, 1)
        bar["labelled"] = index % 6 == 0
    return {
        "bars": bars,
        "peak": peak,
        "moved": sum(bar["moved"] for bar in bars),
        "failed": sum(bar["failed"] for bar in bars),
    }
