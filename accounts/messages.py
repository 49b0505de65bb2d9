"""What webhooks and notifications are told of an activity, and who wants to hear of it."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from accounts.models import Activity, Webhook
from config.base import verbs
from config.base.actor import Actor

GLOB = re.compile(r"[a-z0-9_*?]+(?:\.[a-z0-9_*?]+)*\Z")
REFUSED = "refused."  # an attempt that was not allowed: an event of its own, never told as done
TEST = "webhook.test"
MOST_CHANGES, LONGEST = 10, 200  # of what a notification tells
HIDDEN = "•••"


def event_of(activity: Activity) -> str:
    """The event's type: the verb; of a refused attempt, `refused.` and the verb."""
    return f"{REFUSED if activity.refused else ''}{activity.verb}"


def wanted(globs: Iterable[str], event: str) -> bool:
    """Whether any of the globs asks for the event.

    Refused attempts are for those who name them: neither `*` nor `move.*` brings them.
    """
    if event.startswith(REFUSED):
        globs = [glob for glob in globs if glob.startswith(REFUSED)]
    return any(fnmatchcase(event, glob) for glob in globs)


def is_about(activity: Activity, webhook: Webhook) -> bool:
    """A webhook is not told of itself: its failing would be an event that fails, too."""
    return activity.object_kind == "webhook" and activity.object_id == str(webhook.pk)


# What is sent


def message(webhook: Webhook, activity: Activity) -> str:
    """The body for a webhook, or the text of a notification."""
    if webhook.kind == Webhook.Kind.NOTIFICATION:
        return text(webhook, activity)
    data = {
        "id": activity.position,
        "organization": _organization(webhook),
        "actor": {
            "kind": activity.actor_kind,
            "id": str(activity.actor_id) if activity.actor_id else None,
            "name": activity.actor_name,
        },
        "verb": activity.verb,
        "refused": activity.refused,
        "object": {
            "kind": activity.object_kind,
            "id": activity.object_id,
            "name": activity.object_name,
        },
        "change": activity.change,
        "reason": activity.reason,
        "requestId": activity.request_id,
    }
    return _enveloped(event_of(activity), activity.created_at, data)


def test_message(webhook: Webhook, actor: Actor, now: datetime) -> str:
    """The same shape as of any event, about the webhook itself."""
    if webhook.kind == Webhook.Kind.NOTIFICATION:
        return f"Test by {actor.name}\nNotifications of {webhook.organization} arrive here."
    actor_id = actor.token_id or actor.user_id
    data = {
        "id": None,
        "organization": _organization(webhook),
        "actor": {
            "kind": actor.kind,
            "id": str(actor_id) if actor_id else None,
            "name": actor.name,
        },
        "verb": TEST,
        "refused": False,
        "object": {"kind": "webhook", "id": str(webhook.pk), "name": webhook.name},
        "change": {},
        "reason": "",
        "requestId": actor.request_id,
    }
    return _enveloped(TEST, now, data)


def _organization(webhook: Webhook) -> dict[str, str]:
    return {"id": str(webhook.organization_id), "name": webhook.organization.name}


def _enveloped(event: str, at: datetime, data: dict[str, Any]) -> str:
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = {"type": event, "timestamp": moment, "data": data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def text(webhook: Webhook, activity: Activity) -> str:
    """A title, and from the second line on what there is to say. No secrets: they are masked."""
    told = (verbs.denied if activity.refused else verbs.told)(activity.verb)
    title = f"{told}: {activity.object_name}"
    lines = [f"By {activity.actor_name} in {webhook.organization}."]
    if activity.reason:
        lines.append(f"Reason: {activity.reason}")
    lines += [
        f"{name}: {_changed(value)}" for name, value in list(activity.change.items())[:MOST_CHANGES]
    ]
    return "\n".join([" ".join(title.split()), *lines])


def _changed(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"{_short(value[0])} → {_short(value[1])}"
    return _short(value)


def _short(value: Any) -> str:
    if value in (None, "", [], {}):
        return "nothing"
    plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}…"


# Addresses


def masked(webhook: Webhook) -> str:
    """The address as administrators see it: without what opens it."""
    return masked_url(webhook.url, webhook.kind)


def place_of(webhook: Webhook) -> str:
    """The address as everybody may see it: a path may be all that a receiver asks for."""
    if webhook.kind == Webhook.Kind.NOTIFICATION:
        return masked(webhook)
    parts = urlsplit(masked(webhook))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{HIDDEN}" if parts.netloc else ""


def masked_url(url: str, kind: str) -> str:
    """Passwords and the values of a query are hidden; of a notification, all but the host."""
    if not url:
        return ""  # it cannot be read with the keys of this installation
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return HIDDEN
    at = f"{host}:{port}" if port else host
    if kind == Webhook.Kind.NOTIFICATION:
        told = at if parts.scheme in ("mailto", "mailtos", "workflow", "workflows") else ""
        return f"{parts.scheme}://{f'{told}/' if told else ''}{HIDDEN}"
    user = f"{parts.username or ''}:{HIDDEN}@" if parts.password else ""
    user = user or (f"{HIDDEN}@" if parts.username else "")
    names = [pair.partition("=") for pair in parts.query.split("&") if pair]
    query = "&".join(f"{name}={HIDDEN}" if equals else HIDDEN for name, equals, _ in names)
    shown = f"[{host}]" if ":" in host else host
    where = f"{shown}:{port}" if port else shown
    return f"{parts.scheme}://{user}{where}{parts.path}{f'?{query}' if query else ''}"
