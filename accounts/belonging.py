"""Organizations, and who belongs to them: roles, leaving, deleting.

What changes an organization's people first takes its row (`_hold`), so that one happens after the
other: an organization always keeps an owner who can act.
"""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, ProtectedError
from django.utils import timezone

from accounts import activity, joining, live
from accounts.models import Membership, Organization, User
from accounts.roles import Role, reaches
from config.base import live as bells
from config.base.actor import Actor
from config.base.problems import Conflict

log = structlog.get_logger(__name__)
KEPT = timedelta(days=30)  # of a deleted organization
LAST_OWNER = (
    "An organization keeps an owner who can act. Make somebody else an owner first.",
    "LastOwner",
)
GONE = ("This organization was deleted.", "Stale")


# Organizations


def may_create(actor: Actor) -> bool:
    """`ORGANIZATION_CREATE` says who."""
    anybody = settings.ORGANIZATION_CREATE == "anyone"
    return actor.user_id is not None and not actor.read_only and (anybody or actor.sees_all)


def create(name: str, actor: Actor) -> Organization:
    """With the actor's user as its owner, and a standing invite.

    Raises ValidationError by field, Conflict for a taken name, PermissionDenied.
    """
    if not may_create(actor):
        raise PermissionDenied("Only a superuser may create organizations here.")
    made = Organization(name=name.strip())
    made.clean_fields(exclude=["slug"])
    _refuse_taken(made)
    try:
        _save(made, actor)
    except IntegrityError:
        _refuse_taken(made)
        made.slug = ""  # not the name, but the slug was taken at the same time: it gets another
        _save(made, actor)
    return made


def _save(made: Organization, actor: Actor) -> None:
    assert actor.user_id  # who may create is somebody
    with transaction.atomic():
        made.save(force_insert=True)
        owner = Membership(user_id=actor.user_id, organization=made, role=Role.OWNER)
        owner.save(force_insert=True)
        joining.standing([made.pk])
        activity.record(actor, "organization.created", made, made.pk)
        live.rights_changed(owner.user_id)


def rename(organization: Organization, name: str, actor: Actor, reason: str = "") -> Organization:
    """Its slug stays, so that addresses do. Raises ValidationError by field, Conflict."""
    before, organization.name = organization.name, name.strip()
    organization.clean_fields(exclude=["slug"])
    if organization.name == before:
        return organization
    _refuse_taken(organization)
    try:
        with transaction.atomic():
            rows = Organization.objects.alive().filter(pk=organization.pk)
            if not rows.update(name=organization.name):
                raise Conflict(*GONE)
            change = {"name": [before, organization.name]}
            activity.record(
                actor, "organization.changed", organization, organization.pk, change, reason
            )
            bells.ring_on_commit(organization.pk)
    except IntegrityError:
        raise Conflict("This name is taken.", "NameTaken") from None
    return organization


def _refuse_taken(organization: Organization) -> None:
    others = Organization.objects.exclude(pk=organization.pk)
    if others.filter(name__iexact=organization.name).exists():
        raise Conflict("This name is taken.", "NameTaken")


# What other apps keep of an organization


@dataclass(frozen=True)
class Holding:
    """`running` names what is under way there, in sentences; `purge` deletes what is kept."""

    running: Callable[[uuid.UUID], list[str]]
    purge: Callable[[uuid.UUID], None]


HOLDINGS: dict[str, Holding] = {}  # by app, filled when the apps are ready


def running(organization_id: uuid.UUID) -> list[str]:
    return [told for holding in HOLDINGS.values() for told in holding.running(organization_id)]


def delete(organization: Organization, actor: Actor, typed: str, reason: str = "") -> None:
    """Nobody sees anything of it any more, and its name is free; it is purged after 30 days.

    `typed` must be its name. Raises ValidationError, and Conflict, with the list, where something
    runs.
    """
    if typed.strip() != organization.name:
        raise ValidationError({"name": f"Type {organization.name} to delete it."})
    apart = uuid.uuid4().hex[:8]
    with transaction.atomic():
        # Before looking for what runs: what is just being planned holds the row until it is in.
        rows = Organization.objects.alive().filter(pk=organization.pk)
        gone = rows.update(
            deleted_at=timezone.now(),
            name=f"{organization.name[:70]} (deleted {apart})",
            slug=f"{organization.slug[:70]}-deleted-{apart}",
        )
        if not gone:
            raise Conflict(*GONE)
        if found := running(organization.pk):
            raise Conflict(" ".join(found), "Running")
        activity.record(actor, "organization.deleted", organization, organization.pk, {}, reason)
        _tell(organization.pk)


def purge(now: datetime | None = None) -> int:
    """Delete for good what was deleted 30 days ago, but for its activities. How many there were."""
    latest = (now or timezone.now()) - KEPT
    count = 0
    for organization in Organization.objects.filter(deleted_at__lte=latest):
        if found := running(organization.pk):
            log.info("purge_waits", organization=str(organization.pk), running=found)
            continue
        try:
            for holding in HOLDINGS.values():
                holding.purge(organization.pk)
            with transaction.atomic():
                actor = Actor.system("switchyard")
                activity.record(actor, "organization.purged", organization, organization.pk)
                organization.delete()
        except ProtectedError as error:
            kinds = sorted({type(row).__name__ for row in error.protected_objects})
            log.warning("purge_refused", organization=str(organization.pk), kept=kinds)
        else:
            count += 1
    return count


# Members


def own(actor: Actor, organization: Organization) -> Membership | None:
    """The actor's membership, where there is one."""
    if actor.user_id is None:
        return None
    return Membership.objects.filter(organization=organization, user_id=actor.user_id).first()


def add(user: User, organization: Organization, role: str, actor: Actor) -> Membership:
    """Without an invite: for administrators. Raises Conflict, PermissionDenied."""
    made = Membership(user=user, organization=organization, role=role)
    made.clean_fields()
    _must_reach(actor, role, organization.pk)
    try:
        with transaction.atomic():
            _hold(organization.pk)
            made.save(force_insert=True)
            activity.record(actor, "member.added", made, organization.pk, {"role": role})
            _heard(made)
    except IntegrityError:
        raise Conflict(f"{user} is a member already.", "AlreadyMember") from None
    return made


def change_role(membership: Membership, role: str, actor: Actor, reason: str = "") -> Membership:
    """Raises Conflict for the last owner, PermissionDenied for what is above the actor's role."""
    if role not in Role.values:
        raise ValidationError({"role": f"Choose from {', '.join(Role.values)}."})
    with transaction.atomic():
        found, acting = _held(membership, actor)
        _must_reach(acting, found.role, found.organization_id)
        _must_reach(acting, role, found.organization_id)
        if found.role == role:
            return found
        if found.role == Role.OWNER:
            _refuse_last_owner(found)
        change = {"role": [found.role, role]}
        found.role = role
        found.save(update_fields=["role"])
        activity.record(actor, "member.changed", found, found.organization_id, change, reason)
        _heard(found)
    return found


def remove(membership: Membership, actor: Actor, reason: str = "") -> None:
    """Raises Conflict for the last owner, PermissionDenied for who is above the actor."""
    _end(membership, actor, "member.removed", reason)


def leave(membership: Membership, actor: Actor, reason: str = "") -> None:
    """End one's own membership. Raises Conflict for the last owner."""
    _end(membership, actor, "member.left", reason)


def _end(membership: Membership, actor: Actor, verb: str, reason: str) -> None:
    with transaction.atomic():
        found, acting = _held(membership, actor)
        if found.user_id != actor.user_id:
            _must_reach(acting, found.role, found.organization_id)
        if found.role == Role.OWNER:
            _refuse_last_owner(found)
        change = {"role": [found.role, None]}
        activity.record(actor, verb, found, found.organization_id, change, reason)
        found.delete()
        _heard(found)


def _hold(organization_id: uuid.UUID) -> None:
    """Take the organization's row until the transaction ends. Raises Conflict where it is gone.

    An UPDATE of nothing, for SQLite knows no SELECT FOR UPDATE (and writes alone as it is).
    """
    rows = Organization.objects.alive().filter(pk=organization_id)
    if not rows.update(created_at=F("created_at")):
        raise Conflict(*GONE)


def _held(membership: Membership, actor: Actor) -> tuple[Membership, Actor]:
    """The membership and the actor as they are now, and stay until the transaction ends."""
    _hold(membership.organization_id)
    rows = Membership.objects.select_related("user", "organization")
    found = rows.filter(pk=membership.pk).first()
    if found is None:
        raise Conflict(f"{membership.user} is no member any more.", "Stale")
    if actor.sees_all:
        return found, actor
    mine = Membership.objects.filter(
        organization=found.organization_id, user=actor.user_id, user__is_active=True
    )
    roles = dict(mine.values_list("organization_id", "role"))
    return found, Actor(actor.name, actor.user_id, actor.token_id, roles, False, actor.read_only)


def _must_reach(actor: Actor, role: str, organization_id: uuid.UUID) -> None:
    if not reaches(actor, role, organization_id):
        raise PermissionDenied(f"This needs the role {role}.")


def _refuse_last_owner(leaving: Membership) -> None:
    """A deactivated owner cannot act, so does not count: neither as the one who stays."""
    others = Membership.objects.filter(organization=leaving.organization_id, role=Role.OWNER)
    if not others.filter(user__is_active=True).exclude(pk=leaving.pk).exists():
        raise Conflict(*LAST_OWNER)


def _heard(membership: Membership) -> None:
    live.rights_changed(membership.user_id)
    bells.ring_on_commit(membership.organization_id)


def _tell(organization_id: uuid.UUID) -> None:
    """Everybody there may do something else from now on."""
    people: Iterable[uuid.UUID] = Membership.objects.filter(
        organization=organization_id
    ).values_list("user_id", flat=True)
    for user_id in people:
        live.rights_changed(user_id)
    bells.ring_on_commit(organization_id)
