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
from pathlib import Path

import requests

from tests.bench.figures import Figure, report
from tests.bench.installation import KEPT, ROOT

TIMES, MOST_MS = 40, 200.0
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


@contextmanager
def served() -> Iterator[tuple[str, dict[str, str]]]:
    """A filled installation behind daphne: its address, and a token for each who asks."""
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

    try:
        run("manage.py", "migrate", "--verbosity", "0")
        tokens = json.loads(run("-m", "tests.bench.filling"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        daphne = ["-m", "daphne", "--verbosity", "0", "--port", str(port)]
        server = subprocess.Popen(
            [sys.executable, *daphne, "config.asgi:application"], cwd=ROOT, env=environment
        )
        try:
            wait_until_up(f"http://127.0.0.1:{port}/api/health/live", server)
            yield f"http://127.0.0.1:{port}/api", tokens
        finally:
            server.terminate()
            server.wait(timeout=10)
    finally:
        shutil.rmtree(data_dir, ignore_errors=True)


def wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=1).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise RuntimeError("the server does not answer")


def p95(http: requests.Session, url: str) -> float:
    """In milliseconds."""
    taken = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        answer = http.get(url, timeout=30)
        taken.append((time.perf_counter() - begun) * 1000)
        if answer.status_code != 200 or "results" not in answer.json():
            raise RuntimeError(f"{url}: {answer.status_code} {answer.text[:200]}")
    return sorted(taken)[int(TIMES * 0.95) - 1]


def measure() -> Iterator[Figure]:
    people = {"one": "1 organization", "three": "3 organizations", "all": "superuser"}
    with served() as (url, tokens), requests.Session() as http:
        http.trust_env = False
        for who, name in people.items():
            http.headers["Authorization"] = f"Bearer {tokens[who]}"
            for path in LISTS:
                taken = p95(http, f"{url}/{path}")
                yield Figure(f"{name}: {path}: p95", taken, "ms", most=MOST_MS)


if __name__ == "__main__":
    sys.exit(report(measure()))
