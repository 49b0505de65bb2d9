"""A fresh Switchyard in a temporary directory, a simulator, and one measured sweep."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fallback.simulator.client import Simulator

ROOT = Path(__file__).parents[2]
# All that a process needs of the caller's environment; the settings are ours alone.
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
PASSWORD = "measured-not-guessed"


@dataclass(frozen=True, slots=True)
class Swept:
    """What a `sweep --wait` did, and what it took."""

    code: int
    told: dict[str, Any]  # its own JSON
    verdict: dict[str, Any]  # the simulator's
    stats: dict[str, Any]
    wall: float  # seconds, with Python's start
    memory: float  # MiB at the peak

    @property
    def moved(self) -> int:
        return int(self.verdict["totals"].get("moved", 0))

    @property
    def rate(self) -> float:
        return self.moved / float(self.told["seconds"])

    @property
    def requests(self) -> float:
        """For each move."""
        return float(self.stats["requests"]) / max(self.moved, 1)

    @property
    def mistakes(self) -> int:
        """Runs that were not moved exactly once, as they were, and all else that is wrong."""
        wrong = sum(n for outcome, n in self.verdict["totals"].items() if outcome != "moved")
        lists = self.verdict.keys() - {"totals", "runs"}
        return wrong + sum(len(self.verdict[name]) for name in lists)


class Installation:
    """Its database, its organization with a connection, and a config for the seeded source."""

    def __init__(self, simulator: Simulator, data_dir: Path) -> None:
        self.simulator, self.data_dir = simulator, data_dir
        self.environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {
            "ENV_FILE": "none",
            "DATA_DIR": str(data_dir),
            "TRUEFOUNDRY_API_URL": simulator.url,
            "TF_SERVICE_API_TOKEN": simulator.token,
            "BOOTSTRAP_PASSWORD": PASSWORD,
            "FALLBACK_MAX_MOVES_PER_SWEEP": "100000",
            "LOG_LEVEL": "ERROR",  # that there is no broker here is no news
        }

    def prepare(self, seed: dict[str, Any]) -> None:
        self.manage("migrate", "--verbosity", "0")
        self.manage("bootstrap", "--email", "ada@example.org", "--organization", "Bench")
        source, place = seed["source"], seed["destinations"][0]
        now = "2025-01-01T00:00:00Z"
        config = {
            "id": str(uuid.uuid4()),
            "sourceClusterId": source["clusterId"],
            "sourceWorkspaceId": source["workspaceId"],
            "destinationClusterId": place["clusterId"],
            "destinationWorkspaceId": place["workspaceId"],
            "destinationWorkspaceFqn": place["fqn"],
            "createdAt": now,
            "updatedAt": now,
        }
        file = self.data_dir / "cluster-fallback-configs.json"
        file.write_text(json.dumps([config]))
        self.manage("import_fallback_configs", str(file))

    def manage(self, *arguments: str) -> None:
        subprocess.run(
            self._line(*arguments),
            cwd=ROOT,
            env=self.environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def sweep(self, timeout: int) -> Swept:
        self.simulator.stats(reset=True)
        began = time.monotonic()
        line = self._line("sweep", "--wait", "--json", "--timeout", str(timeout))
        process = subprocess.Popen(line, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE)
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        wall = time.monotonic() - began
        stats = self.simulator.stats()
        return Swept(
            process.returncode,
            json.loads(told),
            self.simulator.verdict(),
            stats,
            wall,
            usage.ru_maxrss / 1024,
        )

    def _line(self, *arguments: str) -> list[str]:
        return [sys.executable, "manage.py", *arguments]


@contextmanager
def installation(seed: dict[str, Any], **settings: Any) -> Iterator[Installation]:
    """A simulator that is seeded and an installation that knows it; both gone afterwards."""
    data_dir = Path(tempfile.mkdtemp(prefix="swy-bench-"))
    try:
        with Simulator.start() as simulator:
            simulator.settings(
                **{"latencyMs": 20, "rolloutSeconds": 0, "runSeconds": 3600} | settings
            )
            found = Installation(simulator, data_dir)
            found.prepare(simulator.seed(**seed))
            yield found
    finally:
        shutil.rmtree(data_dir)


def swept(jobs: int, runs: int, timeout: int = 120, **settings: Any) -> Swept:
    """`runs` stuck runs of `jobs` jobs, beside 20 that are healthy, in one measured sweep."""
    seed = {"jobs": jobs, "runsPerJob": runs // jobs, "healthyRuns": 20}
    with installation(seed, **settings) as found:
        return found.sweep(timeout)
