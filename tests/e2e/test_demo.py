"""`manage.py demo` with real processes: runs are moved once, whatever is killed."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fallback.moving import LEASE
from fallback.simulator.client import Simulator
from tests.needs import on_postgres

pytestmark = pytest.mark.skipif(on_postgres(), reason="the demo runs on SQLite: make test")
ROOT = Path(__file__).parents[2]
SIGNS = {
    "valkey": "valkey-server",
    "simulator": " truefoundry_simulator ",
    "web": "daphne",
    "worker": " worker ",
    "beat": " beat ",
}
LEFT_ALONE = 16  # the runs of the observed and of the paused workspace
SOAK_SECONDS = 300


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, RuntimeError, psutil.Error):
            if found := condition():
                return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


class Demo:
    """A demo on a directory of its own, with more to do in less time."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.seen: dict[int, psutil.Process] = {}
        self.environment = {
            # Another installation's settings: a demo must not listen to them.
            "DATABASE_URL": "postgres://nobody@localhost:1/none",
            "REDIS_URL": "redis://localhost:1/0",
            "TF_SERVICE_API_TOKEN": "somebody-elses",
            "JOB_FALLBACK_ENABLED": "false",
        }
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.log = self.data_dir / f"{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [
                    *(sys.executable, "manage.py", "demo"),
                    *("--sweep-seconds", "2", "--arrivals-per-minute", "60"),
                ],
                cwd=ROOT,
                env=os.environ | {"DATA_DIR": str(self.data_dir), "PORT": "0"} | self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(self.notes, 60, "it is prepared")

    @property
    def out(self) -> str:
        return self.log.read_text()

    def notes(self) -> Any:
        notes = json.loads((self.data_dir / "demo" / "demo.json").read_text())
        return notes if notes["complete"] else None

    @property
    def simulator(self) -> Simulator:
        return Simulator(port=self.notes()["simulator_port"])

    def moved(self) -> int:
        return int(self.simulator.verdict()["totals"].get("moved", 0))

    def children(self) -> dict[str, psutil.Process]:
        assert self.popen is not None
        parent = psutil.Process(self.popen.pid)
        self.seen |= {process.pid: process for process in parent.children(recursive=True)}
        lines = {process: f"{' '.join(process.cmdline())} " for process in parent.children()}
        return {
            name: process
            for name, sign in SIGNS.items()
            for process, line in lines.items()
            if sign in line
        }

    def wait_until_up(self, seconds: float = 20) -> dict[str, psutil.Process]:
        return until(lambda: len(found := self.children()) == 5 and found, seconds, "all five run")

    def answers(self) -> bool:
        address = re.search(r"http://127\.0\.0\.1:\d+/", self.out)
        assert address is not None
        with urllib.request.urlopen(f"{address[0]}api/health", timeout=2) as reply:
            told = json.load(reply)
        return bool(told["database"] == told["broker"] == "ok")

    def kill(self, name: str) -> None:
        """kill -9, wait until it is back, and see that the work goes on."""
        victim = self.wait_until_up()[name]
        victim.kill()
        until(lambda: self.children().get(name, victim) != victim, 40, f"{name} is back")
        before = until(self.moved, 40, "the simulator answers")
        until(lambda: self.moved() >= before + 2, 60, f"moves succeed after kill -9 of {name}")

    def end(self) -> None:
        """SIGTERM, and nothing is left."""
        assert self.popen is not None
        self.children()
        self.popen.send_signal(signal.SIGTERM)
        assert self.popen.wait(timeout=20) == 0, self.out
        assert [process for process in self.seen.values() if process.is_running()] == []
        self.popen = None

    def clean_up(self) -> None:
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()
        for process in self.seen.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture
def demo() -> Iterator[Demo]:
    data_dir = Path(tempfile.mkdtemp(prefix="swy-demo-"))
    demo = Demo(data_dir)
    try:
        yield demo
    finally:
        demo.clean_up()
        shutil.rmtree(data_dir)


def settled(simulator: Simulator) -> dict[str, Any]:
    """The verdict once no more runs arrive and all are where they belong.

    What a killed worker held is taken up when its lease is over; with `Directly` such a run may
    have been ended already, and counts as lost until then.
    """
    simulator.arrivals(0)

    def nothing_under_way() -> dict[str, Any] | None:
        verdict = simulator.verdict()
        totals = dict(verdict["totals"])
        totals.pop("moved", 0)
        return verdict if totals == {"waiting": LEFT_ALONE} else None

    try:
        return dict(until(nothing_under_way, LEASE.total_seconds() + 30, "everything is moved"))
    except AssertionError:
        return simulator.verdict()


def exactly_once(verdict: dict[str, Any]) -> bool:
    wrong = {
        name: found
        for name, found in verdict.items()
        if name not in ("totals", "runs") and found != []
    }
    outcomes = verdict["totals"].keys() - {"moved", "waiting"}
    assert not wrong and not outcomes, (wrong, verdict["totals"])
    return bool(verdict["totals"]["waiting"] == LEFT_ALONE)


@pytest.mark.faults
def test_runs_are_moved_once_whatever_is_killed_and_a_second_start_goes_on(demo: Demo) -> None:
    began = time.monotonic()
    demo.start()
    until(lambda: demo.moved() >= 16, 90 - (time.monotonic() - began), "the first are moved")
    until(demo.answers, 40, "the site answers")
    for name in SIGNS:
        demo.kill(name)
    until(demo.answers, 40, "the site answers")
    first, moved = demo.notes(), demo.moved()
    out = demo.out
    assert re.search(r"moves +\| [\d:]+  \S+ +source-1:\S+ → spare-\d:\S+  Succeeded in", out)
    assert out.count("killed by SIGKILL") == len(SIGNS), out
    demo.end()

    file = demo.data_dir / "demo" / "demo.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for name, password in first["passwords"].items():
        assert re.search(rf"{name}@example\.org +{re.escape(password)} ", out)
    demo.start()
    assert demo.notes() == first
    until(lambda: demo.moved() >= moved + 3, 60, "it goes on from the same data")
    demo.wait_until_up()
    assert exactly_once(settled(demo.simulator)), demo.out
    assert "Traceback" not in demo.out
    demo.end()


@pytest.mark.soak
def test_for_minutes_with_something_killed_all_the_time(demo: Demo) -> None:
    demo.start()
    until(lambda: demo.moved() >= 16, 60, "the first are moved")
    deadline = time.monotonic() + SOAK_SECONDS
    while time.monotonic() < deadline:
        for victim in demo.children().values():
            if random.random() < 0.3:
                victim.kill()
        time.sleep(random.uniform(1, 15))
    demo.wait_until_up(40)  # what dies often comes back after half a minute
    before = until(demo.moved, 40, "the simulator answers")
    until(lambda: demo.moved() > before, 60, "moves go on")
    assert exactly_once(settled(demo.simulator)), demo.out
    demo.end()
