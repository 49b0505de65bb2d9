"""Who did what, as pages show it."""

from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.listing import page_of
from accounts.models import Activity
from accounts.scope import PageRequest, page

SPANS = {"1": "Last day", "7": "Last 7 days", "30": "Last 30 days", "": "All time"}
KINDS = {"": "Everyone", "user": "People", "token": "Tokens", "system": "System"}
PARTS = {
    "": "All objects",
    "move": "Moves",
    "fallbackconfig": "Configs",
    "connection": "Connections",
    "sweep": "Sweeps",
    "pause": "Pauses",
    "membership": "Members",
}


@page
def activity(request: PageRequest) -> HttpResponse:
    return render(request, "accounts/activity.html", _activities(request))


@page
def activity_rows(request: PageRequest) -> HttpResponse:
    """The table alone, fetched again when something has happened."""
    return render(request, "accounts/_activity_rows.html", _activities(request))


def _activities(request: PageRequest) -> dict[str, Any]:
    found = Activity.objects.visible_to(request.reader)
    params = request.GET
    chosen = {
        "search": params.get("search", "").replace("\0", "").strip()[:100],
        "actor": params.get("actor", ""),
        "object": params.get("object", ""),
        "days": params.get("days", "7"),
    }
    if text := chosen["search"]:
        found = found.filter(
            Q(actor_name__icontains=text)
            | Q(object_name__icontains=text)
            | Q(verb__icontains=text)
            | Q(reason__icontains=text)
            | Q(request_id=text)
            | Q(object_id=text)
        )
    if chosen["actor"] in KINDS and chosen["actor"]:
        found = found.filter(actor_kind=chosen["actor"])
    if chosen["object"] in PARTS and chosen["object"]:
        found = found.filter(object_kind=chosen["object"])
    if chosen["days"] in SPANS and chosen["days"]:
        since = timezone.now() - timedelta(days=int(chosen["days"]))
        found = found.filter(created_at__gte=since)
    rows = page_of(request, found, Activity.objects.all(), search=bool(text))
    return {"page": rows, "chosen": chosen, "kinds": KINDS, "parts": PARTS, "spans": SPANS}
