"""The one role table: which verb needs which role at least."""

import uuid
from dataclasses import dataclass

from django.db import models

from config.base.actor import Actor


class Role(models.TextChoices):
    """Weakest first."""

    VIEWER = "viewer", "viewer"
    MEMBER = "member", "member"
    ADMIN = "admin", "admin"
    OWNER = "owner", "owner"


RANK = {role: rank for rank, role in enumerate(Role)}
LEAST: dict[str, Role] = {
    "read": Role.VIEWER,
    "sweep.run": Role.MEMBER,
    "move.retry": Role.MEMBER,
    "move.cancel": Role.MEMBER,
    "config.write": Role.ADMIN,
    "connection.write": Role.ADMIN,
    "fallback.pause": Role.ADMIN,
    "member.write": Role.ADMIN,
    "invite.read": Role.ADMIN,
    "invite.write": Role.ADMIN,
    "webhook.read": Role.ADMIN,  # addresses and bodies may hold more than members see
    "webhook.write": Role.ADMIN,
    "organization.write": Role.OWNER,
    "organization.delete": Role.OWNER,
}

# What each verb, and each role, means to people.
DEEDS = {
    "read": "See everything of the organization",
    "sweep.run": "Ask for a sweep",
    "move.retry": "Retry moves",
    "move.cancel": "Cancel moves",
    "config.write": "Create, edit and delete configs",
    "connection.write": "Create, edit, test and delete connections",
    "fallback.pause": "Pause and resume",
    "member.write": "Change roles and remove members, up to one’s own role",
    "invite.read": "See invites and the join code, up to one’s own role",
    "invite.write": "Invite people, revoke invites, rotate the join code",
    "webhook.read": "See webhooks and their deliveries",
    "webhook.write": "Create, edit, test and delete webhooks",
    "organization.write": "Rename the organization",
    "organization.delete": "Delete the organization",
}
MEANINGS = {  # "…, which"
    Role.VIEWER: "sees everything and changes nothing",
    Role.MEMBER: "sees everything, asks for sweeps, and retries and cancels moves",
    Role.ADMIN: "does what members do, sets everything up, pauses it, and invites people",
    Role.OWNER: "does what admins do, makes owners, and renames or deletes the organization",
}


@dataclass(frozen=True)
class Row:
    """A verb, in words, and whether each role may, weakest first."""

    verb: str
    deed: str
    may: list[tuple[Role, bool]]


def table() -> list[Row]:
    """What the page of roles shows: made of `LEAST` alone."""
    return [
        Row(
            verb,
            DEEDS.get(verb, verb.replace(".", " ").capitalize()),
            [(role, RANK[role] >= RANK[least]) for role in Role],
        )
        for verb, least in LEAST.items()
    ]


def may(actor: Actor, verb: str, organization_id: uuid.UUID) -> bool:
    """Whether `actor` may do `verb` in the organization. Raises KeyError for an unknown verb."""
    least = LEAST[verb]
    if actor.read_only and least is not Role.VIEWER:
        return False
    if actor.sees_all:
        return True
    role = actor.roles.get(organization_id)
    return role is not None and RANK[Role(role)] >= RANK[least]


def reaches(actor: Actor, role: str, organization_id: uuid.UUID) -> bool:
    """Whether `role` is at most the actor's own: nobody gives, takes or sees what is above them."""
    own = Role.OWNER if actor.sees_all else actor.roles.get(organization_id)
    return own is not None and RANK[Role(role)] <= RANK[Role(own)]
