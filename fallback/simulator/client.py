"""Starts a simulator in a process of its own and steers it, for tests and benchmarks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from .api import PREFIX
from .settings import DEFAULT_TOKEN

PROJECT = Path(__file__).resolve().parents[2]
START_SECONDS = 20
TIMEOUT = (3, 60)  # a seed of 10,000 runs takes a while
Json = dict[str, Any]


class Simulator:
    """A running simulator. Ends with its context, and with the process that started it.

    `assume` is the `x-tfy-assume-user` header that its service tokens need.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        tokens = options.get("token", DEFAULT_TOKEN)
        self.token: str = tokens if isinstance(tokens, str) else tokens[0]
        self.assume = "serviceaccount/simulated/truefoundry/tfy-system"
        self.port = int(options.get("port", 0))

    @classmethod
    def start(cls, **options: Any) -> Simulator:
        """Start one; options are those of the command line: `rollout_seconds=0, state=path`."""
        simulator = cls(**options)
        simulator.run()
        return simulator

    def run(self) -> None:
        """Start the process and wait until it listens; again after `stop` or `kill`."""
        with tempfile.TemporaryDirectory(prefix="simulator-") as folder:
            port_file = Path(folder, "port")
            options = {**self._options, "port": self.port, "port_file": port_file}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fallback.simulator", *_arguments(options)],
                cwd=PROJECT,
                stdout=subprocess.DEVNULL,
            )
            self.port = self._await_port(port_file)

    def _await_port(self, port_file: Path) -> int:
        deadline = time.monotonic() + START_SECONDS
        while not port_file.exists():
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError("the simulator ended at its start")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError("the simulator does not listen")
            time.sleep(0.01)
        return int(port_file.read_text())

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL, as TRUEFOUNDRY_API_URL takes it."""
        return f"http://127.0.0.1:{self.port}{PREFIX}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the simulator does not run")
        return self._process.pid

    def stop(self) -> None:
        """End it in order (SIGTERM), the state file written."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL); `run` starts it again on the same port."""
        self._end(signal.SIGKILL)

    # Steering

    def seed(self, **wish: Any) -> Json:
        """Fill the world, e.g. `seed(jobs=5, runsPerJob=2, destinations=1)`."""
        return self.sim("POST", "seed", wish)

    def reset(self) -> None:
        """Empty the world, the faults and the statistics; the settings stay."""
        self.sim("POST", "reset")

    def settings(self, **changes: Any) -> Json:
        """Change settings, or only read them."""
        return self.sim("POST", "settings", changes) if changes else self.sim("GET", "settings")

    def faults(self, *faults: Json) -> None:
        """Replace the list of faults; none clears it."""
        self.sim("POST", "faults", {"faults": list(faults)})

    def fired(self) -> list[Json]:
        """The faults, with how often each was seen and has fired."""
        return list(self.sim("GET", "faults")["faults"])

    def arrivals(self, per_minute: float, **more: Any) -> Json:
        """Let stuck runs arrive; `workspaceId`, `ageMinutes`."""
        return self.sim("POST", "arrivals", {"perMinute": per_minute, **more})

    def add_run(self, application_id: str, **more: Any) -> Json:
        """One more run: `version`, `command`, `ageMinutes`, `status`."""
        return self.sim("POST", "runs", {"applicationId": application_id, **more})

    def run_shown(self, name: str) -> Json:
        """A run as it is now, ended or not."""
        return self.sim("GET", f"runs/{name}")

    def force_run(self, name: str, status: str) -> Json:
        """Give a run a status; RUNNING means that it recovered."""
        return self.sim("POST", f"runs/{name}", {"status": status})

    def remove_run(self, name: str) -> None:
        """Make a run vanish."""
        self.sim("DELETE", f"runs/{name}")

    def connect(self, cluster_id: str, connected: bool) -> None:
        """Connect or disconnect a cluster."""
        self.sim("POST", f"clusters/{cluster_id}", {"connected": connected})

    def make_room(self, workspace_id: str, runs: bool) -> None:
        """Give a workspace room for runs to start, or take it."""
        self.sim("POST", f"workspaces/{workspace_id}", {"runs": runs})

    def force_deployment(self, deployment_id: str, status: str) -> Json:
        """Give a rollout a status, e.g. DEPLOY_FAILED."""
        return self.sim("POST", f"deployments/{deployment_id}", {"status": status})

    def add_application(self, workspace_id: str, name: str, **more: Any) -> Json:
        """Somebody else's application."""
        return self.sim("POST", "applications", {"workspaceId": workspace_id, "name": name, **more})

    def verdict(self) -> Json:
        return self.sim("GET", "verdict")

    def stats(self, reset: bool = False) -> Json:
        """The statistics; `reset` starts them anew afterwards."""
        stats = self.sim("GET", "stats")
        if reset:
            self.sim("DELETE", "stats")
        return stats

    def log(self, after: int = 0) -> list[Json]:
        """The calls that change something, after a sequence number."""
        return list(self.sim("GET", f"log?after={after}")["log"])

    def sim(self, method: str, path: str, body: Json | None = None) -> Json:
        """Any call of the `/_sim` surface."""
        url = f"http://127.0.0.1:{self.port}/_sim/{path}"
        with requests.Session() as http:
            http.trust_env = False  # no proxy stands between us
            response = http.request(method, url, json=body, timeout=TIMEOUT)
        if not response.ok:
            raise RuntimeError(f"{method} {path}: {response.status_code} {response.text}")
        answer: Json = response.json()
        return answer

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _arguments(options: Json) -> Iterable[str]:
    """`rollout_seconds=0` as `--rollout-seconds 0`; a list repeats its option."""
    for name, value in {**options, "parent": os.getpid()}.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is not None:
                yield from (f"--{name.replace('_', '-')}", str(one))
