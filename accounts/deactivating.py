"""Keeping a person out at once, and letting them in again. People are never deleted."""

from django.db import transaction

from accounts import activity, live, sessions
from accounts.models import User
from config.base.actor import Actor
from config.base.problems import Conflict


def deactivate(user: User, actor: Actor, reason: str = "") -> None:
    """Sessions end, sockets close, tokens are refused. Raises Conflict."""
    if user.pk == actor.user_id:
        raise Conflict("You cannot deactivate yourself.", "Yourself")
    with transaction.atomic():
        if not User.objects.filter(pk=user.pk, is_active=True).update(is_active=False):
            raise Conflict("Is deactivated already.", "Deactivated")
        sessions.end_all(user)
        activity.record(actor, "user.deactivated", user, None, {"is_active": [True, False]}, reason)
    user.is_active = False


def reactivate(user: User, actor: Actor, reason: str = "") -> None:
    """Tokens work again unless they were revoked. Raises Conflict."""
    with transaction.atomic():
        if not User.objects.filter(pk=user.pk, is_active=False).update(is_active=True):
            raise Conflict("Is active already.", "Active")
        activity.record(actor, "user.reactivated", user, None, {"is_active": [False, True]}, reason)
        live.rights_changed(user.pk)
    user.is_active = True
