"""The pieces of a page: `{% load ui %}`. What states look like stands in config/base/tones.py."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from django import template
from django.http import QueryDict
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from lucide.templatetags.lucide import lucide as draw

from config.base import showing, tones

register = template.Library()
# Not in the set: the diamond with an exclamation mark, which means "a person must act".
DIAMOND = (
    '<svg class="icon" viewBox="0 0 16 16" aria-hidden="true">'
    '<path d="M8 1.25 14.75 8 8 14.75 1.25 8zM8 4.9v3.6M8 11v.05"/></svg>'
)


@lru_cache(maxsize=256)
def _drawn(name: str, more: str) -> SafeString:
    if name == "diamond-alert":
        return mark_safe(DIAMOND)
    attributes: dict[str, Any] = {"class": f"icon lucide {more}".strip(), "aria_hidden": "true"}
    return mark_safe(draw(name, size=None, **attributes))


@register.simple_tag
def icon(name: str, more: str = "") -> SafeString:
    """An icon of the lucide set, drawn by CSS; `more` are further classes."""
    return _drawn(str(name), str(more))


def _look(kind: str, state: object, word: str) -> dict[str, Any]:
    look = tones.look_of(kind, str(state))
    drawn = icon(look.icon, "turning" if look.turning else "")
    return {"tone": look.tone, "icon": drawn, "word": word or look.word}


@register.inclusion_tag("ui/status.html")
def status(kind: str, state: object, word: str = "") -> dict[str, Any]:
    """A state in a table or list: icon and word."""
    return _look(kind, state, word)


@register.inclusion_tag("ui/status.html")
def pill(kind: str, state: object, word: str = "") -> dict[str, Any]:
    """A state beside the page's h1, once a page."""
    found = _look(kind, state, word)
    loud = " loud" if str(state) == "NeedsAttention" else ""
    return found | {"shape": f" pill{loud}"}


@register.inclusion_tag("ui/tag.html")
def tag(kind: str, state: object) -> dict[str, Any]:
    return _look(kind, state, "")


@register.simple_tag
def state_icon(kind: str, state: object) -> SafeString:
    look = tones.look_of(kind, str(state))
    return icon(look.icon, "turning" if look.turning else "")


@register.filter
def tone(state: object, kind: str) -> str:
    """`{{ move.state|tone:"move" }}` for data-tone."""
    return tones.look_of(kind, str(state)).tone


@register.inclusion_tag("ui/reason.html")
def reason(code: str) -> dict[str, str]:
    return {"code": code, "tone": tones.REASONS.get(code, "")}


# Times


def _time(moment: datetime | None, text: str, kind: str) -> SafeString:
    if moment is None:
        return mark_safe('<span class="quiet">never</span>')
    return format_html(
        '<time datetime="{}" title="{}"{}>{}</time>',
        moment.isoformat(timespec="seconds").replace("+00:00", "Z"),
        showing.absolute(moment),
        mark_safe(f" data-{kind}") if kind else "",
        text,
    )


@register.simple_tag
def ago(moment: datetime | None) -> SafeString:
    """'5 min ago'; the title has local and UTC; times.js keeps it true."""
    return _time(moment, showing.relative(moment) if moment else "", "relative")


@register.simple_tag
def clock(moment: datetime | None) -> SafeString:
    """'14:05:02', for steps."""
    return _time(moment, showing.clock(moment) if moment else "", "")


@register.simple_tag
def at(moment: datetime | None) -> SafeString:
    """'14:05' today, with the day on others."""
    return _time(moment, showing.short_clock(moment) if moment else "", "")


@register.filter
def duration(span: timedelta | float | None) -> str:
    return "" if span is None else showing.duration(span)


@register.filter
def since(moment: datetime) -> str:
    """How long ago, as a duration."""
    return showing.duration(timezone.now() - moment)


@register.filter
def number(value: int) -> str:
    return showing.number(value)


@register.filter
def counted(value: int, noun: str) -> str:
    """`{{ 3|counted:"config" }}`; an irregular plural after a comma: "pass,passes"."""
    one, _, many = noun.partition(",")
    return showing.count(value, one, many)


@register.filter
def units(text: str) -> str:
    """A sentence whose numbers keep their units beside them."""
    return showing.units(str(text))


@register.filter
def initials(name: str) -> str:
    words = [word for word in name.replace(".", " ").replace("-", " ").split() if word]
    return "".join(word[0] for word in words[:2]).upper() or "?"


# Addresses


@register.simple_tag(takes_context=True)
def query(context: Mapping[str, Any], **changes: object) -> str:
    """This page's query with some parameters changed; an empty value takes one out."""
    request = context["request"]
    params: QueryDict = request.GET.copy()
    for name, value in changes.items():
        if value in ("", None):
            params.pop(name, None)
        else:
            params[name] = str(value)
    return f"?{urlencode([(k, v) for k, vs in params.lists() for v in vs if v])}"


@register.filter
def item(mapping: Mapping[str, Any], key: str) -> Any:
    return mapping.get(key, "")
