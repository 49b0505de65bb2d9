"""Sign in by email or user name, without regard to case."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.db.models import Q
from django.http import HttpRequest

from accounts.models import User


def find(name: str) -> User | None:
    """Whose email or user name this is."""
    if not name or "\0" in name:
        return None
    # A user name holds no '@', so an email is nobody else's user name: this finds one at most.
    return User.objects.filter(Q(email__iexact=name) | Q(username__iexact=name)).first()


class EmailOrUsernameBackend(ModelBackend):
    """Django's own, but for the look-up. Inactive users stay out."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        name = username or kwargs.get("email")
        if not name or password is None:
            return None
        user = find(name)
        if user is None:
            User().set_password(password)  # as slow as a wrong password: tells nobody who exists
            return None
        ok = user.check_password(password) and self.user_can_authenticate(user)
        return user if ok else None
