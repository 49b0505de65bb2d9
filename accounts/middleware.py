"""Gives every request its actor."""

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from accounts.models import User
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
    return str(request.META.get("REMOTE_ADDR") or "")[:64]


class ActorMiddleware:
    """`request.actor`, built when it is first used."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.actor = SimpleLazyObject(lambda: actor_of(request))  # type: ignore[attr-defined]
        return self.get_response(request)
