"""Runs: how they start, go on by themselves, and end."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from .records import ENDED, ENDING, PENDING, Deployment, Plan, Run, Workspace
from .world import Refusal, World

STARTED = frozenset({"RUNNING", "FINISHED", "FAILED"})


def start(
    world: World,
    deployment: Deployment,
    command: str,
    origin: str,
    moment: int,
    input_kind: str = "none",
) -> Run:
    """A run of a version, CREATED; it goes on by itself where its workspace has room."""
    application = world.applications[deployment.application_id]
    workspace = world.workspaces[application.workspace_id]
    run = Run(
        id=world.new_id(),
        name=world.new_run_name(application.name),
        application_id=application.id,
        application_name=application.name,
        workspace_id=workspace.id,
        deployment_id=deployment.id,
        version=deployment.version,
        command=command,
        created_at=moment,
        origin=origin,
        input_kind=input_kind,
        plan=_plan(world, workspace, moment),
    )
    world.add(run)
    follow(world, run)
    return run


def read_input(given: Any) -> tuple[str, str]:
    """The command that a trigger's `input` makes, and which way it was given."""
    if not isinstance(given, dict):
        return "", "none"
    params, command = given.get("params"), given.get("command")
    if params:
        return json.dumps(params, sort_keys=True), "params"
    if isinstance(command, list):
        command = " ".join(map(str, command))
    return (str(command), "command") if command else ("", "none")


def rewritten(command: str, input_kind: str, how: str) -> str:
    """Parameters as a remote tells them that keeps them in a form of its own."""
    if input_kind != "params" or not how:
        return command
    params = json.loads(
        command, parse_float=lambda text: int(f) if (f := float(text)) % 1 == 0 else f
    )
    if how == "defaults":
        params["added"] = "by default"
    return json.dumps({key: value for key, value in params.items() if value is not None})


def terminate(world: World, run: Run, by: str = "terminate") -> str:
    """End a run, at once or in `terminateSeconds`; returns its status."""
    if run.status in ENDED or run.status in ENDING:
        if world.settings.terminate_twice != 200:
            raise Refusal(world.settings.terminate_twice, f"Job run {run.name} is {run.status}")
        return run.status
    now, wait = world.now(), int(world.settings.terminate_seconds * 1000)
    run.ended_by = by
    if wait == 0:
        set_status(world, run, "TERMINATED", now)
        return run.status
    set_status(world, run, "TERMINATION_REQUESTED", now)
    run.plan = [(now + wait // 2, "TERMINATING"), (now + wait, "TERMINATED")]
    follow(world, run)
    return run.status


def set_status(world: World, run: Run, status: str, moment: int) -> None:
    """Give a run a status; whatever was planned for it is off."""
    world.unindex(run)
    if run.origin == "stuck" and status in STARTED and not run.ended_by:
        run.recovered = True
    run.status, run.plan = status, []
    run.ended_at = moment if status in ENDED else 0
    world.index(run)
    world.touch(run)


def vanish(world: World, run: Run) -> None:
    """A run disappears from every listing, as if it had never been."""
    world.unindex(run)
    run.gone, run.plan = True, []
    world.touch(run)


def follow(world: World, run: Run) -> None:
    """Put the next step of a run on the agenda."""
    if run.plan:
        world.at(run.plan[0][0], partial(_step, world, run))


def make_room(world: World, workspace: Workspace, runs: bool) -> None:
    """Give a workspace room for runs to start, or take it; started runs go on."""
    workspace.runs = runs
    world.touch(workspace)
    now = world.now()
    for run_id in world.workspace_runs[workspace.id].newest(PENDING):
        run = world.runs[run_id]
        run.plan = _plan(world, workspace, now)
        if run.status == "SCHEDULED":
            run.plan = run.plan[1:]
        world.touch(run)
        follow(world, run)


def _plan(world: World, workspace: Workspace, moment: int) -> Plan:
    settings = world.settings
    ready = moment + int(settings.start_seconds * 1000)
    plan = [((moment + ready) // 2, "SCHEDULED")]
    if workspace.runs:
        plan += [(ready, "RUNNING"), (ready + int(settings.run_seconds * 1000), "FINISHED")]
    return plan


def _step(world: World, run: Run, moment: int) -> None:
    # The plan may have changed since this entry was made.
    if run.plan and run.plan[0][0] == moment:
        (_, status), *rest = run.plan
        set_status(world, run, status, moment)
        run.plan = rest
        follow(world, run)
