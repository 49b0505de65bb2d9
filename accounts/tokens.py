"""API tokens: issuing and revoking. What a token makes has no more rights than itself."""

import uuid
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework.exceptions import PermissionDenied

from accounts import activity, live
from accounts.models import ApiToken, Organization, User
from config.base.actor import Actor
from config.base.problems import Conflict

SIGN_IN = "Signed in with a password"  # the name of what POST /token gives
SIGN_IN_FOR = timedelta(hours=12)
LONGEST = timedelta(days=5 * 365)


def of(actor: Actor) -> QuerySet[ApiToken]:
    """The actor's own; for a token that is bound to an organization, those bound to the same."""
    if actor.user_id is None:
        return ApiToken.objects.none()
    mine = ApiToken.objects.filter(user_id=actor.user_id)
    parent = _used(actor)
    bound = parent.organization_id if parent else None
    return mine.filter(organization_id=bound) if bound else mine


def issue(
    actor: Actor,
    name: str,
    *,
    organization_id: uuid.UUID | None = None,
    read_only: bool = False,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """A token of the actor's own and its secret, which is told this once.

    Raises ValidationError by field, and PermissionDenied where it could do more than the token
    that makes it.
    """
    if actor.user_id is None or actor.read_only:
        raise PermissionDenied("This token may only read.", "ReadOnlyToken")
    _check(name, expires_at)
    parent = _used(actor)
    if parent:
        _refuse_more(parent, organization_id, expires_at)
    user = User.objects.get(pk=actor.user_id)
    home = _home(actor, user, organization_id) if organization_id else None
    with transaction.atomic():
        token, secret = ApiToken.objects.issue(
            user, name, organization=home, read_only=read_only, expires_at=expires_at
        )
        change = {
            "organization": str(home) if home else "",
            "read_only": read_only,
            "expires_at": expires_at.isoformat() if expires_at else "",
        }
        activity.record(actor, "token.issued", token, None, change)
    return token, secret


def revoke(token: ApiToken, actor: Actor, reason: str = "") -> None:
    """It never works again; its row stays. Raises Conflict where it is revoked already."""
    now = timezone.now()
    with transaction.atomic():
        if not ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now):
            raise Conflict("This token is revoked already.", "Revoked")
        change = {"user": str(token.user)}
        activity.record(actor, "token.revoked", token, None, change, reason)
        live.rights_changed(token.user_id)
    token.revoked_at = now


def sign_in(user: User, actor: Actor) -> tuple[ApiToken, str]:
    """A token for half a day, for who has given the password; those of yesterday go."""
    now = timezone.now()
    with transaction.atomic():
        user.tokens.filter(name=SIGN_IN, expires_at__lt=now).delete()
        token, secret = ApiToken.objects.issue(user, SIGN_IN, expires_at=now + SIGN_IN_FOR)
        activity.record(actor, "token.issued", token, None)
    return token, secret


def end_sign_ins(user: User) -> int:
    """Revoke what POST /token gave, as a part of something else that is written down."""
    return user.tokens.filter(name=SIGN_IN, revoked_at=None).update(revoked_at=timezone.now())


def is_whole(token: ApiToken) -> bool:
    """Whether it stands for the person: everywhere and for good, or because they gave a password.

    `read_only` is not looked at.
    """
    return token.name == SIGN_IN or not (token.organization_id or token.expires_at)


def _used(actor: Actor) -> ApiToken | None:
    return ApiToken.objects.filter(pk=actor.token_id).first() if actor.token_id else None


def _check(name: str, expires_at: datetime | None) -> None:
    errors = {}
    # What has this name may make tokens that outlive it, for it stands for a person.
    if name.strip().lower() == SIGN_IN.lower():
        errors["name"] = "Choose another name: this one is for tokens that a sign-in makes."
    if expires_at and expires_at > timezone.now() + LONGEST:
        errors["expires_at"] = "The expiry may lie 5 years ahead at most."
    if errors:
        raise ValidationError(errors)


def _refuse_more(
    parent: ApiToken, organization_id: uuid.UUID | None, expires_at: datetime | None
) -> None:
    bound = parent.organization_id
    if bound and organization_id is None:
        raise PermissionDenied(
            "This token is bound to an organization: what it makes must name that one, too.",
            "TokenBound",
        )
    end = None if parent.name == SIGN_IN else parent.expires_at
    if end and (expires_at is None or expires_at > end):
        raise PermissionDenied(
            f"What this token makes must expire when it does, at {end.isoformat()}, or before.",
            "TokenOutlived",
        )


def _home(actor: Actor, user: User, organization_id: uuid.UUID) -> Organization:
    """One that the actor sees: for a token that is bound, the one that it is bound to."""
    found = Organization.objects.visible_to(actor).filter(pk=organization_id).first()
    if found is None:
        raise ValidationError({"organization_id": "There is no such organization."})
    if not user.memberships.filter(organization=found).exists():
        raise ValidationError({"organization_id": "You are not a member of this organization."})
    return found
