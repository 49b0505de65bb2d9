"""`manage.py up` with real processes: all come up, what dies comes back, nothing is left behind."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest

from config.environment import embedded_socket
from config.processes import FIRST_DELAY, SETTLED_SECONDS, Process, Supervisor

ROOT = Path(__file__).parents[2]
NAMES = ("valkey", "web", "worker", "beat")
SIGNS = {"valkey": "valkey-server", "web": "daphne", "worker": " worker ", "beat": " beat"}


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            if found := condition():
                return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


class Running:
    """A `manage.py up` on a data directory and a port of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.port = free_port()
        # SQLite, whatever the other tests run on: its own data directory is its own database.
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        self.environment = kept | {"DATA_DIR": str(data_dir), "PORT": str(self.port)}
        self.log = data_dir / "up.log"
        self.manage("migrate", "--verbosity", "0")
        self.seen: dict[int, psutil.Process] = {}
        self.popen = self.up()
        self.process = psutil.Process(self.popen.pid)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def up(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def children(self) -> dict[str, psutil.Process]:
        """The direct children by name; one that is not running now is missing."""
        self.seen |= {process.pid: process for process in self.process.children(recursive=True)}
        lines = {process: f"{' '.join(process.cmdline())} " for process in self.process.children()}
        return {
            name: process
            for name in NAMES
            for process, line in lines.items()
            if SIGNS[name] in line
        }

    def health(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/health", timeout=2) as reply:
            return str(json.load(reply)["status"])

    def wait_until_up(self) -> dict[str, psutil.Process]:
        until(lambda: self.health() == "ok", 60, "the health endpoint says ok")
        until(lambda: len(self.process.children(recursive=True)) == 6, 60, "pool of two")
        return until(lambda: len(found := self.children()) == 4 and found, 60, "all four run")

    def left(self) -> list[psutil.Process]:
        """What of all that ever ran under it still runs."""
        return [
            process
            for process in self.seen.values()
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ]

    def end(self) -> None:
        for process in [self.process, *self.left()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.popen.wait()


@pytest.fixture
def running() -> Iterator[Running]:
    # Short, and not pytest's own directory: a Unix socket's path ends at 107 bytes.
    data_dir = Path(tempfile.mkdtemp(prefix="swy-up-"))
    running = Running(data_dir)
    try:
        yield running
    finally:
        running.end()
        shutil.rmtree(data_dir)
        shutil.rmtree(embedded_socket(data_dir).parent, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_is_killed_comes_back_and_sigterm_ends_all(running):
    first = running.wait_until_up()
    for process in first.values():
        process.kill()

    def all_are_new() -> bool:
        now = running.children()
        return all(now.get(name, first[name]) != first[name] for name in NAMES)

    until(all_are_new, 30, "all four run again")
    running.wait_until_up()

    second = running.manage("up")
    assert second.returncode == 1
    assert f"Port {running.port} on 127.0.0.1 is taken" in second.stderr

    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.popen.wait(timeout=15) == 0
    assert time.monotonic() - began < 10
    assert running.left() == []
    text = running.log.read_text()
    assert "ended (killed by SIGKILL); starting again in 0.5 s" in text
    assert "did not end in time" not in text


def test_killing_up_itself_leaves_no_orphan(running):
    running.wait_until_up()
    assert len(running.seen) == 6
    running.process.kill()
    running.popen.wait()
    until(lambda: not running.left(), 5, "all are gone")


def test_it_refuses_without_migrations(tmp_path):
    result = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env={n: v for n, v in os.environ.items() if n != "DATABASE_URL"}
        | {"DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert "manage.py migrate" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_procfile_lists_the_same_commands(settings):
    from config.management.commands.up import standard_processes

    settings.HOST, settings.PORT = "127.0.0.1", 3000
    lines = (ROOT / "Procfile").read_text().splitlines()
    listed = {}
    for line in lines:
        name, _, command = line.partition(": ")
        for default in ("${HOST:-127.0.0.1}", "${PORT:-3000}"):
            command = command.replace(default, default[1:-1].partition(":-")[2])
        listed[name] = command.removeprefix("python -m ").split()
    assert listed == {process.name: list(process.command)[2:] for process in standard_processes()}


class TestSupervisor:
    def run_until(self, told: str, *processes: Process) -> str:
        """What it has told once `told` is part of it, or after 20 s."""
        out = StringIO()
        supervisor = Supervisor(processes, out)
        end = time.monotonic() + 20

        def stop_in_time() -> None:
            if told in out.getvalue() or time.monotonic() > end:
                supervisor.stop()

        supervisor.run(on_tick=stop_in_time)
        return out.getvalue()

    def test_it_prefixes_lines_whole_and_with_the_name(self):
        script = "printf 'on'; sleep 0.2; printf 'e\\ntwo'"
        out = self.run_until(
            "two\n", Process("a", ["sh", "-c", script]), Process("long", ["sleep", "9"])
        )
        assert "a    | one\n" in out
        assert "a    | two\n" in out

    def test_it_tells_why_a_process_ended_and_waits_longer_each_time(self):
        out = self.run_until(
            "again in 1 s\n", Process("a", ["sh", "-c", "exit 3"]), Process("b", ["/missing"])
        )
        assert "a  | ended (exit 3); starting again in 0.5 s\n" in out
        assert "a  | ended (exit 3); starting again in 1 s\n" in out
        assert "b  | did not start: No such file or directory; starting again in 0.5 s\n" in out

    def test_the_delay_doubles_to_half_a_minute_and_starts_anew_after_a_minute_of_life(self):
        process = Process("a", ["true"])
        process.started_at = 1000.0
        assert [process.next_delay(1001.0) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
        assert process.next_delay(1000.0 + SETTLED_SECONDS) == FIRST_DELAY

    def test_what_ignores_sigterm_is_killed_with_its_children(self, monkeypatch):
        monkeypatch.setattr("config.processes.GRACE_SECONDS", 0.3)
        # A number of seconds that no other process sleeps.
        script = "trap '' TERM; echo deaf; sleep 98765.25 & while true; do sleep 0.1; done"
        out = self.run_until("| deaf\n", Process("deaf", ["bash", "-c", script]))
        assert "deaf | did not end in time; killing it\n" in out
        lines = [
            " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
        ]
        assert "sleep 98765.25" not in lines
