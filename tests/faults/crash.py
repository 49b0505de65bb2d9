"""`manage.py` that ends itself with SIGKILL at its n-th step, or whose leases are short.

A step is what others can see: a committed write, or a call to the remote. They are hooked at the
border to the libraries (the database's commit, the session's request), so that none is missed.

CRASH_AT and CRASH_HOW say where: `before` or `after` step n, or `during` the n-th call that changes
something, which is then on its way. LEASE_SECONDS shortens the leases; with STOP_AT the process
stands still (SIGSTOP) when it is about to send a call to such a path, and with STOP_AFTER when it
has already seen that there is time to. STANDSTILL_SECONDS is how long it outlives that. With
SUSPENDED it is the machine that stands still: then its monotonic clock does, too. CLOCK_AHEAD has
its wall clock that many seconds ahead.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django
import requests
import time_machine
from django.core.management import execute_from_command_line
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

ON_ITS_WAY_SECONDS = 0.02  # let the simulator's latency be several times that
WRITES = ("INSERT", "UPDATE", "DELETE")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Fuse:
    """Counts steps and dies at one of them."""

    def __init__(self, at: int, how: str) -> None:
        self.at, self.how, self.count = at, how, 0
        self.lock = threading.Lock()

    def step(self, act: Callable[[], Any]) -> Any:
        with self.lock:
            self.count += 1
            burns = self.count == self.at
        if burns and self.how == "before":
            die()
        if burns and self.how == "during":
            threading.Timer(ON_ITS_WAY_SECONDS, die).start()
        result = act()
        if burns and self.how == "after":
            die()
        return result


def lay(fuse: Fuse) -> None:
    """Have all steps go through the fuse."""
    send = requests.Session.send
    commit, execute = BaseDatabaseWrapper._commit, CursorWrapper.execute  # type: ignore[attr-defined]

    def called(self: requests.Session, request: requests.PreparedRequest, **kwargs: Any) -> Any:
        if fuse.how == "during" and request.method == "GET":
            return send(self, request, **kwargs)
        return fuse.step(lambda: send(self, request, **kwargs))

    def committed(self: BaseDatabaseWrapper) -> Any:
        return fuse.step(lambda: commit(self))

    def executed(self: CursorWrapper, sql: str, params: Any = None) -> Any:
        if not self.db.in_atomic_block and sql.startswith(WRITES):
            return fuse.step(lambda: execute(self, sql, params))
        return execute(self, sql, params)

    requests.Session.send = called  # type: ignore[method-assign]
    if fuse.how != "during":
        BaseDatabaseWrapper._commit = committed  # type: ignore[attr-defined]
        CursorWrapper.execute = executed  # type: ignore[method-assign,assignment]


def path_of(request: requests.PreparedRequest) -> str:
    return request.path_url.partition("?")[0]


def stop_before(path: str) -> None:
    send, clock = requests.Session.send, time.monotonic

    def called(self: requests.Session, request: requests.PreparedRequest, **kwargs: Any) -> Any:
        if path_of(request).endswith(path):
            before = clock()
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(0.1)  # the kernel may take a moment to stop this very thread
            if "SUSPENDED" in os.environ:
                away = clock() - before
                time.monotonic = lambda: clock() - away
        return send(self, request, **kwargs)

    requests.Session.send = called  # type: ignore[method-assign]


def stop_after(path: str) -> None:
    """Between the look at the clock and the first byte."""
    from config.base import outbound

    send, under_way = requests.Session.send, threading.local()

    def called(self: requests.Session, request: requests.PreparedRequest, **kwargs: Any) -> Any:
        under_way.path = path_of(request)
        return send(self, request, **kwargs)

    class Clock:
        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def time() -> float:
            now = time.time()
            if under_way.path.endswith(path):
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(0.1)
            return now

    requests.Session.send = called  # type: ignore[method-assign]
    outbound.time = Clock  # type: ignore[attr-defined,assignment]


def shorten_leases(seconds: float) -> None:
    from fallback import moving, relocating

    moving.LEASE = relocating.LEASE = timedelta(seconds=seconds)
    moving.MARGIN_SECONDS = seconds / 3


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    from config.base import deadman

    if "CRASH_AT" in os.environ:
        lay(Fuse(int(os.environ["CRASH_AT"]), os.environ["CRASH_HOW"]))
    if "CLOCK_AHEAD" in os.environ:
        ahead = timedelta(seconds=float(os.environ["CLOCK_AHEAD"]))
        time_machine.travel(ahead, tick=True).start()
    if "LEASE_SECONDS" in os.environ:
        shorten_leases(float(os.environ["LEASE_SECONDS"]))
    if "STOP_AT" in os.environ:
        stop_before(os.environ["STOP_AT"])
    if "STOP_AFTER" in os.environ:
        stop_after(os.environ["STOP_AFTER"])
    if "STANDSTILL_SECONDS" in os.environ:
        deadman.STANDSTILL_SECONDS = float(os.environ["STANDSTILL_SECONDS"])
    execute_from_command_line(["manage.py", *sys.argv[1:]])
