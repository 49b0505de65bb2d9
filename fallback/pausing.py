"""Pausing and resuming: everything, a connection, or a config."""

from datetime import datetime
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import activity
from accounts.models import Organization
from config.base import live
from config.base.actor import Actor
from config.base.parameters import LATEST
from config.base.problems import Conflict
from fallback.models import Connection, FallbackConfig, Pause

Scope = Connection | FallbackConfig | None


def pause(scope: Scope, actor: Actor, reason: str, until: datetime | None = None) -> Pause:
    """Start nothing new in `scope` (None: everywhere). Raises ValidationError, Conflict.

    A pause that has run out gives way to the new one.
    """
    found = Pause(reason=reason.strip(), until=until, by_name=actor.name[:100], **_key(scope))
    found.clean_fields()
    if until and until <= timezone.now():
        raise ValidationError({"until": "The end must lie in the future."})
    if until and until > LATEST:
        raise ValidationError({"until": f"Choose a time before the year {LATEST.year}."})
    with transaction.atomic():
        Pause.objects.filter(**_where(scope), until__lte=timezone.now()).delete()
        try:
            with transaction.atomic():
                found.save(force_insert=True)
        except IntegrityError:
            raise Conflict("It is paused already. Resume it first.", "Paused") from None
        change = {"until": until.isoformat() if until else None}
        # Of what is paused, so that its page tells of it; of everything there is only the pause.
        subject, home = scope or found, _organization_id(scope)
        activity.record(actor, "fallback.paused", subject, home, change, reason)
        _ring(scope)
    return found


def resume(scope: Scope, actor: Actor, reason: str = "") -> None:
    """Raises Conflict where `scope` is not paused."""
    with transaction.atomic():
        found = Pause.objects.filter(**_where(scope)).first()
        if found is None:
            raise Conflict("It is not paused.", "NotPaused")
        subject, home = scope or found, _organization_id(scope)
        activity.record(actor, "fallback.resumed", subject, home, {}, reason)
        found.delete()
        _ring(scope)


def _key(scope: Scope) -> dict[str, Connection | FallbackConfig]:
    if isinstance(scope, Connection):
        return {"connection": scope}
    return {"config": scope} if scope else {}


def _where(scope: Scope) -> dict[str, object]:
    return _key(scope) or {"connection__isnull": True, "config__isnull": True}  # type: ignore[return-value]


def _organization_id(scope: Scope) -> UUID | None:
    return scope.organization_id if scope else None


def _ring(scope: Scope) -> None:
    if scope:
        live.ring_on_commit(scope.organization_id)
    else:
        for organization_id in Organization.objects.alive().values_list("pk", flat=True):
            live.ring_on_commit(organization_id)
