"""The simulator: requests a second that its one core answers, so that it is never what is measured.

The driver runs in this process, the simulator in another: as many connections as a worker opens,
each with the next call of a move as soon as the last is answered.
"""

import json
import re
import selectors
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from fallback.simulator.client import Simulator
from tests.bench.figures import Figure, report
from tests.fallback.simulating import STUCK, Caller

JOBS, RUNS_PER_JOB, CONNECTIONS = 10, 400, 16
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.I)


class Connection:
    """One kept open; sends a request when told to, and knows when its answer is complete."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer = b""

    def send(self, request: bytes) -> None:
        self.answer = b""
        self.socket.sendall(request)

    def receive(self) -> bytes:
        """The status once all of the answer is here, until then nothing."""
        self.answer += self.socket.recv(262_144)
        head, found, body = self.answer.partition(b"\r\n\r\n")
        length = LENGTH.search(head + b"\r\n")
        if found and length and len(body) >= int(length[1]):
            return head[9:12]
        return b""


def calls(simulator: Simulator) -> Iterator[bytes]:
    """What 16 workers would ask to move every run: a listing for some, three calls for each."""
    seeded = simulator.seed(jobs=JOBS, runsPerJob=RUNS_PER_JOB, destinations=1)
    place, source = seeded["destinations"][0], seeded["source"]["workspaceId"]
    copies: dict[str, str] = {}
    with closing(Caller(simulator)) as caller:
        for run in seeded["stuckRuns"]:
            application = run["applicationId"]
            if application not in copies:
                copies[application] = caller.deploy(caller.manifest(run), place)["id"]
    query = "&".join(f"status={status}" for status in STUCK)
    for number, run in enumerate(seeded["stuckRuns"]):
        if number % 100 == 0:
            yield request(simulator, "GET", f"x/job-runs?workspaceId={source}&{query}&limit=100")
        given = {"params": json.loads(run["command"])}
        body = {"deploymentId": copies[run["applicationId"]], "input": given}
        yield request(simulator, "GET", f"jobs/{run['applicationId']}/runs/{run['name']}")
        yield request(simulator, "POST", "jobs/trigger", body)
        named = f"deploymentId={run['deploymentId']}&jobRunName={run['name']}"
        yield request(simulator, "POST", f"jobs/terminate?{named}")


def request(simulator: Simulator, method: str, path: str, body: Any = None) -> bytes:
    content = json.dumps(body).encode() if body is not None else b""
    head = (
        f"{method} /api/svc/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1:{simulator.port}\r\n"
        f"Authorization: Bearer {simulator.token}\r\nx-tfy-assume-user: {simulator.assume}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def drive(port: int, requests: deque[bytes]) -> tuple[Counter[bytes], float]:
    """Send them all; answers how often each status came, and the seconds it took."""
    statuses: Counter[bytes] = Counter()
    with selectors.DefaultSelector() as selector:
        open_ones = [Connection(port) for _ in range(CONNECTIONS)]
        began = time.monotonic()
        for connection in open_ones:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(requests.popleft())
        under_way = len(open_ones)
        while under_way:
            for key, _ in selector.select(10):
                if not (status := key.data.receive()):
                    continue
                statuses[status] += 1
                if requests:
                    key.data.send(requests.popleft())
                else:
                    under_way -= 1
        seconds = time.monotonic() - began
        for connection in open_ones:
            connection.socket.close()
    return statuses, seconds


def measure() -> Iterator[Figure]:
    with Simulator.start() as simulator:
        simulator.settings(rolloutSeconds=0, runSeconds=3600)
        requests = deque(calls(simulator))
        statuses, seconds = drive(simulator.port, requests)
        verdict = simulator.verdict()["totals"]
    total = statuses.total()
    yield Figure("simulator: requests", total)
    yield Figure("simulator: answered with 200", statuses[b"200"], least=total)
    yield Figure("simulator: runs moved", verdict.get("moved", 0), least=JOBS * RUNS_PER_JOB)
    yield Figure("simulator: speed", total / seconds, "requests/s", least=1500)


if __name__ == "__main__":
    sys.exit(report(measure()))
