"""Filling the world: workspaces whose runs are stuck, and workspaces with room."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import chain, count

from . import deploying
from .arriving import add_stuck
from .records import MARKER, Application, Cluster, Json, Run, Workspace
from .settings import camel
from .world import World

JOBS = [
    "train-ranker",
    "embed-catalog",
    "nightly-report",
    "score-leads",
    "resize-images",
    "fine-tune-chat",
    "index-search",
    "forecast-demand",
    "transcribe-calls",
    "detect-fraud",
    "backfill-events",
    "evaluate-model",
]
LONGEST_NAME = 32


@dataclass
class Wish:
    """What a seed asks for; camelCase on the wire."""

    source_clusters: int = 1
    jobs: int = 3
    runs_per_job: int = 2
    versions_per_job: int = 1
    age_minutes: float = 90
    healthy_runs: int = 0
    young_age_seconds: float = 60
    commands: str = "unique"
    job_name_prefix: str = ""
    shared_name_prefix_length: int = 0
    two_workspaces: bool = False
    destinations: int = 1

    @classmethod
    def from_json(cls, given: Json) -> Wish:
        names = {camel(f.name): f.name for f in fields(cls)}
        if unknown := set(given) - set(names):
            raise ValueError(f"a seed has no {', '.join(sorted(unknown))}")
        wish = cls(**{names[key]: value for key, value in given.items()})
        if wish.commands not in ("unique", "identical", "plain"):
            raise ValueError(f"commands cannot be {wish.commands!r}")
        return wish


def seed(world: World, wish: Wish) -> Json:
    """Carry out a seed; returns the ids of all that it made."""
    clusters = [_cluster(world, f"source-{n + 1}") for n in range(wish.source_clusters)]
    sources = [
        _workspace(world, cluster, f"team-{'ab'[n]}", source=True)
        for cluster in clusters
        for n in range(1 + wish.two_workspaces)
    ]
    targets = [_cluster(world, f"spare-{n + 1}") for n in range(wish.destinations)]
    destinations = [_workspace(world, cluster, "overflow") for cluster in targets]
    jobs = [job for workspace in sources for job in _jobs(world, wish, workspace)]
    stuck = _stuck_runs(world, wish, jobs)
    _healthy_runs(world, wish, jobs)
    return {
        "clusters": [{"id": c.id, "name": c.name} for c in clusters + targets],
        "source": {**_place(sources[0]), "workspaceIds": [w.id for w in sources]},
        "sources": [_place(workspace) for workspace in sources],
        "destinations": [_place(workspace) for workspace in destinations],
        "jobs": [{"id": j.id, "name": j.name, "workspaceId": j.workspace_id} for j in jobs],
        "stuckRuns": [told(run) for run in stuck],
    }


def told(run: Run) -> Json:
    """A run as the seed tells of it."""
    return {
        "id": run.id,
        "name": run.name,
        "applicationId": run.application_id,
        "deploymentId": run.deployment_id,
        "deploymentVersion": run.version,
        "command": run.command,
    }


def job_manifest(world: World, workspace: Workspace, name: str, version: int, number: int) -> Json:
    """A source job as people write them: some run by themselves, some hang on their home."""
    manifest: Json = {
        "type": "job",
        "name": name,
        "image": {
            "type": "image",
            "image_uri": f"registry.example.com/{name}:v{version}",
            "command": "python main.py --epochs {{epochs}} --shard {{shard}}",
        },
        "trigger": {"type": "manual"},
        "trigger_on_deploy": number % 4 == 1,
        "params": [
            {"name": "epochs", "default": "1", "param_type": "string"},
            {"name": "shard", "default": "0", "param_type": "string"},
        ],
        "env": {"LOG_LEVEL": "info", "API_TOKEN": f"tok-{world.random.getrandbits(96):024x}"},
        "resources": {
            "cpu_request": 1,
            "cpu_limit": 2,
            "memory_request": 2000,
            "memory_limit": 4000,
        },
        "retries": 0,
        "workspace_fqn": workspace.fqn,
    }
    if number % 3 == 2:
        manifest["trigger"] = {
            "type": "scheduled",
            "schedule": "0 3 * * *",
            "concurrency_policy": "Forbid",
        }
    if number % 5 == 3:
        manifest["service_account"] = "trainer"
        manifest["resources"]["node"] = {"type": "node_selector", "capacity_type": "spot"}
        manifest["mounts"] = [
            {"type": "volume", "mount_path": "/data", "volume_fqn": f"{workspace.fqn}:datasets"}
        ]
    return manifest


def _cluster(world: World, name: str) -> Cluster:
    taken = {cluster.name for cluster in world.clusters.values()}
    free = next(n for n in _variants(name) if n not in taken)
    cluster = Cluster(id=world.new_id(), name=free, created_at=world.now())
    world.add(cluster)
    return cluster


def _variants(name: str) -> Iterator[str]:
    return chain([name], (f"{name}-{lap}" for lap in count(2)))


def _workspace(world: World, cluster: Cluster, name: str, source: bool = False) -> Workspace:
    workspace = Workspace(
        id=world.new_id(),
        cluster_id=cluster.id,
        name=name,
        fqn=f"{cluster.name}:{name}",
        created_at=world.now(),
        runs=not source,
        source=source,
    )
    world.add(workspace)
    return workspace


def _place(workspace: Workspace) -> Json:
    return {
        "clusterId": workspace.cluster_id,
        "workspaceId": workspace.id,
        "fqn": workspace.fqn,
    }


def _name(wish: Wish, number: int) -> str:
    if wish.shared_name_prefix_length:
        tail = f"{number:03d}"
        room = min(wish.shared_name_prefix_length, LONGEST_NAME - len(tail))
        return ((wish.job_name_prefix or "a-job-with-a-long-name") + "x" * room)[:room] + tail
    if wish.job_name_prefix:
        return f"{wish.job_name_prefix}-{number:04d}"
    lap, place = divmod(number, len(JOBS))
    return JOBS[place] if lap == 0 else f"{JOBS[place]}-{lap + 1}"


def _jobs(world: World, wish: Wish, workspace: Workspace) -> list[Application]:
    return [_job(world, wish, workspace, number) for number in range(wish.jobs)]


def _job(world: World, wish: Wish, workspace: Workspace, number: int) -> Application:
    name, created = _name(wish, number), world.now() - int((wish.age_minutes + 60) * 60_000)
    first = job_manifest(world, workspace, name, 1, number)
    deploying.check_manifest(first)
    job = deploying.create_application(world, workspace, first, "seed", created)
    for version in range(1, wish.versions_per_job + 1):
        manifest = job_manifest(world, workspace, name, version, number)
        manifest["env"][MARKER] = f"{job.id}/v{version}"
        deployment = deploying.add_version(world, job, manifest, created + version, "seed")
        deployment.status = "DEPLOY_SUCCESS"
        job.active_deployment_id = deployment.id
    return job


def _command(wish: Wish, number: int, marker: str) -> str:
    if wish.commands == "plain":
        return f"python main.py --epochs 10 --shard {marker}{number}"
    if wish.commands == "identical" and not marker:
        return json.dumps({"epochs": "10"})
    return json.dumps({"epochs": "10", "shard": f"{marker}{number}"}, sort_keys=True)


def _stuck_runs(world: World, wish: Wish, jobs: list[Application]) -> list[Run]:
    """All at least `ageMinutes` old, a few milliseconds apart, the jobs mixed."""
    total = wish.runs_per_job * len(jobs)
    newest = world.now() - int(wish.age_minutes * 60_000)
    return [
        add_stuck(
            world,
            jobs[number % len(jobs)],
            newest - 10 * (total - number),
            version=1 + number // len(jobs) % wish.versions_per_job,
            command=_command(wish, number, ""),
            status="CREATED" if number % 7 == 6 else "SCHEDULED",
        )
        for number in range(total)
    ]


def _healthy_runs(world: World, wish: Wish, jobs: list[Application]) -> None:
    """Runs that nobody may touch: RUNNING for hours, and a few that were just created."""
    now = world.now()
    for number in range(wish.healthy_runs):
        young = number % 4 == 3
        age = wish.young_age_seconds * 1000 if young else (3 + number) * 3_600_000
        run = add_stuck(
            world,
            jobs[number % len(jobs)],
            now - int(age),
            command=_command(wish, number, "healthy-"),
            status="CREATED" if young else "RUNNING",
        )
        run.origin = "healthy"
