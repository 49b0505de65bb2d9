"""The simulator's HTTP server: one process, one loop, the world in memory."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import partial
from ipaddress import ip_address

from aiohttp import web

from . import arriving, running
from .api import PREFIX, ROUTES
from .calls import Call, Route, carry_out, error
from .control import Control
from .faults import LISTING, Fault, Faults
from .records import LIVE, Json
from .stats import Log, Stats
from .store import Store
from .world import Refusal, World

JSON = "application/json"
MOST_BYTES = 64 * 2**20
Answer = tuple[int, bytes]


class Server:
    """Serves a world: the vendor's calls with their faults, and the `/_sim` surface."""

    def __init__(self, world: World, store: Store | None = None) -> None:
        self.world, self._store = world, store
        self.faults = Faults(route.name for route in ROUTES)
        self.stats, self.log = Stats(), Log()
        self._control = Control(world, self.faults, self.stats, self.log)
        self._later: set[asyncio.Task[None]] = set()
        self._date = (0, "")

    def application(self) -> web.Application:
        """All routes, ready to be run."""
        app = web.Application(client_max_size=MOST_BYTES)
        for route in ROUTES:
            app.router.add_route(route.method, PREFIX + route.path, partial(self._vendor, route))
        app.router.add_route("*", "/_sim/{path:.*}", self._steer)
        app.router.add_route("*", "/{path:.*}", self._unknown)
        return app

    async def start(self, host: str, port: int) -> tuple[web.AppRunner, int]:
        """Listen; returns what to clean up at the end, and the port."""
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, host, port, backlog=1024)
        await site.start()
        return runner, runner.addresses[0][1]

    def save(self) -> None:
        """Bring the state file up to date, where there is one."""
        if self._store is not None:
            self._store.save(self.world)
        else:
            self.world.changed.clear()

    # The vendor's surface

    async def _vendor(self, route: Route, request: web.Request) -> web.StreamResponse:
        self.stats.begin(route.name)
        outcome = "cut"
        try:
            raw = await request.read()
            call = Call(
                route, request.match_info, request.query, request.headers, raw, request.rel_url.path
            )
            await self._wait()
            fault = self.faults.strike(call)
            response = await EFFECTS[fault.effect if fault else ""](self, call, request, fault)
            await self._wait()
            if request.transport is not None and not request.transport.is_closing():
                outcome = str(response.status)
            return response
        finally:
            self.stats.end(outcome)

    async def _wait(self) -> None:
        # Half before and half after: a caller that dies meanwhile may or may not have acted.
        if self.world.settings.latency_ms:
            await asyncio.sleep(self.world.settings.latency_ms / 2000)

    def _carry_out(self, call: Call, fault: Fault | None = None) -> Answer:
        """Do it, write it down, save it: an answer that was given is never forgotten."""
        status, body = carry_out(self.world, call)
        if fault is not None and fault.effect in LISTING and not _disturb(self.world, call, fault):
            fault.fired -= 1  # it waits for a listing that it can disturb
        if call.route.mutates:
            self._write(call, status, fault)
        self.save()
        return status, body

    def _write(self, call: Call, status: int, fault: Fault | None) -> None:
        row: Json = {"at": self.world.now(), "call": call.route.name, "status": status}
        row |= {"requestId": call.headers.get("X-Request-ID", ""), **call.note}
        self.log.write(row | {"fault": fault.effect} if fault else row)

    def _respond(self, request: web.Request, answer: Answer) -> web.Response:
        status, body = answer
        headers = self._headers(request)
        return web.Response(status=status, body=body, headers=headers, content_type=JSON)

    def _headers(self, request: web.Request) -> dict[str, str]:
        second = self.world.now() // 1000
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        headers = {"Date": self._date[1]}
        if request_id := request.headers.get("X-Request-ID"):
            headers["X-Request-ID"] = request_id
        return headers

    # What a fault makes of a call

    async def _plain(self, call: Call, request: web.Request, fault: Fault | None) -> web.Response:
        return self._respond(request, self._carry_out(call, fault))

    async def _lost(self, call: Call, request: web.Request, fault: Fault) -> web.Response:
        self._carry_out(call, fault)
        return reset(request)

    async def _refuse(self, call: Call, request: web.Request, fault: Fault) -> web.Response:
        return reset(request)

    async def _late(self, call: Call, request: web.Request, fault: Fault) -> web.Response:
        task = asyncio.create_task(self._carry_out_later(call, fault))
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        return reset(request)

    async def _carry_out_later(self, call: Call, fault: Fault) -> None:
        await asyncio.sleep(fault.seconds)
        self._carry_out(call, fault)

    async def _hang(self, call: Call, request: web.Request, fault: Fault) -> web.Response:
        answer = self._carry_out(call, fault)
        await asyncio.sleep(fault.seconds)
        return self._respond(request, answer)

    async def _status(self, call: Call, request: web.Request, fault: Fault) -> web.Response:
        if fault.effect == "status_after":
            self._carry_out(call, fault)
        message = f"injected {fault.status}"
        response = self._respond(request, (fault.status, error(fault.status, message)))
        response.headers.update(fault.answer_headers)
        return response

    async def _garbage(self, call: Call, request: web.Request, fault: Fault) -> web.Response:
        self._carry_out(call, fault)
        return self._respond(request, (200, b"<html><body>Bad gateway</body></html>"))

    async def _truncated(
        self, call: Call, request: web.Request, fault: Fault
    ) -> web.StreamResponse:
        status, body = self._carry_out(call, fault)
        response = web.StreamResponse(status=status, headers=self._headers(request))
        response.content_length, response.content_type = len(body), JSON
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    # Everything else

    async def _steer(self, request: web.Request) -> web.Response:
        if not is_local(request):
            return self._respond(request, (403, error(403, "loopback only")))
        try:
            body = json.loads(await request.read() or b"{}")
            path = request.match_info["path"]
            told = self._control.answer(request.method, path, request.query, body)
            answer = 200, json.dumps(told).encode()
        except Refusal as refusal:
            answer = refusal.status, error(refusal.status, refusal.message)
        except ValueError:
            answer = 400, error(400, "the body is no JSON")
        self.save()
        return self._respond(request, answer)

    async def _unknown(self, request: web.Request) -> web.Response:
        message = f"Cannot {request.method} {request.path}"
        return self._respond(request, (404, error(404, message)))


Effect = Callable[..., Awaitable[web.StreamResponse]]
EFFECTS: dict[str, Effect] = {
    "": Server._plain,
    "arrive": Server._plain,
    "depart": Server._plain,
    "lost": Server._lost,
    "refuse": Server._refuse,
    "late": Server._late,
    "hang": Server._hang,
    "status": Server._status,
    "status_after": Server._status,
    "garbage": Server._garbage,
    "truncated": Server._truncated,
}


def is_local(request: web.Request) -> bool:
    """Whether a request comes from this machine."""
    return ip_address(request.remote or "0.0.0.0").is_loopback


def reset(request: web.Request) -> web.Response:
    """Cut the connection with a reset instead of an answer."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        # Linger of zero seconds: the peer sees a reset, not an orderly end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


def _disturb(world: World, call: Call, fault: Fault) -> bool:
    """Change a listing of stuck runs right after a page of it was answered."""
    stuck = [run for run in call.listed if run.origin == "stuck" and run.status in LIVE]
    if fault.effect == "depart":
        for run in stuck[: fault.count]:
            running.terminate(world, run, by="somebody")
    else:
        for _ in range(fault.count if stuck else 0):
            arriving.arrive_on_top(world, stuck[0].workspace_id)
    return bool(stuck)
