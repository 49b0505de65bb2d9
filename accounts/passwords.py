"""Changing a password, and setting a new one by a link that was mailed."""

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import activity, sessions, tokens
from accounts.models import User
from accounts.throttling import Attempt
from config.base.actor import Actor
from config.base.problems import Conflict


def change(user: User, actor: Actor, current: str, new: str, kept: str | None = None) -> None:
    """Set another password; all sessions end but that with the key `kept`.

    Tokens that a sign-in made end, too; those that were made on purpose stay. Raises
    ValidationError by field (`current_password`, `new_password`), TooMany, Conflict.
    """
    attempt = Attempt(str(user.pk), actor.address, "password")
    attempt.must_begin()
    if not user.check_password(current):
        raise ValidationError({"current_password": "This is not your password."})
    attempt.succeeded()
    if current == new:
        raise ValidationError({"new_password": "This is the password that you have."})
    _set(user, actor, "account.password_changed", new, kept)


def reset(user: User, actor: Actor, new: str) -> None:
    """Set another password for whoever came by the link. Raises ValidationError, Conflict."""
    _set(user, actor, "account.password_reset", new, None)


def _set(user: User, actor: Actor, verb: str, new: str, kept: str | None) -> None:
    try:
        validate_password(new, user)
    except ValidationError as error:
        raise ValidationError({"new_password": error.messages}) from None
    hashed = make_password(new)  # slow: before the transaction
    with transaction.atomic():
        # Of two changes at once one is first; the other knew a password that is none any more.
        if not User.objects.filter(pk=user.pk, password=user.password).update(password=hashed):
            raise Conflict("The password was changed in the meantime.", "Stale")
        ended(user, kept)
        activity.record(actor, verb, user, None)
    user.password = hashed


def ended(user: User, kept: str | None = None) -> None:
    """What the old password opened. Within the caller's transaction."""
    tokens.end_sign_ins(user)
    sessions.end_all(user, kept)
