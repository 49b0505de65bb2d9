"""Pieces that know activities: `{% load activities %}`."""

import re
from datetime import datetime
from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from accounts.models import Activity
from config.base import verbs
from config.templatetags.ui import icon

register = template.Library()
# Where an activity's object has a page of its own.
PAGES = {
    "move": "move",
    "fallbackconfig": "config",
    "connection": "connection",
    "sweep": "sweep",
}
MOST_CHANGES, LONGEST = 8, 80


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
    return verbs.told(activity.verb)


@register.filter
def tone_of(activity: Activity) -> str:
    return verbs.look_of(activity.verb).tone


@register.simple_tag
def activity_icon(activity: Activity) -> SafeString:
    return icon(verbs.look_of(activity.verb).icon)


@register.filter
def changes(activity: Activity) -> list[dict[str, Any]]:
    """What changed: `[before, after]` as a pair, anything else as a value."""
    found = []
    for name, value in activity.change.items():
        if value in (None, "", [], {}):
            continue
        pair = isinstance(value, list) and len(value) == 2
        before, after = value if pair else (None, value)
        if before in (None, "") and after in (None, ""):
            continue
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).lower()
        found.append({"name": words, "before": _short(before), "after": _short(after)})
    return found[:MOST_CHANGES]


def _short(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


@register.simple_tag
def localday(moment: datetime) -> str:
    """'Today, Friday 23 October'; the year on days of another one."""
    day, today = timezone.localtime(moment).date(), timezone.localtime().date()
    told = f"{day:%A %-d %B}" if day.year == today.year else f"{day:%A %-d %B %Y}"
    near = {0: "Today, ", 1: "Yesterday, "}.get((today - day).days, "")
    return f"{near}{told}"
