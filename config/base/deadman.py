"""A process that stands still is ended by the kernel before it acts on what it once knew.

Before each call that only one may make we look at the clock: our lease must still run. But a
process may be stopped (SIGSTOP, a frozen container) between that look and the call, and go on
minutes later, when somebody else has done its work. So the kernel keeps a timer that a thread winds
up again and again. When nobody does, its SIGKILL ends the process with all its threads, a stopped
one, too, before another line of it runs: see timer_create(2). Time that the machine sleeps counts.
"""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# At most this long after its last look at the clock a process still acts. Leases leave room for it.
STANDSTILL_SECONDS = 15.0
WINDINGS = 15
SIGEV_SIGNAL = 0

_libc = ctypes.CDLL(None, use_errno=True)


class _Event(ctypes.Structure):
    """struct sigevent, of 64 bytes."""

    _fields_ = [
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    ]


class _Spec(ctypes.Structure):
    """struct itimerspec: the interval (none), then the time until it ends."""

    _fields_ = [(name, ctypes.c_long) for name in ("every", "every_ns", "seconds", "nanoseconds")]


class _Timer:
    """Kills this process when it is not wound up for STANDSTILL_SECONDS."""

    def __init__(self) -> None:
        self._id = ctypes.c_void_p()
        event = _Event(signo=signal.SIGKILL, notify=SIGEV_SIGNAL)
        args = (time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._id))
        _checked(_libc.timer_create(*args))
        self.wind()

    def wind(self) -> None:
        spec = _Spec(0, 0, *map(int, divmod(STANDSTILL_SECONDS * 10**9, 10**9)))
        _checked(_libc.timer_settime(self._id, 0, ctypes.byref(spec), None))

    def end(self) -> None:
        _checked(_libc.timer_delete(self._id))


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


_lock = threading.Lock()
_inside = 0
_done = threading.Event()
_winder: threading.Thread


@contextmanager
def switch() -> Iterator[None]:
    """Inside, the process does not outlive a standstill. May be nested, and used by threads."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _winder, _done
    with _lock:
        if not _inside:
            timer, _done = _Timer(), threading.Event()
            _winder = threading.Thread(target=_keep, args=(timer, _done), daemon=True)
            _winder.start()
        _inside += 1  # last, so that without a timer nobody is let in, now or later


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if not _inside:
            _done.set()
            _winder.join()


def _keep(timer: _Timer, done: threading.Event) -> None:
    while not done.wait(STANDSTILL_SECONDS / WINDINGS):
        timer.wind()
    timer.end()
