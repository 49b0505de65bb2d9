"""The state of a TrueFoundry control plane. Knows no HTTP; the verbs are in their own modules.

Time is an agenda: whatever will happen by itself (a rollout ends, a run starts) is an entry
with its moment, and `settle` lets everything that is due happen before anybody looks.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

from .index import RunIndex
from .records import Application, Cluster, Deployment, Json, Record, Run, Workspace
from .settings import Settings

R = TypeVar("R")
SUFFIX_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Refusal(Exception):
    """A no, with the vendor's status code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class World:
    """Clusters, workspaces, applications, deployments and runs, and the indices over them."""

    def __init__(
        self,
        settings: Settings | None = None,
        seed: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or Settings()
        self.random = random.Random(seed)
        self._seed, self._clock = seed, clock
        self.clear()

    def clear(self) -> None:
        """Empty the world; the settings stay."""
        self.clusters: dict[str, Cluster] = {}
        self.workspaces: dict[str, Workspace] = {}
        self.applications: dict[str, Application] = {}
        self.deployments: dict[str, Deployment] = {}
        self.runs: dict[str, Run] = {}
        self.runs_by_name: dict[str, Run] = {}
        self.application_names: dict[tuple[str, str], Application] = {}
        self.workspace_runs: dict[str, RunIndex] = {}
        self.application_runs: dict[str, RunIndex] = {}
        self.arrivals: dict[str, Json] = {}  # workspace id -> how new stuck runs arrive
        self.changed: dict[str, Record] = {}  # what a state file has not seen yet
        self.cleared = True
        self._agenda: list[tuple[int, int, Callable[[int], None]]] = []
        self._numbers = count(1)
        self.start_ids()

    # Time

    def now(self) -> int:
        return int((self._clock() + self.settings.clock_offset_seconds) * 1000)

    def at(self, moment: int, action: Callable[[int], None]) -> None:
        """Put `action(moment)` on the agenda."""
        heapq.heappush(self._agenda, (moment, next(self._numbers), action))

    def settle(self) -> int:
        """Let everything happen that is due, in order; returns now."""
        now = self.now()
        while self._agenda and self._agenda[0][0] <= now:
            moment, _, action = heapq.heappop(self._agenda)
            action(moment)
        return now

    # Ids

    def start_ids(self) -> None:
        """Begin a new series of ids, another one at every start, also where a seed is given."""
        if self._seed is not None:
            self.random.seed(f"{self._seed}:{len(self.runs) + len(self.deployments)}")
        self._series, self._ids = self.random.getrandbits(32), count(1)

    def new_id(self) -> str:
        return f"{self._series:08x}{next(self._ids):08x}"

    def new_run_name(self, application: str) -> str:
        while True:
            name = f"{application}-{''.join(self.random.choices(SUFFIX_LETTERS, k=8))}"
            if name not in self.runs_by_name:
                return name

    # Records

    def touch(self, record: Record) -> None:
        """Note that a record is new or changed."""
        self.changed[record.id] = record
        if isinstance(record, Run):
            record.encoded = None

    def add(self, record: Record) -> None:
        """Take a record in, new or from a state file."""
        match record:
            case Cluster():
                self.clusters[record.id] = record
            case Workspace():
                self.workspaces[record.id] = record
                self.workspace_runs[record.id] = RunIndex()
            case Application():
                self.applications[record.id] = record
                self.application_names[record.workspace_id, record.name] = record
                self.application_runs[record.id] = RunIndex()
            case Deployment():
                self.deployments[record.id] = record
            case Run():
                self.runs[record.id] = record
                self.runs_by_name[record.name] = record
                self.index(record)
        self.touch(record)

    def index(self, run: Run) -> None:
        """List a run, unless it has vanished."""
        if not run.gone:
            self.workspace_runs[run.workspace_id].add(run)
            self.application_runs[run.application_id].add(run)

    def unindex(self, run: Run) -> None:
        """Take a run off the listings, before its status changes."""
        if not run.gone:
            self.workspace_runs[run.workspace_id].remove(run)
            self.application_runs[run.application_id].remove(run)

    # Looking things up, as the vendor answers

    def cluster(self, key: str) -> Cluster:
        return _found(self.clusters, key, "Cluster")

    def workspace(self, key: str) -> Workspace:
        found = _found(self.workspaces, key, "Workspace")
        return self._shown(found, found.id, f"Workspace {key}")

    def application(self, key: str) -> Application:
        found = _found(self.applications, key, "Application")
        return self._shown(found, found.workspace_id, f"Application {key}")

    def deployment(self, key: str) -> Deployment:
        return _found(self.deployments, key, "Deployment")

    def run(self, name: str) -> Run:
        """A run that has not vanished, by its name."""
        run = self.runs_by_name.get(name)
        if run is None or run.gone:
            raise Refusal(404, f"Job run {name} not found")
        return self._shown(run, run.workspace_id, f"Job run {name}")

    def _shown(self, found: R, workspace_id: str, name: str) -> R:
        if workspace_id == self.settings.hidden_workspace:
            raise Refusal(404, f"{name} not found")
        return found

    def workspace_by_fqn(self, fqn: str) -> Workspace:
        for workspace in self.workspaces.values():
            if workspace.fqn == fqn:
                return workspace
        raise Refusal(404, f"Workspace {fqn} not found")

    def application_named(self, workspace_id: str, name: str) -> Application | None:
        return self.application_names.get((workspace_id, name))


def _found(records: dict[str, R], key: str, kind: str) -> R:
    if key not in records:
        raise Refusal(404, f"{kind} {key} not found")
    return records[key]
