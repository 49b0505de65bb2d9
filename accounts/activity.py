"""Writing down who did what. The audit trail, the feed on the pages, the source of webhooks."""

import uuid
from typing import Any

import structlog
from django.db import models

from accounts.models import Activity
from config.base.actor import Actor
from config.base.redaction import redact


def build(
    actor: Actor,
    verb: str,
    subject: models.Model,
    organization_id: uuid.UUID | None,
    change: dict[str, Any] | None = None,
    reason: str = "",
) -> Activity:
    """An unsaved Activity, for bulk inserts. `change` is redacted here."""
    return Activity(
        organization_id=organization_id,
        actor_kind=actor.kind,
        actor_id=actor.token_id or actor.user_id,
        actor_name=actor.name[:100],
        verb=verb,
        object_kind=subject._meta.model_name or "",
        object_id=str(subject.pk),
        object_name=str(subject)[:200],
        change=redact(change or {}),
        reason=reason[:500],
        request_id=actor.request_id or _request_id(),
        address=actor.address,
    )


def record(
    actor: Actor,
    verb: str,
    subject: models.Model,
    organization_id: uuid.UUID | None,
    change: dict[str, Any] | None = None,
    reason: str = "",
) -> Activity:
    """Write an Activity in the caller's transaction: both are in, or neither."""
    activity = build(actor, verb, subject, organization_id, change, reason)
    activity.save(force_insert=True)
    return activity


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """`{field: [before, after]}` for what differs; what looks like a secret says "changed"."""
    return {
        name: [before.get(name), value]
        for name, value in after.items()
        if before.get(name) != value
    }


def _request_id() -> str:
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64]
