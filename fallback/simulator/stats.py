"""What the simulator was asked: counts, and a log of the calls that change something."""

from __future__ import annotations

import time
from collections import Counter, deque
from itertools import count

from .records import Json

LOG_LENGTH = 2000


class Stats:
    """Counts of the vendor's calls since the start or the last reset."""

    def __init__(self) -> None:
        self._concurrent = 0
        self.reset()

    def reset(self) -> None:
        self._by_call: Counter[str] = Counter()
        self._by_status: Counter[str] = Counter()
        self._first = self._last = 0.0
        self._peak = self._concurrent
        self._second = (0, 0)
        self._best_second = 0

    def begin(self, call: str) -> None:
        self._last = time.monotonic()
        self._first = self._first or self._last
        self._by_call[call] += 1
        self._concurrent += 1
        self._peak = max(self._peak, self._concurrent)
        second, seen = self._second
        self._second = (int(self._last), seen + 1 if second == int(self._last) else 1)
        self._best_second = max(self._best_second, self._second[1])

    def end(self, status: str) -> None:
        self._last = time.monotonic()
        self._by_status[status] += 1
        self._concurrent -= 1

    def to_json(self) -> Json:
        requests, seconds = self._by_call.total(), self._last - self._first
        return {
            "requests": requests,
            "byCall": dict(self._by_call),
            "byStatus": dict(self._by_status),
            "concurrent": self._concurrent,
            "peakConcurrent": self._peak,
            "seconds": round(seconds, 3),
            "perSecond": round(requests / seconds, 1) if seconds else 0,
            "peakPerSecond": self._best_second,
        }


class Log:
    """The last calls that change something, numbered without a gap."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._rows: deque[Json] = deque(maxlen=LOG_LENGTH)

    def write(self, row: Json) -> None:
        self._rows.append({"seq": next(self._numbers), **row})

    def after(self, seq: int) -> Json:
        return {"log": [row for row in self._rows if row["seq"] > seq]}
