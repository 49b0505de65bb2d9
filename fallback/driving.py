"""Drives many journeys at once: threads do the network, this thread does the database.

A journey is a generator that tells what it needs next:

- `Record(change)`: commit it, answered with an `Outcome`; commits are grouped;
- `Call(run)`: run it in a thread of the pool, answered with its result or its exception;
- `Shared(key, make)`: run the journey `make()` once for all who ask for `key` now; with
  `wait=False` it is only begun;
- `Hold(key)`: go on when nobody else here holds `key`; held until the journey ends.

So a journey reads from top to bottom, every row is written by one thread over one connection, and
nothing is sent before what announces it is committed.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from config.base import outbound
from fallback.recording import Change, commit

log = structlog.get_logger(__name__)
GRACE_SECONDS = 12.0  # past the deadline, what was announced may still be sent


@dataclass(slots=True)
class Record:
    """`intent`: a call follows that this announces. Past the deadline it is not begun."""

    change: Change
    intent: bool = False


@dataclass(slots=True)
class Call:
    run: Callable[[], Any]


@dataclass(slots=True)
class Shared:
    key: Hashable
    make: Callable[[], "Journey"]
    wait: bool = True


@dataclass(slots=True)
class Hold:
    key: Hashable


Journey = Generator[Record | Call | Shared | Hold, Any, Any]


class Stop(Exception):
    """Thrown into a journey where it can be left: time is up, or its lease has run out."""


@dataclass(slots=True, eq=False)
class Task:
    """A journey under way. `must_end` (time.monotonic) is when its lease no longer protects it."""

    journey: Journey
    must_end: float
    on_fault: Callable[[Exception], None]
    key: Hashable = None
    holds: Hashable = None
    waiters: "list[Task] | None" = None


class Driver:
    """Runs journeys until there are no more, or until time is up and those begun are safe."""

    def __init__(self, concurrency: int, deadline: float) -> None:
        # Enough that the pool has calls to make while this thread commits.
        self._limit = 4 * concurrency
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="fallback")
        self._deadline = deadline
        self._ready: deque[tuple[Task, Any, BaseException | None]] = deque()
        self._done: SimpleQueue[tuple[Task, Future[Any]]] = SimpleQueue()
        self._shared: dict[Hashable, Task] = {}
        self._held: dict[Hashable, deque[Task]] = {}
        self._records: list[tuple[Task, Change]] = []
        self._calling = 0
        self.active = 0
        self.peak = 0

    @property
    def room(self) -> int:
        """How many more journeys it makes sense to begin now."""
        return 0 if self.expired else max(0, self._limit - self.active)

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self._deadline

    def begin(
        self, journey: Journey, must_end: float, on_fault: Callable[[Exception], None]
    ) -> None:
        """Add a journey. `on_fault` hears of an exception that it did not expect."""
        self.active += 1
        self._ready.append((Task(journey, must_end, on_fault), None, None))

    def run(self, refill: Callable[[int], object]) -> None:
        """Drive until `refill(room)`, which begins more journeys, finds none and all have ended."""
        try:
            while True:
                if self.room >= self._limit // 2:
                    refill(self.room)
                if not self.active:
                    return
                self._turn()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _turn(self) -> None:
        while self._ready:
            self._advance(*self._ready.popleft())
        if self._records:
            batch, self._records = self._records, []
            outcomes = commit([change for _, change in batch])
            self._ready.extend(
                (task, outcome, None) for (task, _), outcome in zip(batch, outcomes, strict=True)
            )
            self._collect(block=False)
        elif self._calling:
            self._collect(block=True)

    def _collect(self, block: bool) -> None:
        try:
            while True:
                task, future = self._done.get(block=block)
                block = False
                self._calling -= 1
                error = future.exception()
                self._ready.append((task, None if error else future.result(), error))
        except Empty:
            pass

    def _advance(self, task: Task, value: Any, error: BaseException | None) -> None:
        """Hand `value` or `error` to the journey and arrange what it asks for next."""
        try:
            asked = task.journey.throw(error) if error else task.journey.send(value)
            if isinstance(asked, Record) and asked.intent and self._too_late(task):
                asked = task.journey.throw(Stop())
            self._arrange(task, asked)
        except StopIteration as end:
            self._ended(task, end.value, None)
        except Stop as stop:
            self._ended(task, None, stop)
        except Exception as fault:
            if task.waiters is None:
                log.exception("journey_fault", error=type(fault).__name__)
                task.on_fault(fault)
            self._ended(task, None, fault)

    def _too_late(self, task: Task) -> bool:
        return self.expired or time.monotonic() > task.must_end

    def _arrange(self, task: Task, asked: Any) -> None:
        if isinstance(asked, Record):
            self._records.append((task, asked.change))
        elif isinstance(asked, Call):
            self._calling += 1
            self.peak = max(self.peak, self._calling)
            latest = min(task.must_end, self._deadline + GRACE_SECONDS)
            wall = time.time() + latest - time.monotonic()
            future = self._pool.submit(_guarded, asked.run, latest, wall)
            future.add_done_callback(lambda done: self._done.put((task, done)))
        elif isinstance(asked, Shared):
            leader = self._shared.get(asked.key)
            if leader is None:
                leader = Task(asked.make(), task.must_end, task.on_fault, asked.key, None, [])
                self._shared[asked.key] = leader
                self._ready.append((leader, None, None))
            if not asked.wait:
                self._ready.append((task, None, None))
            elif leader.waiters is not None:
                leader.waiters.append(task)
        elif isinstance(asked, Hold):
            queue = self._held.setdefault(asked.key, deque())
            if task.holds is not None:
                raise RuntimeError("a journey holds one key at most")
            task.holds = asked.key
            queue.append(task)
            if len(queue) == 1:
                self._ready.append((task, None, None))
        else:
            raise TypeError(f"a journey asked for {asked!r}")

    def _ended(self, task: Task, value: Any, error: BaseException | None) -> None:
        if task.holds is not None:
            queue = self._held[task.holds]
            queue.remove(task)
            if queue:
                self._ready.append((queue[0], None, None))
            else:
                del self._held[task.holds]
        if task.waiters is None:
            self.active -= 1
            return
        del self._shared[task.key]
        self._ready.extend((waiter, value, error) for waiter in task.waiters)


def _guarded(run: Callable[[], Any], latest: float, wall: float) -> Any:
    # A process or machine that stood still for minutes must not send what somebody else has taken
    # over, and where every call hangs, those that wait for a thread must not outlast the task.
    if time.monotonic() > latest:
        raise Stop()
    try:
        with outbound.not_after(latest, wall):
            return run()
    except outbound.TooLate:
        raise Stop() from None
