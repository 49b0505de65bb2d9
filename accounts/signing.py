"""Signing in with a password and out again: counted, checked, and written down."""

import time
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth.forms import AuthenticationForm, UsernameField
from django.contrib.auth.signals import user_logged_out
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from accounts import activity
from accounts.backends import find
from accounts.middleware import address_of, request_id_of
from accounts.models import User
from accounts.throttling import Attempt
from config.base import showing
from config.base.actor import Actor
from config.base.forms import Worded


def attempt_of(name: str, request: HttpRequest) -> Attempt:
    """Counted by person, whether it is their email or their user name that is tried."""
    user = find(name)
    return Attempt(str(user.pk) if user else name, address_of(request))


def check(name: str, password: str, request: HttpRequest) -> User | None:
    """Who this is, for programs; None where name or password is wrong. Raises TooMany."""
    attempt = attempt_of(name, request)
    attempt.must_begin()
    user = authenticate(request, username=name, password=password)
    if not isinstance(user, User):
        failed(name, request)
        return None
    attempt.succeeded()
    return user


class Guarded(Worded, AuthenticationForm):
    """A form that signs in. One attempt too many is answered with 429, by the middleware."""

    username = UsernameField(
        label="Email or user name", widget=forms.TextInput({"autofocus": True})
    )

    def __init__(self, request: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        self.fields["username"].widget.attrs["maxlength"] = 254  # an email is longer than a name

    def clean(self) -> Any:
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        request: Any = self.request
        if not name or not password or request is None:
            return super().clean()
        attempt = attempt_of(name, request)
        if wait := attempt.begin():
            request.try_again_after = wait
            raise ValidationError(too_many(wait), code="throttled")
        try:
            found = super().clean()
        except ValidationError:
            failed(name, request)
            raise
        attempt.succeeded()
        user = self.get_user()
        actor = user.actor(request_id_of(), address_of(request))
        activity.record(actor, "account.signed_in", user, None)
        return found


def too_many(wait: int) -> str:
    """When to try again, for people."""
    then = datetime.fromtimestamp(time.time() + wait, UTC)
    when = f"in {showing.duration(wait)}, at {showing.clock(then)}"
    return f"Too many failed attempts. Try again {when}."


def failed(name: str, request: HttpRequest) -> None:
    """Write down that somebody was refused, where there is such an account."""
    user = find(name)
    if user is None:
        return
    who = Actor(name="anonymous", request_id=request_id_of(), address=address_of(request))
    why = "" if user.is_active else "The account is deactivated."
    found = activity.build(who, "account.sign_in_failed", user, None, reason=why)
    found.refused = True
    found.save(force_insert=True)


def signed_out(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    if isinstance(user, User):
        actor = user.actor(request_id_of(), address_of(request))
        activity.record(actor, "account.signed_out", user, None)


def connect() -> None:
    """Pages and admin sign out by Django's own view, which sends this."""
    user_logged_out.connect(signed_out, dispatch_uid="accounts.signing")
