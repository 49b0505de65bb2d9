"""What is the caller's own: no role is needed, but a token that may only read changes nothing."""

from typing import Any

from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts import activity
from accounts.permissions import actor_of


class Own(BasePermission):
    """The view itself sees to it that nobody else's rows are in reach.

    Its `own` names what it is about, for the record of refused attempts.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        actor = actor_of(request)
        if actor.user_id is None:
            raise NotAuthenticated
        method = str(request.method)
        handler = getattr(view, "action", method.lower())
        if handler is None or not hasattr(view, handler):
            return True  # no such method here, which is told next
        if actor.read_only and method not in SAFE_METHODS:
            activity.refused(actor, f"{view.own}.write", None)
            raise PermissionDenied("This token may only read.", "ReadOnlyToken")
        return True
