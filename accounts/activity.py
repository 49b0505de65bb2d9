"""Writing down who did what. The audit trail, the feed on the pages, the source of webhooks."""

import uuid
from datetime import timedelta
from typing import Any

import structlog
from django.db import DatabaseError, models, transaction

from accounts.models import Activity, Organization, User
from accounts.roles import LEAST
from config.base.actor import Actor
from config.base.redaction import is_secret, redact

log = structlog.get_logger(__name__)
REFUSED_EVERY = timedelta(minutes=1)
MOST_REFUSED = 60  # of one actor and organization in that time, whatever they try


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
        change={name: _told(name, value) for name, value in (change or {}).items()},
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


def refused(
    actor: Actor,
    verb: str,
    organization_id: uuid.UUID | None,
    subject: models.Model | None = None,
    reason: str = "",
) -> None:
    """Remember that somebody who has signed in tried `verb`, and was not allowed to.

    Once a minute for each object, so that nobody can flood the record. Raises nothing: the answer
    is the same whether this can be written or not. Without a subject it is about the organization.
    """
    if actor.user_id is None:
        return
    try:
        with transaction.atomic():
            _refuse(actor, verb, organization_id, subject, reason or _why_not(actor, verb))
    except DatabaseError as error:
        log.warning("refusal_not_recorded", verb=verb, error=type(error).__name__)


def _refuse(
    actor: Actor,
    verb: str,
    organization_id: uuid.UUID | None,
    subject: models.Model | None,
    reason: str,
) -> None:
    if organization_id is None and len(actor.organizations) == 1:
        (organization_id,) = actor.organizations
    if subject is None and organization_id:
        subject = Organization.objects.filter(pk=organization_id).first()
    subject = subject or User(pk=actor.user_id, username=actor.name)
    tried = build(actor, verb, subject, organization_id, reason=reason)
    tried.refused = True
    recent = Activity.objects.filter(
        organization_id=organization_id,
        created_at__gt=tried.created_at - REFUSED_EVERY,
        refused=True,
        actor_id=tried.actor_id,
    ).values_list("verb", "object_kind", "object_id")[:MOST_REFUSED]
    if len(recent) < MOST_REFUSED and (verb, tried.object_kind, tried.object_id) not in recent:
        tried.save()


def _why_not(actor: Actor, verb: str) -> str:
    if actor.read_only:
        return "This token may only read."
    return f"This needs the role {LEAST[verb].label}." if verb in LEAST else ""


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """`{field: [before, after]}` for what differs; what looks like a secret says "changed"."""
    return {
        name: [before.get(name), value]
        for name, value in after.items()
        if before.get(name) != value
    }


def _told(name: str, value: Any) -> Any:
    """A field's change as it may be seen: of a secret only that it is another one."""
    if is_secret(name) and isinstance(value, list | tuple) and len(value) == 2:
        return "changed"
    return redact(value, name)


def _request_id() -> str:
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64]
