"""The arguments of the command, and what it does from its start to a signal."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path

from . import arriving
from .api import PREFIX
from .records import Json
from .seeding import Wish, seed
from .server import Server
from .settings import SERVICE, USER, Settings
from .store import Store
from .world import World

PR_SET_PDEATHSIG = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, for the management command and for `python -m` alike."""
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0 takes a free one")
    add("--token", action="append", metavar="T", help="a service token (repeatable)")
    add("--user-token", action="append", metavar="T", help="a person's token (repeatable)")
    add("--latency-ms", type=float, help="added to every call")
    add("--rollout-seconds", type=float, help="how long a version takes to become active")
    add("--jobs", type=int, default=0, help="seed so many jobs, unless the state has some")
    add("--runs", type=int, default=2, help="stuck runs for each of them")
    add("--arrivals-per-minute", type=float, default=0, help="stuck runs that keep arriving")
    add("--state", type=Path, metavar="FILE", help="keep the world in this file")
    add("--port-file", type=Path, metavar="FILE", help="write the port here once listening")
    add("--seed-random", type=int, metavar="N", help="the same ids and names every time")
    add("--parent", type=int, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    if options.parent:
        _end_with(options.parent)
    asyncio.run(_serve(options))


async def _serve(options: argparse.Namespace) -> None:
    world = World(Settings(), seed=options.seed_random)
    store = Store(options.state) if options.state else None
    loaded = store.load(world) if store else False
    world.settings.update(_asked(options))
    if not loaded:
        _fill(world, options)
    server = Server(world, store)
    stop = _stopped_by_signal()
    runner, port = await server.start(options.host, options.port)
    _announce(options, port)
    while not stop.is_set():
        server.save()
        await _wait_for(stop, seconds=1)
    await runner.cleanup()
    world.settle()
    server.save()
    if store:
        store.close()


def _asked(options: argparse.Namespace) -> Json:
    """The settings that the command line names; those of a loaded state stay otherwise."""
    asked: Json = {}
    if options.latency_ms is not None:
        asked["latencyMs"] = options.latency_ms
    if options.rollout_seconds is not None:
        asked["rolloutSeconds"] = options.rollout_seconds
    service, user = options.token or [], options.user_token or []
    if service or user:
        asked["tokens"] = [{"token": token, "kind": SERVICE} for token in service]
        asked["tokens"] += [{"token": token, "kind": USER} for token in user]
    return asked


def _fill(world: World, options: argparse.Namespace) -> None:
    if options.jobs:
        made = seed(world, Wish(jobs=options.jobs, runs_per_job=options.runs))
        if options.arrivals_per_minute:
            workspace_id = made["source"]["workspaceId"]
            arriving.keep_arriving(world, workspace_id, options.arrivals_per_minute)


def _stopped_by_signal() -> asyncio.Event:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _wait_for(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _announce(options: argparse.Namespace, port: int) -> None:
    sys.stdout.write(f"TrueFoundry simulator on http://{options.host}:{port}{PREFIX}\n")
    sys.stdout.flush()
    if options.port_file:
        # Renamed into place, so that nobody reads half a number.
        draft = options.port_file.with_name(options.port_file.name + ".new")
        draft.write_text(f"{port}\n")
        draft.replace(options.port_file)


def _end_with(parent: int) -> None:
    """Have the kernel end this process when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            sys.exit()
