"""Keeps processes running: starts, prefixes their output, restarts with backoff, ends all.

Only that. Whoever wants more (several machines, limits, users) runs the lines of the Procfile
under systemd, a container platform, or anything else.
"""

import ctypes
import fcntl
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import IO

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
SETTLED_SECONDS = 60.0  # having lived that long, a process starts again with the first delay
GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93)
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent(number: int) -> None:
    """Have the kernel send signal `number` to this process when its parent ends, however."""
    _libc.prctl(PR_SET_PDEATHSIG, number)


@dataclass
class Process:
    """A command to keep running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    popen: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)
    start_at: float = field(default=0.0, init=False)
    delay: float = field(default=FIRST_DELAY, init=False)
    rest: bytes = field(default=b"", init=False)

    def start(self) -> None:
        self.started_at = time.monotonic()
        supervisor = os.getpid()

        def in_child() -> None:
            # SIGKILL: whatever it is doing, nobody will be there to end it later.
            die_with_parent(signal.SIGKILL)
            if os.getppid() != supervisor:  # ended between the fork and the line above
                os._exit(1)

        self.popen = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | dict(self.environment),
            process_group=0,
            preexec_fn=in_child,  # safe: the supervisor has one thread
        )

    def ended(self) -> int | None:
        """The exit status once it has ended (negative: the signal), with its group ended, too."""
        if self.popen is None or not _has_ended(self.popen.pid):
            return None
        self.kill()  # not yet reaped, so the group's number is still its own
        return self.popen.wait()

    def terminate(self) -> None:
        """Ask it to end. It alone: a Celery worker lets its pool finish what it is doing."""
        if self.popen is not None:
            self.popen.terminate()

    def kill(self) -> None:
        """End it and whatever it has started."""
        if self.popen is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)

    def next_delay(self, now: float) -> float:
        """How long to wait before the next start."""
        if now - self.started_at >= SETTLED_SECONDS:
            self.delay = FIRST_DELAY
        delay = self.delay
        self.delay = min(delay * 2, LONGEST_DELAY)
        return delay


class Supervisor:
    """Runs `processes` until SIGINT, SIGTERM or `stop()`. Call it in the main thread."""

    def __init__(self, processes: Sequence[Process], out: IO[str] | None = None) -> None:
        self.processes = list(processes)
        self._out = out or sys.stdout
        self._colours = self._out.isatty()
        self._width = max(len("up"), *(len(process.name) for process in processes), 0)
        self._selector = selectors.DefaultSelector()
        self._stopping = False

    def stop(self, *_: int | FrameType | None) -> None:
        self._stopping = True

    def run(self, on_tick: Callable[[], None] | None = None) -> None:
        """Keep all running; `on_tick` is called about ten times a second."""
        handlers = {
            number: signal.signal(number, self.stop) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            while not self._stopping:
                self._start_due()
                self._pass_on(0.1)
                self._restart_ended()
                if on_tick is not None:
                    on_tick()
        finally:
            self._end_all()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def say(self, text: str, name: str = "up") -> None:
        """Write one line, prefixed."""
        prefix = f"{name:<{self._width}} | "
        if self._colours:
            names = [process.name for process in self.processes]
            colour = COLOURS[names.index(name) % len(COLOURS)] if name in names else 90
            prefix = f"\033[{colour}m{prefix}\033[0m"
        try:
            self._out.write(f"{prefix}{text}\n")
            self._out.flush()
        except (OSError, ValueError):  # nobody reads any more, as in `up | head`
            self._stopping = True

    def _start_due(self) -> None:
        now = time.monotonic()
        for process in self.processes:
            if process.popen is None and process.start_at <= now:
                self._start(process)

    def _start(self, process: Process) -> None:
        try:
            process.start()
        except OSError as error:
            self._again_later(process, f"did not start: {error.strerror}")
            return
        assert process.popen is not None and process.popen.stdout is not None
        pipe = process.popen.stdout
        flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        self._selector.register(pipe, selectors.EVENT_READ, process)

    def _restart_ended(self) -> None:
        for process in self.processes:
            status = process.ended()
            if status is None or self._stopping:
                continue
            self._close(process)
            how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit {status}"
            self._again_later(process, f"ended ({how})")

    def _again_later(self, process: Process, what: str) -> None:
        now = time.monotonic()
        delay = process.next_delay(now)
        process.popen, process.start_at = None, now + delay
        self.say(f"{what}; starting again in {delay:g} s", process.name)

    def _pass_on(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            self._read(key.data)

    def _read(self, process: Process) -> bool:
        """Write what has come; False where there is no more."""
        assert process.popen is not None and process.popen.stdout is not None
        try:
            chunk = os.read(process.popen.stdout.fileno(), 65536)
        except BlockingIOError:
            return False
        if not chunk:
            self._selector.unregister(process.popen.stdout)
            return False
        *lines, process.rest = (process.rest + chunk).split(b"\n")
        for line in lines:
            self.say(line.decode(errors="replace").rstrip("\r"), process.name)
        return True

    def _close(self, process: Process) -> None:
        """Its last words, then the pipe."""
        assert process.popen is not None and process.popen.stdout is not None
        pipe = process.popen.stdout
        while pipe in self._registered() and self._read(process):
            pass
        if process.rest:
            self.say(process.rest.decode(errors="replace"), process.name)
            process.rest = b""
        if pipe in self._registered():
            self._selector.unregister(pipe)
        pipe.close()

    def _registered(self) -> set[object]:
        return {key.fileobj for key in self._selector.get_map().values()}

    def _end_all(self) -> None:
        """The broker last: the others still talk to it while they end."""
        running = [process for process in self.processes if process.popen is not None]
        self._end([process for process in running if process.name != "valkey"])
        self._end([process for process in running if process.name == "valkey"])

    def _end(self, running: list[Process]) -> None:
        for process in running:
            process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        killed = False
        while running:
            self._pass_on(0.05)
            for process in list(running):
                if process.ended() is not None:
                    self._close(process)
                    process.popen = None
                    running.remove(process)
            if not killed and time.monotonic() > deadline:
                killed = True
                for process in running:
                    self.say("did not end in time; killing it", process.name)
                    process.kill()


def _has_ended(pid: int) -> bool:
    """Without reaping it: until then nobody else can get its number."""
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return found is not None
