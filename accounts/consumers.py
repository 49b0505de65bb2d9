"""`/ws/live`: bells for what pages show. They carry nothing: readers fetch with their rights."""

import asyncio
import uuid
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async

from accounts.models import Organization
from accounts.sockets import NO_SUCH_THING, Socket
from config.base import live

# A process rings once in BELL_SECONDS; what changes meanwhile is seen by who looks again after.
AGAIN_SECONDS = live.BELL_SECONDS + 0.1


class Live(Socket):
    """Tells "changed" of all the organizations that the actor may see, or of the one asked for."""

    joined: frozenset[str] = frozenset()
    ringing: asyncio.Task[None] | None = None
    rung_meanwhile = False

    async def begin(self) -> None:
        groups = await self._groups()
        if groups is None:
            await self.close(NO_SUCH_THING)
            return
        await self._join(groups)

    async def renewed(self) -> None:
        await self._join(await self._groups() or frozenset())

    async def disconnect(self, code: int) -> None:
        await super().disconnect(code)
        if self.ringing:
            self.ringing.cancel()
        await self._join(frozenset())

    async def changed(self, event: dict[str, Any]) -> None:
        """A bell from the channel layer."""
        self.rung_meanwhile = True
        if self.ringing is None:
            self.ringing = asyncio.create_task(self._ring())

    async def _ring(self) -> None:
        """Tell at once, and once more when bells that were swallowed meanwhile would be missed."""
        await self.tell("changed", {})
        while self.rung_meanwhile:
            self.rung_meanwhile = False
            await asyncio.sleep(AGAIN_SECONDS)
            await self.tell("changed", {})
        self.ringing = None

    async def _join(self, groups: frozenset[str]) -> None:
        for group in self.joined - groups:
            await self.channel_layer.group_discard(group, self.channel_name)
        for group in groups - self.joined:
            await self.channel_layer.group_add(group, self.channel_name)
        self.joined = groups

    @database_sync_to_async
    def _groups(self) -> frozenset[str] | None:
        """None where `?organization=` names none that the actor sees."""
        wanted = parse_qs(self.scope.get("query_string", b"").decode("latin-1")).get("organization")
        found = Organization.objects.visible_to(self.actor)
        if wanted:
            try:
                found = found.filter(pk=uuid.UUID(wanted[0]))
            except ValueError:
                # No database looks for NUL, and no slug has it.
                found = found.filter(slug=wanted[0].replace("\0", " "))
        keys = list(found.values_list("pk", flat=True))
        return frozenset(map(live.group_of, keys)) if keys or not wanted else None
