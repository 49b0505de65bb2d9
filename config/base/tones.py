"""What each state looks like: its tone, its icon and its word. The one table of all pages."""

from typing import NamedTuple


class Look(NamedTuple):
    """`tone` colours, `icon` has a shape of its own, so that colour is never alone."""

    tone: str
    icon: str
    word: str = ""
    turning: bool = False


_IDLE, _ACTIVE, _GOOD, _WARN, _BAD, _PERSON = "idle", "active", "good", "warn", "bad", "person"
_MOVING = Look(_ACTIVE, "loader", turning=True)
UNKNOWN = Look(_IDLE, "circle-dashed")

LOOKS: dict[str, dict[str, Look]] = {
    "move": {
        "Planned": Look(_IDLE, "circle-dashed"),
        "AwaitingApproval": Look(_PERSON, "user"),
        "Creating": _MOVING,
        "AwaitingReady": _MOVING,
        "Triggering": _MOVING,
        "Verifying": _MOVING,
        "Terminating": _MOVING,
        "Succeeded": Look(_GOOD, "circle-check"),
        "Failed": Look(_BAD, "octagon-x"),
        "Cancelled": Look(_IDLE, "ban"),
        "NeedsAttention": Look(_PERSON, "diamond-alert", "Needs attention"),
    },
    "config": {
        "enabled": Look(_GOOD, "circle-check", "Enabled"),
        "disabled": Look(_IDLE, "ban", "Disabled"),
        "paused": Look(_PERSON, "circle-pause", "Paused"),
        "repair": Look(_PERSON, "diamond-alert", "Needs repair"),
    },
    "mode": {
        "observe": Look("", "eye"),
        "approve": Look("", "user"),
        "auto": Look("", "split"),
    },
    "connection": {
        "connected": Look(_GOOD, "circle-check", "Connected"),
        "unknown": Look(_IDLE, "circle-dashed", "Not tried yet"),
        "unreachable": Look(_BAD, "octagon-x", "Unreachable"),
        "unauthorized": Look(_BAD, "lock", "Token refused"),
        "disabled": Look(_IDLE, "ban", "Disabled"),
        "paused": Look(_PERSON, "circle-pause", "Paused"),
        "no-token": Look(_PERSON, "key-round", "No token"),
    },
    "sweep": {
        "waiting": Look(_IDLE, "clock", "Requested"),
        "running": Look(_ACTIVE, "loader", "Under way", turning=True),
        "done": Look(_GOOD, "circle-check", "Done"),
        "quiet": Look(_IDLE, "circle-check", "Quiet"),
        "errors": Look(_BAD, "octagon-x", "With errors"),
    },
    # What happened within a step of a move.
    "event": {
        "entered": Look(_IDLE, "circle-dashed"),
        "answered": Look(_GOOD, "circle-check"),
        "lost": Look(_WARN, "unplug"),
        "refused": Look(_BAD, "octagon-x"),
        "waiting": Look(_IDLE, "clock"),
        "looked": Look(_IDLE, "search"),
    },
    "webhook": {
        "active": Look(_GOOD, "circle-check", "Active"),
        "failing": Look(_WARN, "triangle-alert", "Failing"),
        "paused": Look(_PERSON, "circle-pause", "Paused"),
        "disabled": Look(_BAD, "ban", "Disabled"),
    },
    "delivery": {
        "waiting": Look(_IDLE, "clock", "Waiting"),
        "retrying": Look(_WARN, "rotate-cw", "Retrying"),
        "pending": Look(_IDLE, "clock", "Pending"),
        "delivered": Look(_GOOD, "circle-check", "Delivered"),
        "failed": Look(_BAD, "octagon-x", "Failed"),
    },
    "invite": {
        "usable": Look(_GOOD, "circle-check", "Usable"),
        "expired": Look(_IDLE, "clock", "Expired"),
        "used up": Look(_IDLE, "circle-check", "Used up"),
        "revoked": Look(_IDLE, "ban", "Revoked"),
    },
    "role": {
        "viewer": Look("", "eye"),
        "member": Look("", "user"),
        "admin": Look("", "user-cog"),
        "owner": Look("", "crown"),
        "superuser": Look("", "shield"),
    },
    "token": {
        "usable": Look(_GOOD, "circle-check", "Usable"),
        "expired": Look(_IDLE, "clock", "Expired"),
        "revoked": Look(_IDLE, "ban", "Revoked"),
    },
    "finding": {
        "works": Look(_GOOD, "circle-check", "Works"),
        "fails": Look(_BAD, "octagon-x", "Does not work"),
    },
    # Django's message levels, as toasts.
    "toast": {
        "success": Look(_GOOD, "circle-check"),
        "info": Look(_IDLE, "info"),
        "warning": Look(_WARN, "triangle-alert"),
        "error": Look(_BAD, "octagon-x"),
    },
}

# Reason chips that have a tone: what waits for somebody, what is off course, what is broken.
REASONS = {
    **dict.fromkeys(("AnswerLost", "Held"), _PERSON),
    **dict.fromkeys(("WaitingForQuota", "ClusterCordoned"), _WARN),
    "ExceedsMaxQuota": _BAD,
}


def look_of(kind: str, state: str) -> Look:
    """How `state` looks; its word is the state itself where the table has none."""
    found = LOOKS[kind].get(state, UNKNOWN)
    return found._replace(word=found.word or state)
