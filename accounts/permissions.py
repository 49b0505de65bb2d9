"""Who may do what through the API: each action of a view names a verb of the role table."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from rest_framework.exceptions import NotAuthenticated, PermissionDenied, ValidationError
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts import activity
from accounts.models import Organization
from accounts.roles import LEAST, Role, may
from config.base.actor import Actor

if TYPE_CHECKING:  # REST framework's views load this module
    from rest_framework.views import APIView


class RoleAllows(BasePermission):
    """A view's `verbs` maps its action to a verb; reading needs none."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        actor = actor_of(request)
        if actor.user_id is None:
            raise NotAuthenticated
        verb = verb_of(request, view)
        if verb is None:
            return True  # no such method here, which is told next
        noted = request.method not in SAFE_METHODS
        if actor.read_only and LEAST[verb] is not Role.VIEWER:
            if noted:
                activity.refused(actor, verb, None)
            raise PermissionDenied("This token may only read.", "ReadOnlyToken")
        # Of a single object it is first asked whether there is one: a foreign one is a 404.
        if not getattr(view, "detail", False):
            allow(actor, verb, None, noted=noted)
        return True

    def has_object_permission(self, request: Request, view: APIView, obj: Any) -> bool:
        verb = verb_of(request, view)
        if verb is not None:
            of = getattr(view, "organization_id_of", None)
            organization_id = of(obj) if of else obj.organization_id
            noted = request.method not in SAFE_METHODS
            allow(actor_of(request), verb, organization_id, obj, noted=noted)
        return True


def actor_of(request: Request) -> Actor:
    """Who calls, as verbs and querysets know them."""
    found: Actor = request._request.actor  # type: ignore[attr-defined]
    return found


def verb_of(request: Request, view: APIView) -> str | None:
    """The verb that a request needs; None where the view has no such method."""
    method = str(request.method)
    action = getattr(view, "action", method.lower() if hasattr(view, method.lower()) else None)
    if action is None:
        return None
    verbs: dict[str, str] = getattr(view, "verbs", {})
    if action in verbs:
        return verbs[action]
    if method in SAFE_METHODS:
        return "read"
    raise ImproperlyConfigured(f"{type(view).__name__}.{action} names no verb.")


def allow(
    actor: Actor,
    verb: str,
    organization_id: uuid.UUID | None,
    subject: Any = None,
    *,
    noted: bool = True,
) -> None:
    """Raises PermissionDenied. Without an organization: unless it is allowed in some.

    That it was tried leaves an Activity, about `subject` or the organization, where `noted`.
    """
    if organization_id is None:
        if LEAST[verb] is Role.VIEWER or actor.sees_all:
            return
        if any(may(actor, verb, found) for found in actor.organizations):
            return
    elif may(actor, verb, organization_id):
        return
    if noted:
        activity.refused(actor, verb, organization_id, subject)
    role = LEAST[verb].label
    raise PermissionDenied(f"This needs the role {role}.", "RoleTooLow")


def deny(actor: Actor, verb: str, text: str, code: str) -> NoReturn:
    """Raises PermissionDenied for what no role would help. That it was tried leaves an Activity."""
    activity.refused(actor, verb, None, reason=text)
    raise PermissionDenied(text, code)


def organization_for(actor: Actor, verb: str, given: uuid.UUID | None) -> Organization:
    """Where `actor` wants to do `verb`: the organization given, or the only one.

    A superuser sees more than they belong to: theirs come first. Raises ValidationError where it
    is unknown or has to be given, PermissionDenied.
    """
    mine = Organization.objects.visible_to(actor)
    if given:
        mine = mine.filter(pk=given)
    elif actor.organizations:
        mine = mine.filter(pk__in=actor.organizations)
    found = list(mine[:2])
    if not found:
        text = "There is no such organization." if given else "You are in no organization."
        raise ValidationError({"organization_id": [text]})
    if len(found) > 1:
        raise ValidationError(
            {"organization_id": ["You are in several organizations: say which one."]}
        )
    allow(actor, verb, found[0].pk)
    return found[0]
