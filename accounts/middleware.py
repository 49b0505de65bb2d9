"""Gives every request its actor, and every session the facts that its owner is shown."""

from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject
from django_structlog.signals import bind_extra_request_metadata

from accounts.models import User
from config.base import addresses
from config.base.actor import Actor


def actor_of(request: HttpRequest) -> Actor:
    """Who this request's session belongs to; anonymous where nobody has signed in."""
    user = request.user
    if not isinstance(user, User):
        return Actor.nobody()
    return user.actor(request_id_of(), address_of(request))


def request_id_of() -> str:
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64]


def address_of(request: HttpRequest) -> str:
    """Where it comes from, as far as `TRUSTED_PROXIES` vouch for it; '' where that is unknown."""
    peer = str(request.META.get("REMOTE_ADDR") or "")
    forwarded = str(request.META.get("HTTP_X_FORWARDED_FOR") or "")
    return addresses.client(peer, forwarded, settings.TRUSTED_PROXIES)


def tell_address(sender: Any, request: HttpRequest, **_: Any) -> None:
    """Each line that is logged in this request has it."""
    structlog.contextvars.bind_contextvars(ip=address_of(request))


def connect() -> None:
    bind_extra_request_metadata.connect(tell_address, dispatch_uid="accounts.middleware")


class ActorMiddleware:
    """`request.actor`, built when it is first used."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.actor = SimpleLazyObject(lambda: actor_of(request))  # type: ignore[attr-defined]
        session: Any = request.session  # a SessionStore of accounts.sessions
        session.address = address_of(request)
        session.agent = request.headers.get("User-Agent", "")
        response = self.get_response(request)
        session.note_use()
        wait = getattr(request, "try_again_after", 0)
        if wait and response.status_code == 200:  # a form that said no to one attempt too many
            response.status_code = 429
            response.headers["Retry-After"] = str(wait)
        return response
