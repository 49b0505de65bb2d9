"""The API's lists with 100,000 moves and 1,000 configs, over HTTP from a real server.

Asked by somebody in one organization (nine tenths of the rows), somebody in three, and a superuser.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from config.environment import embedded_socket
from tests.bench.figures import Figure, report
from tests.bench.installation import KEPT, ROOT

TIMES, MOST_MS = 20, 200.0
PEOPLE = {"one": "1 organization", "three": "3 organizations", "all": "superuser"}
LISTS = (
    "moves",
    "moves?offset=50000",
    "moves?state=NeedsAttention&state=Failed",
    "moves?open=true",
    "moves?jobName=train-5",
    "moves?sourceRunId=run-777",
    "moves?search=train-17",
    "moves?search=nothing",
    "moves?ordering=jobName",
    "moves?ordering=-updatedAt",
    "moves?createdAfter=2026-01-01T00:00:00Z",
    "fallback-configs",
    "fallback-configs?search=team-77",
    "fallback-configs?needsRepair=false",
    "sweeps",
    "sweeps?offset=10000",
    "activity",
    "activity?verb=move.planned",
    "activity?search=nothing",
    "connections",
    "pauses",
)


@dataclass(frozen=True, slots=True)
class Served:
    """A filled installation behind daphne, beside an embedded Valkey."""

    url: str
    tokens: dict[str, str]  # of who asks
    sessions: dict[str, str]  # the same people's cookies
    rows: dict[str, str]  # ids of some that have pages
    environment: dict[str, str]


@contextmanager
def served() -> Iterator[Served]:
    data_dir = Path(tempfile.mkdtemp(prefix="swy-api-"))
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {
        "ENV_FILE": "none",
        "DATA_DIR": str(data_dir),
        "LOG_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore",
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True
        )
        return done.stdout.decode()

    @contextmanager
    def process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        started = subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, env=environment)
        try:
            yield started
        finally:
            started.terminate()
            started.wait(timeout=10)

    try:
        run("manage.py", "migrate", "--verbosity", "0")
        found = json.loads(run("-m", "tests.bench.filling"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        daphne = ("daphne", "--verbosity", "0", "--port", str(port))
        with process("config.valkey"), process(*daphne, "config.asgi:application") as server:
            url = f"http://127.0.0.1:{port}"
            wait_until_up(f"{url}/api/health/live", server)
            yield Served(url, environment=environment, **found)
    finally:
        shutil.rmtree(data_dir, ignore_errors=True)
        shutil.rmtree(embedded_socket(data_dir).parent, ignore_errors=True)


def wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=1).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise RuntimeError("the server does not answer")


def p95(http: requests.Session, url: str, whole: str) -> float:
    """In milliseconds. `whole` is in each good answer."""
    taken = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        answer = http.get(url, timeout=30)
        taken.append((time.perf_counter() - begun) * 1000)
        if answer.status_code != 200 or answer.url != url or whole not in answer.text:
            raise RuntimeError(f"{url}: {answer.status_code} {answer.text[:200]}")
    return sorted(taken)[int(TIMES * 0.95) - 1]


def measure() -> Iterator[Figure]:
    with served() as world, requests.Session() as http:
        http.trust_env = False
        for who, name in PEOPLE.items():
            http.headers["Authorization"] = f"Bearer {world.tokens[who]}"
            for path in LISTS:
                taken = p95(http, f"{world.url}/api/{path}", '"results"')
                yield Figure(f"{name}: {path}: p95", taken, "ms", most=MOST_MS)


if __name__ == "__main__":
    sys.exit(report(measure()))
