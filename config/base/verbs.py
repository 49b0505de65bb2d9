"""What an activity's verb says to people, and how it looks. Unknown ones are spelled out."""

from config.base.tones import Look

REFUSED = Look("bad", "ban")
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
    "chain.signed": ("Signed the chain again", Look("idle", "lock")),
    "sweep.requested": ("Asked for", Look("idle", "radar")),
    "account.signed_up": ("Signed up", Look("good", "user-plus")),
    "organization.created": ("Created the organization", Look("idle", "plus")),
    "organization.changed": ("Changed the organization", _DONE),
    "organization.deleted": ("Deleted the organization", Look("idle", "trash-2")),
    "organization.purged": ("Purged the organization", Look("idle", "trash-2")),
    "member.joined": ("Joined", Look("good", "user-plus")),
    "member.added": ("Added the member", Look("idle", "user-plus")),
    "member.changed": ("Changed the role", Look("idle", "user-cog")),
    "member.removed": ("Removed the member", Look("idle", "user-minus")),
    "member.left": ("Left", Look("idle", "log-out")),
    "invite.created": ("Created the invite", Look("idle", "plus")),
    "invite.revoked": ("Revoked the invite", Look("idle", "ban")),
    "invite.rotated": ("Rotated the join code", Look("idle", "rotate-cw")),
    "account.signed_in": ("Signed in", Look("idle", "log-in")),
    "account.sign_in_failed": ("Sign-in refused", Look("bad", "lock")),
    "account.signed_out": ("Signed out", Look("idle", "log-out")),
    "account.changed": ("Changed the account", _DONE),
    "account.password_changed": ("Changed the password", Look("idle", "key-round")),
    "account.password_reset": ("Set a new password by mail", Look("idle", "key-round")),
    "webhook.created": ("Created the webhook", Look("idle", "plus")),
    "webhook.changed": ("Changed the webhook", _DONE),
    "webhook.rotated": ("Rotated the secret of the webhook", Look("idle", "key-round")),
    "webhook.paused": ("Paused the webhook", _PERSON),
    "webhook.resumed": ("Resumed the webhook", Look("good", "circle-play")),
    "webhook.disabled": ("Disabled the webhook", Look("bad", "ban")),
    "webhook.tested": ("Tested the webhook", Look("idle", "radio")),
    "webhook.replayed": ("Replayed a delivery of the webhook", Look("idle", "rotate-cw")),
    "webhook.deleted": ("Deleted the webhook", Look("idle", "trash-2")),
    "session.ended": ("Ended the session", Look("idle", "log-out")),
    "session.others_ended": ("Ended all other sessions", Look("idle", "log-out")),
    "token.issued": ("Created the API token", Look("idle", "key-round")),
    "token.revoked": ("Revoked the API token", Look("idle", "ban")),
    "user.deactivated": ("Deactivated", Look("idle", "ban")),
    "user.reactivated": ("Reactivated", Look("good", "circle-check")),
    "user.password_set": ("Set the password of", Look("idle", "key-round")),
}


# What somebody "was not allowed to" do, by the verbs of the role table.
DENIED = {
    "admin.open": "use the administration",
    "sweep.run": "ask for a sweep",
    "config.write": "change the config",
    "connection.write": "change the connection",
    "fallback.pause": "pause or resume",
    "invite.write": "invite people or revoke invites",
    "organization.write": "change the organization",
    "account.sign_in_failed": "sign in",
    "token.write": "create or revoke API tokens",
}


def denied(verb: str) -> str:
    """'Was not allowed to change the config'."""
    kind, _, what = verb.replace("_", " ").partition(".")
    told = DENIED.get(verb) or f"{'change' if what == 'write' else what or 'do'} the {kind}"
    return f"Was not allowed to {told}"


def told(verb: str) -> str:
    """'Changed the config'; 'membership: created' for what the table does not know."""
    if verb in VERBS:
        return VERBS[verb][0]
    kind, _, what = verb.replace("_", " ").partition(".")
    return f"{what.capitalize()} the {kind}" if what else kind.capitalize()


def look_of(verb: str) -> Look:
    return VERBS[verb][1] if verb in VERBS else Look("idle", "activity")
