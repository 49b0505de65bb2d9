"""How people come into an organization: invites, the standing code, and joining by either."""

import secrets
import uuid
from collections.abc import Iterable
from datetime import datetime

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from accounts import activity, live
from accounts.models import Invite, Membership, Organization
from accounts.roles import reaches
from config.base import live as bells
from config.base.actor import Actor
from config.base.problems import Conflict
from config.base.redaction import keyed_hash

CODE_BYTES = 24  # 32 characters
LONGEST_CODE = 100
MOST_USES = 1_000_000


class Unusable(Exception):
    """An invite that is over. `code` is stable, for programs."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Unknown(Exception):
    """There is no invite of this code."""


def find(code: str) -> Invite:
    """The invite of this code, which may be over. Raises Unknown."""
    rows = Invite.objects.select_related("organization")
    alive = rows.filter(organization__deleted_at__isnull=True)
    found = alive.filter(code_hash=keyed_hash(code)).first() if code[LONGEST_CODE:] == "" else None
    if found is None:
        raise Unknown("There is no such invite.")
    return found


def check(invite: Invite) -> None:
    """Raises Unusable where nobody can join by it any more."""
    if invite.revoked_at:
        raise Unusable("This invite was revoked. Ask for a new one.", "InviteRevoked")
    if invite.expires_at and invite.expires_at <= timezone.now():
        raise Unusable("This invite has expired. Ask for a new one.", "InviteExpired")
    if invite.most_uses is not None and invite.uses >= invite.most_uses:
        raise Unusable("This invite is used up. Ask for a new one.", "InviteUsedUp")


def state_of(invite: Invite) -> str:
    """'usable', 'revoked', 'expired' or 'used up'."""
    try:
        check(invite)
    except Unusable as error:
        return {"InviteRevoked": "revoked", "InviteExpired": "expired"}.get(error.code, "used up")
    return "usable"


def join(code: str, actor: Actor) -> Membership:
    """Make the actor's user a member. Raises Unknown, Unusable, Conflict.

    However many join at once: no more get in than the invite lets, and no use is lost on a member.
    """
    if actor.user_id is None:
        raise PermissionDenied("Sign in to join.")
    invite = find(code)
    here = Membership.objects.filter(user_id=actor.user_id, organization_id=invite.organization_id)
    already = Conflict(f"You are a member of {invite.organization} already.", "AlreadyMember")
    try:
        with transaction.atomic():
            if here.exists():
                raise already
            if not _open(invite.pk).update(uses=F("uses") + 1):
                check(Invite.objects.get(pk=invite.pk))
                raise Unusable("This invite is over. Ask for a new one.", "InviteUsedUp")
            made = Membership(
                user_id=actor.user_id, organization=invite.organization, role=invite.role
            )
            made.save(force_insert=True)
            by = "join code" if invite.standing else f"invite of {invite.created_by_name}"
            change = {"role": invite.role, "by": by}
            activity.record(actor, "member.joined", made, invite.organization_id, change)
            live.rights_changed(made.user_id)
            bells.ring_on_commit(invite.organization_id)
    except IntegrityError:  # the same person, twice at once
        raise already from None
    return made


def count_sign_up(invite: Invite) -> None:
    """One account more is made by it: no more than may join. Raises Unusable.

    It uses nothing up: joining does. Otherwise a code for one would make accounts for many, as long
    as none of them has joined.
    """
    free = _open(invite.pk).filter(Q(most_uses__isnull=True) | Q(sign_ups__lt=F("most_uses")))
    if not free.update(sign_ups=F("sign_ups") + 1):
        now = Invite.objects.get(pk=invite.pk)
        check(now)
        check_room(now)
        raise Unusable("This invite is over. Ask for a new one.", "InviteUsedUp")


def check_room(invite: Invite) -> None:
    """Raises Unusable where as many have signed up by it as may join."""
    if invite.most_uses is not None and invite.sign_ups >= invite.most_uses:
        told = "As many have signed up by this invite as may join by it. Ask for a new one."
        raise Unusable(told, "InviteUsedUp")


def _open(pk: uuid.UUID) -> QuerySet[Invite]:
    """The invite, where it can be used: conditions on the row itself, and on no other table, so
    that a statement that waited for another one looks at them again."""
    now = timezone.now()
    return Invite.objects.filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=now),
        Q(most_uses__isnull=True) | Q(uses__lt=F("most_uses")),
        pk=pk,
        revoked_at__isnull=True,
    )


# Making and ending invites


def invite(
    organization: Organization,
    actor: Actor,
    role: str,
    expires_at: datetime | None = None,
    most_uses: int | None = None,
) -> Invite:
    """A new one. Raises ValidationError by field, and PermissionDenied above the actor's role."""
    made = _new(organization.pk, actor, role=role, expires_at=expires_at, most_uses=most_uses)
    made.clean_fields()
    if expires_at and expires_at <= timezone.now():
        raise ValidationError({"expires_at": "The end must lie in the future."})
    if most_uses is not None and not 1 <= most_uses <= MOST_USES:
        raise ValidationError({"most_uses": f"Choose from 1 to {MOST_USES}, or nothing."})
    if not reaches(actor, role, organization.pk):
        raise PermissionDenied(f"Only an {role} invites an {role}.")
    with transaction.atomic():
        made.save(force_insert=True)
        change = {
            "role": made.role,
            "expires_at": expires_at.isoformat(timespec="seconds") if expires_at else None,
            "most_uses": most_uses,
        }
        activity.record(actor, "invite.created", made, organization.pk, change)
        bells.ring_on_commit(organization.pk)
    return made


def revoke(found: Invite, actor: Actor, reason: str = "") -> None:
    """Nobody joins by it any more. Raises Conflict."""
    if found.standing:
        raise Conflict("The standing invite is not revoked but rotated.", "StandingInvite")
    with transaction.atomic():
        rows = Invite.objects.filter(pk=found.pk, revoked_at__isnull=True)
        if not rows.update(revoked_at=timezone.now()):
            raise Conflict("This invite was revoked already.", "InviteRevoked")
        activity.record(actor, "invite.revoked", found, found.organization_id, {}, reason)
        bells.ring_on_commit(found.organization_id)


def rotate(organization: Organization, actor: Actor, reason: str = "") -> Invite:
    """A new standing code; the one before works no more. Raises Conflict."""
    try:
        with transaction.atomic():
            rows = Invite.objects.filter(organization=organization, standing=True)
            rows.filter(revoked_at__isnull=True).update(revoked_at=timezone.now())
            made = _new(organization.pk, actor, standing=True)
            made.save(force_insert=True)
            activity.record(actor, "invite.rotated", made, organization.pk, {}, reason)
            bells.ring_on_commit(organization.pk)
    except IntegrityError:  # somebody else, at the same time
        raise Conflict("The code has just been rotated by somebody else.", "Stale") from None
    return made


def standing(organization_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Invite]:
    """Each organization's standing invite; made where an older one has none yet."""
    wanted = set(organization_ids)
    if not wanted:
        return {}
    found = _standing(wanted)
    if missing := wanted - found.keys():
        made = [_new(pk, Actor.system(""), standing=True) for pk in missing]
        Invite.objects.bulk_create(made, ignore_conflicts=True)  # others may be making it, too
        found |= _standing(missing)
    return found


def _standing(organization_ids: set[uuid.UUID]) -> dict[uuid.UUID, Invite]:
    rows = Invite.objects.filter(
        organization__in=organization_ids, standing=True, revoked_at__isnull=True
    )
    return {row.organization_id: row for row in rows}


def _new(organization_id: uuid.UUID, actor: Actor, **fields: object) -> Invite:
    code = secrets.token_urlsafe(CODE_BYTES)
    return Invite(
        organization_id=organization_id,
        code=code,
        code_hash=keyed_hash(code),
        created_by_name=actor.name[:100],
        **fields,
    )
