"""What writing activities costs a sweep: the same 200 moves with them and without.

Beside both runs of a pair a process seals what it finds once a second and at once, which is more
often and sooner than the tick does. Without activities there is nothing for it to seal.

`python -m tests.bench.bench_activity DRIVER …` is the process under measurement: `written` and
`unwritten` run the command that follows, `seal` seals until its input ends.
"""

import os
import resource
import select
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Any

from tests.bench.figures import Figure, report
from tests.bench.installation import ROOT, Installation, Swept, installation

MODULE = "tests.bench.bench_activity"  # whose name is another where it is run itself
WRITTEN, UNWRITTEN, SEAL = "written", "unwritten", "seal"
JOBS, RUNS, PAIRS, MOST_LOSS = 200, 200, 5, 10
OF_A_MOVE = 2  # planned, and ended
SEAL_SECONDS = 1.0


class Driven(Installation):
    """An installation whose sweep runs in a driver of this module."""

    driver = WRITTEN

    def _line(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", MODULE, self.driver, *arguments]

    @contextmanager
    def sealing(self) -> Iterator[None]:
        line = [sys.executable, "-m", MODULE, SEAL]
        with subprocess.Popen(
            line, cwd=ROOT, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin and process.stdout
            process.stdout.readline()  # it has started
            try:
                yield
            finally:
                process.stdin.close()

    def activities(self) -> tuple[int, int]:
        """Those of moves, and how many of them are sealed."""
        query = "SELECT count(*), count(position) FROM accounts_activity WHERE verb LIKE 'move.%'"
        with closing(sqlite3.connect(self.data_dir / "switchyard.sqlite3")) as database:
            count, sealed = database.execute(query).fetchone()
        return int(count), int(sealed)


@dataclass(frozen=True, slots=True)
class Run:
    """One sweep from nothing: how it went, and the activities of moves that it left."""

    swept: Swept
    written: int
    sealed: int
    cpu: float  # seconds of the sweep's process, with Python's start


def run(driver: str) -> Run:
    seed = {"jobs": JOBS, "runsPerJob": RUNS // JOBS, "healthyRuns": 20}
    with installation(seed) as found:
        driven = Driven(found.simulator, found.data_dir)
        driven.driver = driver
        with driven.sealing():
            before = _cpu()
            result = driven.sweep(120)
            cpu = _cpu() - before
        return Run(result, *driven.activities(), cpu)


def _cpu() -> float:
    """Seconds that processes have used which this one has started and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure() -> Iterator[Figure]:
    """In pairs, one after the other: what else the machine does comes and goes."""
    found: dict[str, list[Run]] = {WRITTEN: [], UNWRITTEN: []}
    for pair in range(PAIRS):
        for driver in (WRITTEN, UNWRITTEN) if pair % 2 else (UNWRITTEN, WRITTEN):
            found[driver].append(run(driver))
    name = f"{RUNS} runs in {JOBS} jobs"
    moved = min(one.swept.moved for runs in found.values() for one in runs)
    yield Figure(f"{name}: moved", moved, "runs", least=RUNS)
    least = min(one.written for one in found[WRITTEN])
    yield Figure(f"{name}: activities", least, "rows", least=RUNS * OF_A_MOVE)
    most = max(one.written for one in found[UNWRITTEN])
    yield Figure(f"{name}: activities, where none are written", most, "rows", most=0)
    sealed = median(one.sealed for one in found[WRITTEN])
    yield Figure(f"{name}: sealed meanwhile", sealed, "rows")
    for driver in found:
        rate = median(one.swept.rate for one in found[driver])
        yield Figure(f"{name}: speed, activities {driver}", rate, "moves/s")
        cpu = median(one.cpu for one in found[driver])
        yield Figure(f"{name}: processor, activities {driver}", cpu, "s")
    pairs = zip(found[WRITTEN], found[UNWRITTEN], strict=True)
    loss = median(1 - one.swept.rate / other.swept.rate for one, other in pairs)
    yield Figure("activities cost a sweep", 100 * loss, "% of its speed", most=MOST_LOSS)


# The processes under measurement


def drive(driver: str, arguments: list[str]) -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    if driver == SEAL:
        seal()
        return
    if driver == UNWRITTEN:
        write_nothing()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *arguments])


def seal() -> None:
    from accounts import sealing

    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], SEAL_SECONDS)[0]:
        sealing.seal(settled=timedelta(0))


def write_nothing() -> None:
    """In this process, nothing of an activity is made: not its change, not its row."""
    from accounts import activity
    from accounts.models.records import Activity, ActivityQuerySet

    def nothing(*_: Any, **__: Any) -> Activity:
        return blank

    def none(*_: Any, **__: Any) -> list[Activity]:
        return []

    blank = Activity()
    activity.build = activity.record = nothing
    ActivityQuerySet.bulk_create = none  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[1:2] in ([WRITTEN], [UNWRITTEN], [SEAL]):
        drive(sys.argv[1], sys.argv[2:])
        sys.exit()
    sys.exit(report(measure()))
