"""WebSockets of people and programs: who is there, whether they still may, and how we talk.

A socket is accepted first and closed afterwards: a close code is seen only by who was accepted.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.base import SessionBase
from django.db import DatabaseError
from django.http import parse_cookie
from django.http.request import validate_host
from django.utils.module_loading import import_string
from redis.exceptions import RedisError
from rest_framework.exceptions import AuthenticationFailed

from accounts.authentication import token_of
from accounts.live import group_of
from accounts.models import User
from config.base import addresses, live
from config.base.actor import Actor

log = structlog.get_logger(__name__)
PROTOCOL, BEARER = "switchyard.v1", "bearer."
NOT_SIGNED_IN, NOT_ALLOWED, NO_SUCH_THING, TRY_LATER = 4401, 4403, 4404, 1013
RENEW_SECONDS = 60.0


class Socket(AsyncJsonWebsocketConsumer):
    """Knows its actor, looks again every minute, and numbers what it says.

    A subclass has `begin`, which may close the socket, and `renewed`, after each look.
    """

    actor: Actor
    renewing: asyncio.Task[None] | None = None
    said = 0

    async def begin(self) -> None:
        """Join groups, say what is to be said at once."""

    async def renewed(self) -> None:
        """The actor was looked up again, and may see more or less."""

    async def __call__(self, scope: Any, receive: Callable[..., Any], send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        except (RedisError, OSError) as error:  # the broker is away: the client comes again
            live.tell_away(error)
            with suppress(Exception):
                await send({"type": "websocket.close", "code": TRY_LATER})

    async def connect(self) -> None:
        offered = self.scope.get("subprotocols", [])
        await self.accept(PROTOCOL if PROTOCOL in offered else None)
        if not (self._secret() or self._from_our_own_pages()):
            came_with = self._header("cookie") or self._header("origin")
            await self.close(NOT_ALLOWED if came_with else NOT_SIGNED_IN)
            return
        if await self._look():
            # Who loses a right between the look and this is found out by the next look.
            await self.channel_layer.group_add(group_of(self._person), self.channel_name)
            self.renewing = asyncio.create_task(self._renew())
            await self.begin()

    async def disconnect(self, code: int) -> None:
        if self.renewing:
            self.renewing.cancel()
            await self.channel_layer.group_discard(group_of(self._person), self.channel_name)

    async def rights(self, event: dict[str, Any]) -> None:
        """From the channel layer: this person's rights have changed, or ended."""
        with suppress(DatabaseError):  # the next look is soon
            if await self._look():
                await self.renewed()
            elif self.renewing:
                self.renewing.cancel()

    async def tell(self, kind: str, data: dict[str, Any]) -> None:
        self.said += 1
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        await self.send_json({"seq": self.said, "ts": now, "type": kind, "data": data})

    async def receive(self, *args: Any, **kwargs: Any) -> None:
        """What clients say means nothing here, and need not be JSON."""

    async def _renew(self) -> None:
        await asyncio.sleep(random.uniform(0, RENEW_SECONDS))  # not all sockets at once
        while True:
            with suppress(Exception):  # the database may be away; the next look is soon
                if not await self._look():
                    return
                await self.renewed()
            await asyncio.sleep(RENEW_SECONDS)

    async def _look(self) -> bool:
        """Look up who this is, as of now; close where that is nobody."""
        actor = await self._who()
        if actor is None:
            await self.close(NOT_SIGNED_IN)
            return False
        self.actor = actor
        return True

    @database_sync_to_async
    def _who(self) -> Actor | None:
        if secret := self._secret():
            try:
                return token_of(secret, self._address()).actor(address=self._address())
            except AuthenticationFailed:
                return None
        store = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
        cookies = parse_cookie(self._header("cookie"))
        session: SessionBase = store(cookies.get(settings.SESSION_COOKIE_NAME))
        user = auth.get_user(SimpleNamespace(session=session))  # type: ignore[arg-type]
        return user.actor(address=self._address()) if isinstance(user, User) else None

    @property
    def _person(self) -> str:
        return str(self.actor.user_id)

    def _address(self) -> str:
        """As `accounts.middleware.address_of` has it for requests."""
        peer = str((self.scope.get("client") or [""])[0])
        return addresses.client(peer, self._header("x-forwarded-for"), settings.TRUSTED_PROXIES)

    def _secret(self) -> str:
        """An API token: in the header, or among the subprotocols, where browsers can put it."""
        scheme, _, secret = self._header("authorization").partition(" ")
        if scheme.lower() == "bearer" and secret.strip():
            return secret.strip()
        offered = self.scope.get("subprotocols", [])
        found = (name.removeprefix(BEARER) for name in offered if name.startswith(BEARER))
        return next(found, "")

    def _from_our_own_pages(self) -> bool:
        """Cookies come along from any site, so a session counts from our own origin only."""
        origin = self._header("origin").lower()
        if not origin:
            return False
        if urlsplit(origin).netloc == self._header("host").lower():
            return True
        trusted = [urlsplit(name.lower()) for name in settings.CSRF_TRUSTED_ORIGINS]
        at = urlsplit(origin)
        return any(
            at.scheme == name.scheme and validate_host(at.netloc, [name.netloc.removeprefix("*")])
            for name in trusted
        )

    def _header(self, name: str) -> str:
        """All of that name, as one; '' where there is none."""
        wanted, headers = name.encode(), self.scope.get("headers", [])
        return ",".join(value.decode("latin-1") for key, value in headers if key.lower() == wanted)


class NoSuchSocket(AsyncJsonWebsocketConsumer):
    """Every address that is none."""

    async def connect(self) -> None:
        await self.accept()
        await self.close(NO_SUCH_THING)
