"""Changing one's email and user name."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts import activity
from accounts.models import User
from config.base.actor import Actor
from config.base.problems import Conflict

TAKEN = {
    "email": ("This email is taken.", "EmailTaken"),
    "username": ("This user name is taken.", "UsernameTaken"),
}


class Taken(Conflict):
    """Somebody else has it; `field` is which."""

    def __init__(self, field: str) -> None:
        super().__init__(*TAKEN[field])
        self.field = field


def rename(user: User, actor: Actor, **given: str) -> None:
    """Set `email`, `username`, or both. Raises ValidationError by field, Taken.

    Without a change nothing is written.
    """
    wanted = {name: value.strip() for name, value in given.items()}
    if "email" in wanted:
        wanted["email"] = User.objects.normalize_email(wanted["email"])
    errors = {}
    for name, value in wanted.items():
        try:
            field: Any = User._meta.get_field(name)
            field.clean(value, user)
        except ValidationError as error:
            errors[name] = error.messages
    if errors:
        raise ValidationError(errors)
    before = {name: getattr(user, name) for name in wanted}
    change = activity.changed(before, wanted)
    if not change:
        return
    _refuse_taken(user, wanted)
    try:
        with transaction.atomic():
            User.objects.filter(pk=user.pk).update(**{name: wanted[name] for name in change})
            for name, value in wanted.items():
                setattr(user, name, value)
            activity.record(actor, "account.changed", user, None, change)
    except IntegrityError:  # somebody was quicker
        for name, value in before.items():
            setattr(user, name, value)
        _refuse_taken(user, wanted)
        raise


def _refuse_taken(user: User, wanted: dict[str, str]) -> None:
    others = User.objects.exclude(pk=user.pk)
    for name, value in wanted.items():
        if others.filter(**{f"{name}__iexact": value}).exists():
            raise Taken(name)
