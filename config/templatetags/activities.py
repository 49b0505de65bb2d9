"""Pieces that know activities: `{% load activities %}`."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import template
from django.apps import apps
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from accounts import webhooks
from accounts.models import Activity, Organization, Webhook
from config.base import showing, verbs
from config.base.tones import Look
from config.templatetags.ui import icon

register = template.Library()
# Where an activity's object has a page of its own.
PAGES = {
    "move": "move",
    "fallbackconfig": "config",
    "connection": "connection",
    "sweep": "sweep",
    "organization": "organization",
    "webhook": "webhook",
}
MOST_CHANGES, LONGEST = 8, 80
FEED = 10


@register.filter
def page_of(activity: Activity) -> str:
    """Where its object is shown, or '' where it has no page (any more)."""
    name = PAGES.get(activity.object_kind)
    if not name or activity.verb.endswith(".deleted"):
        return ""
    try:
        return reverse(name, args=[activity.object_id])
    except NoReverseMatch:
        return ""


@register.filter
def told(activity: Activity) -> str:
    return verbs.denied(activity.verb) if activity.refused else verbs.told(activity.verb)


@register.filter
def tone_of(activity: Activity) -> str:
    return _look(activity).tone


@register.simple_tag
def activity_icon(activity: Activity) -> SafeString:
    return icon(_look(activity).icon)


def _look(activity: Activity) -> Look:
    return verbs.REFUSED if activity.refused else verbs.look_of(activity.verb)


@register.simple_tag(takes_context=True)
def links(context: Mapping[str, Any], activities: Iterable[Activity]) -> dict[int, str]:
    """Where the objects are shown that the reader can still see, by the activities' keys.

    One query for each kind of object, however many there are.
    """
    urls = {
        one.pk: (one.object_kind, one.object_id, url) for one in activities if (url := page_of(one))
    }
    wanted: dict[str, set[str]] = {}
    for kind, key, _ in urls.values():
        wanted.setdefault(kind, set()).add(key)
    there = {(kind, key) for kind, keys in wanted.items() for key in _visible(context, kind, keys)}
    return {pk: url for pk, (kind, key, url) in urls.items() if (kind, key) in there}


def _visible(context: Mapping[str, Any], kind: str, keys: set[str]) -> set[str]:
    model: Any = next((one for one in apps.get_models() if one._meta.model_name == kind), None)
    if model is None:
        return set()
    actor = context["request"].actor
    # By the key, so that SQLite looks these up instead of going through all that is visible.
    rows = model.objects.visible_to(actor).order_by("pk")
    if model is Webhook:  # members see that there are some, and not where they lead
        rows = webhooks.readable(rows, actor)
    return {str(pk) for pk in rows.filter(pk__in=keys).values_list("pk", flat=True)}


@register.inclusion_tag("accounts/_feed.html", takes_context=True)
def feed(context: Mapping[str, Any], subject: Model) -> dict[str, Any]:
    """What happened to `subject` last; of an organization: in it."""
    request = context["request"]
    found = Activity.objects.visible_to(request.actor)
    if isinstance(subject, Organization):
        found, query = found.filter(organization_id=subject.pk), {"organization": subject.slug}
    else:
        kind, key = str(subject._meta.model_name), str(subject.pk)
        found = found.filter(object_kind=kind, object_id=key)
        query = {"object": kind, "object_id": key}
    return {
        "entries": found.order_by("-created_at", "-id")[:FEED],
        "of_organization": isinstance(subject, Organization),
        "everything": f"{reverse('activity')}?{urlencode(query | {'days': 'all'})}",
        "request": request,
    }


@register.filter
def changes(activity: Activity) -> list[dict[str, Any]]:
    """What changed, at most `MOST_CHANGES` fields of it."""
    return _changes(activity)[:MOST_CHANGES]


@register.filter
def further_changes(activity: Activity) -> int:
    """How many fields `changes` leaves out."""
    return max(0, len(_changes(activity)) - MOST_CHANGES)


def _changes(activity: Activity) -> list[dict[str, Any]]:
    """`[before, after]` as a pair, anything else as a value."""
    found = []
    for name, value in activity.change.items():
        if value in (None, "", [], {}):
            continue
        # What was deleted is told as it was: there, two values are a list of two.
        deleted = activity.verb.endswith(".deleted")
        pair = isinstance(value, list) and len(value) == 2 and not deleted
        before, after = value if pair else (None, value)
        if before in (None, "") and after in (None, ""):
            continue
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).lower()
        found.append({"name": words, "before": _short(before), "after": _short(after)})
    return found


def _short(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if moment := _moment(value):
        return showing.absolute(moment)
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _moment(value: Any) -> datetime | None:
    """A time with its zone, as JSON holds it; None for anything else."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None


@register.simple_tag
def localday(moment: datetime) -> str:
    """'Today, Friday 23 October'; the year on days of another one."""
    day, today = timezone.localtime(moment).date(), timezone.localtime().date()
    told = f"{day:%A %-d %B}" if day.year == today.year else f"{day:%A %-d %B %Y}"
    near = {0: "Today, ", 1: "Yesterday, "}.get((today - day).days, "")
    return f"{near}{told}"
