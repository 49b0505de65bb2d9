"""The one role table: which verb needs which role at least."""

import uuid

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
    "organization.write": Role.OWNER,
}


def may(actor: Actor, verb: str, organization_id: uuid.UUID) -> bool:
    """Whether `actor` may do `verb` in the organization. Raises KeyError for an unknown verb."""
    least = LEAST[verb]
    if actor.read_only and least is not Role.VIEWER:
        return False
    if actor.sees_all:
        return True
    role = actor.roles.get(organization_id)
    return role is not None and RANK[Role(role)] >= RANK[least]
