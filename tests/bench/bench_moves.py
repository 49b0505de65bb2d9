"""Moves: how fast, with how many requests and how much memory, and whether each is exact.

The remote takes 20 ms for every call. The service that Switchyard replaces does the same work at
9 moves/s without its sleep, and at 0.19 as shipped.
"""

import sys
from collections.abc import Iterator
from statistics import mean, median

from tests.bench.figures import Figure, report
from tests.bench.installation import Swept, swept

OLD_AS_SHIPPED, OLD_WITHOUT_SLEEP = 0.19, 9.0
REPEATED, LARGE_TIMEOUT = 5, 1200


def small(jobs: int, least_rate: float | None, most_requests: float) -> Iterator[Figure]:
    """Several times, each from nothing: a few seconds are easily disturbed."""
    name = f"200 runs in {jobs} jobs"
    results = [swept(jobs, 200) for _ in range(REPEATED)]
    yield from exactness(name, results, 200)
    rate, wall = median(r.rate for r in results), median(r.wall for r in results)
    yield Figure(f"{name}: speed", rate, "moves/s", least=least_rate)
    requests = max(r.requests for r in results)
    yield Figure(f"{name}: requests", requests, "a move", most=most_requests)
    yield Figure(f"{name}: most calls at once", max(r.stats["peakConcurrent"] for r in results))
    yield Figure(f"{name}: peak memory", max(r.memory for r in results), "MiB")
    yield Figure(f"{name}: with Python's start", wall, "s")


def large(jobs: int) -> Iterator[Figure]:
    """Compared with a tenth of it, before and after: what else the machine does comes and goes."""
    name = f"10,000 runs in {jobs} jobs"
    before = swept(jobs, 1000, LARGE_TIMEOUT)
    result = swept(jobs, 10_000, LARGE_TIMEOUT)
    base = mean([before.rate, swept(jobs, 1000, LARGE_TIMEOUT).rate])
    yield from exactness(name, [result], 10_000)
    yield Figure(f"1,000 runs in {jobs} jobs: speed", base, "moves/s")
    yield Figure(f"{name}: speed", result.rate, "moves/s")
    yield Figure(f"{name}: of the speed with 1,000", result.rate / base, least=0.7)
    yield Figure(f"{name}: requests", result.requests, "a move")
    yield Figure(f"{name}: peak memory", result.memory, "MiB", most=300)


def exactness(name: str, results: list[Swept], runs: int) -> Iterator[Figure]:
    moved = min(result.moved for result in results)
    yield Figure(f"{name}: moved exactly once, unchanged", moved, "runs", least=runs)
    yield Figure(f"{name}: mistakes", sum(result.mistakes for result in results), most=0)
    yield Figure(f"{name}: exit code", max(result.code for result in results), most=0)


def old_service() -> Iterator[Figure]:
    yield Figure("the old service, as shipped (known)", OLD_AS_SHIPPED, "moves/s")
    yield Figure("the old service, without its sleep (known)", OLD_WITHOUT_SLEEP, "moves/s")


def measure() -> Iterator[Figure]:
    yield from old_service()
    yield from small(jobs=200, least_rate=80, most_requests=4.2)
    yield from small(jobs=10, least_rate=None, most_requests=2.3)
    yield from large(jobs=10)
    yield from large(jobs=200)


if __name__ == "__main__":
    sys.exit(report(measure()))
