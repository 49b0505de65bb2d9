"""What an activity's verb says to people, and how it looks. Unknown ones are spelled out."""

from config.base.tones import Look

_DONE, _PERSON = Look("idle", "pencil"), Look("person", "circle-pause")

VERBS: dict[str, tuple[str, Look]] = {
    "move.planned": ("Planned the move", Look("active", "circle-dashed")),
    "move.succeeded": ("Moved", Look("good", "circle-check")),
    "move.failed": ("Could not move", Look("bad", "octagon-x")),
    "move.cancelled": ("Cancelled the move", Look("idle", "ban")),
    "move.needs_attention": ("Needs a person", Look("person", "diamond-alert")),
    "move.retried": ("Retried the move", Look("active", "rotate-cw")),
    "config.created": ("Created the config", Look("idle", "plus")),
    "config.changed": ("Changed the config", _DONE),
    "config.repaired": ("Repaired the config", Look("good", "wrench")),
    "config.deleted": ("Deleted the config", Look("idle", "trash-2")),
    "connection.created": ("Created the connection", Look("idle", "plus")),
    "connection.changed": ("Changed the connection", _DONE),
    "connection.deleted": ("Deleted the connection", Look("idle", "trash-2")),
    "connection.tested": ("Tested the connection", Look("idle", "plug")),
    "connection.connected": ("Connected", Look("good", "circle-check")),
    "connection.unreachable": ("Unreachable", Look("bad", "octagon-x")),
    "connection.unauthorized": ("Token refused", Look("bad", "lock")),
    "fallback.paused": ("Paused", _PERSON),
    "fallback.resumed": ("Resumed", Look("good", "circle-play")),
    "sweep.requested": ("Asked for a sweep", Look("idle", "radar")),
}


def told(verb: str) -> str:
    """'Changed the config'; 'membership: created' for what the table does not know."""
    if verb in VERBS:
        return VERBS[verb][0]
    kind, _, what = verb.replace("_", " ").partition(".")
    return f"{what.capitalize()} the {kind}" if what else kind.capitalize()


def look_of(verb: str) -> Look:
    return VERBS[verb][1] if verb in VERBS else Look("idle", "activity")
