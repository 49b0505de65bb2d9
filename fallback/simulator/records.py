"""What the simulated world consists of: plain records without behaviour.

Times are milliseconds since the epoch, as the vendor counts them. A `plan` lists what will
happen to a record by itself: pairs of (when, next status).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Plan = list[tuple[int, str]]

LIVE = frozenset({"CREATED", "SCHEDULED", "RUNNING"})
PENDING = frozenset({"CREATED", "SCHEDULED"})
ENDED = frozenset({"FINISHED", "FAILED", "TERMINATED"})
ENDING = frozenset({"TERMINATION_REQUESTED", "TERMINATING"})

# A mark in every source manifest's env that tells which job and version a copy was made from.
MARKER = "SIM_SOURCE"


@dataclass(slots=True)
class Cluster:
    id: str
    name: str
    created_at: int
    connected: bool = True


@dataclass(slots=True)
class Workspace:
    """`runs` says whether there is room for runs to start; `source` whose stuck runs we judge."""

    id: str
    cluster_id: str
    name: str
    fqn: str
    created_at: int
    runs: bool = True
    source: bool = False


@dataclass(slots=True)
class Application:
    """`origin` tells who made it: seed, api or somebody (else)."""

    id: str
    workspace_id: str
    name: str
    type: str
    created_at: int
    origin: str
    deployment_ids: list[str] = field(default_factory=list)
    active_deployment_id: str = ""


@dataclass(slots=True)
class Deployment:
    id: str
    application_id: str
    version: int
    manifest: Json
    created_at: int
    updated_at: int
    origin: str
    status: str = "ROLLOUT_STARTED"
    trigger_on_deploy: bool = False
    plan: Plan = field(default_factory=list)


@dataclass(slots=True)
class Run:
    """`origin` tells why it exists: stuck or healthy (seeded so), api, schedule, deploy."""

    id: str
    name: str
    application_id: str
    application_name: str
    workspace_id: str
    deployment_id: str
    version: int
    command: str
    created_at: int
    origin: str
    status: str = "CREATED"
    input_kind: str = ""  # how a trigger gave the command: params, command or none
    ended_at: int = 0
    ended_by: str = ""  # terminate (a call), somebody (else), or empty: by itself
    recovered: bool = False  # a stuck run that started or ended after all
    gone: bool = False
    plan: Plan = field(default_factory=list)
    encoded: bytes | None = field(default=None, compare=False, repr=False)


Record = Cluster | Workspace | Application | Deployment | Run


def marker(manifest: Json) -> str:
    """The source job and version that a manifest was copied from, or nothing."""
    env = manifest.get("env")
    return str(env.get(MARKER, "")) if isinstance(env, dict) else ""
