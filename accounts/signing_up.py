"""Making an account for oneself. `SIGNUP` says who may: anybody, whoever has an invite, nobody."""

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction

from accounts import activity, joining
from accounts.models import Invite, User
from accounts.renaming import Taken

LONGEST_PASSWORD = 1000


class NotOpen(PermissionDenied):
    """`SIGNUP` does not let this one in. The message is fit for people."""


def check(code: str) -> None:
    """Raises NotOpen for who comes without a `code` that they need, or whatever they bring."""
    _invite_needed(code)


def _invite_needed(code: str) -> Invite | None:
    """The invite of who needs one to sign up. Raises NotOpen."""
    if settings.SIGNUP == "closed":
        raise NotOpen("Nobody can sign up here. Ask an administrator for an account.")
    if settings.SIGNUP == "open":
        return None
    if not code:
        raise NotOpen("Signing up takes an invite here. Open the link of yours.")
    try:
        invite = joining.find(code)
        joining.check(invite)
        joining.check_room(invite)
    except (joining.Unknown, joining.Unusable) as error:
        raise NotOpen(str(error)) from None
    return invite


def sign_up(
    email: str,
    username: str,
    password: str,
    *,
    code: str = "",
    request_id: str = "",
    address: str = "",
) -> User:
    """A new person, in no organization yet: joining is a step of its own, and uses the code up.

    By an invite that they need no more sign up than may join by it.

    Raises NotOpen, ValidationError by field, Taken.
    """
    invite = _invite_needed(code)
    user = User(email=User.objects.normalize_email(email.strip()), username=username.strip())
    _validate(user, password)
    _refuse_taken(user)
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            if invite:
                joining.count_sign_up(invite)
            activity.record(user.actor(request_id, address), "account.signed_up", user, None)
    except joining.Unusable as error:  # by others, at the same time
        raise NotOpen(str(error)) from None
    except IntegrityError:  # somebody else, at the same time
        _refuse_taken(user)
        raise
    return user


def _validate(user: User, password: str) -> None:
    """Everything that is wrong, at once."""
    errors: dict[str, list[str]] = {}
    try:
        user.clean_fields(exclude=["password"])
    except ValidationError as error:
        errors |= error.message_dict
    try:
        if len(password) > LONGEST_PASSWORD:
            raise ValidationError(f"A password has {LONGEST_PASSWORD} characters at most.")
        validate_password(password, user)
    except ValidationError as error:
        errors["password"] = error.messages
    if errors:
        raise ValidationError(errors)


def _refuse_taken(user: User) -> None:
    for name in ("email", "username"):
        if User.objects.filter(**{f"{name}__iexact": getattr(user, name)}).exists():
            raise Taken(name)
