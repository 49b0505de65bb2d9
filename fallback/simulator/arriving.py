"""Stuck runs that were not there before: one by one, or so many a minute."""

from __future__ import annotations

import json
from functools import partial

from .records import ENDED, PENDING, Application, Run
from .world import Refusal, World

DEFAULT_AGE_MINUTES = 90


def add_stuck(
    world: World,
    application: Application,
    created_at: int,
    *,
    version: int | None = None,
    command: str | None = None,
    status: str = "SCHEDULED",
) -> Run:
    """A run that the seed or somebody started long ago; judged if it is pending."""
    number = version or len(application.deployment_ids)
    if not 1 <= number <= len(application.deployment_ids):
        raise Refusal(404, f"{application.name} has no version {number}")
    run = Run(
        id=world.new_id(),
        name=world.new_run_name(application.name),
        application_id=application.id,
        application_name=application.name,
        workspace_id=application.workspace_id,
        deployment_id=application.deployment_ids[number - 1],
        version=number,
        command=unique_command(world) if command is None else command,
        created_at=created_at,
        origin="stuck" if status in PENDING else "healthy",
        status=status,
        ended_at=world.now() if status in ENDED else 0,
    )
    world.add(run)
    return run


def unique_command(world: World) -> str:
    """Parameters that no other run has."""
    return json.dumps({"epochs": "10", "shard": world.new_id()}, sort_keys=True)


def jobs(world: World, workspace_id: str) -> list[Application]:
    """The applications of a workspace that runs can arrive of."""
    return [
        application
        for application in world.applications.values()
        if application.workspace_id == workspace_id and application.deployment_ids
    ]


def arrive(world: World, workspace_id: str, created_at: int) -> Run:
    """A new stuck run of one of the workspace's jobs."""
    return add_stuck(world, world.random.choice(jobs(world, workspace_id)), created_at)


def arrive_on_top(world: World, workspace_id: str) -> Run:
    """A new stuck run that is listed before all the others, though old enough to be stuck."""
    listed = world.workspace_runs[workspace_id].newest(PENDING)
    stuck = (world.runs[run_id] for run_id in listed)
    newest = next((run.created_at for run in stuck if run.origin == "stuck"), world.now())
    return arrive(world, workspace_id, newest + 1)


def keep_arriving(
    world: World, workspace_id: str, per_minute: float, age_minutes: float = DEFAULT_AGE_MINUTES
) -> None:
    """Let stuck runs arrive from now on; 0 a minute ends it."""
    if not jobs(world, workspace_id):
        raise Refusal(400, f"workspace {workspace_id} has no jobs")
    world.arrivals[workspace_id] = {"perMinute": per_minute, "ageMinutes": age_minutes}
    resume(world, workspace_id)


def resume(world: World, workspace_id: str) -> None:
    """Go on with the arrivals of a workspace, from now."""
    per_minute = world.arrivals[workspace_id]["perMinute"]
    if per_minute > 0:
        # The dictionary's identity tells this arrangement from a later one.
        terms = world.arrivals[workspace_id]
        moment = world.now() + int(60_000 / per_minute)
        world.at(moment, partial(_next, world, workspace_id, terms))


def _next(world: World, workspace_id: str, terms: dict[str, float], moment: int) -> None:
    if world.arrivals.get(workspace_id) is not terms:
        return
    arrive(world, workspace_id, moment - int(terms["ageMinutes"] * 60_000))
    step = max(int(60_000 / terms["perMinute"]), 1)
    world.at(moment + step, partial(_next, world, workspace_id, terms))
