"""Making versions of applications, and rolling them out."""

from __future__ import annotations

import re
from functools import partial

from . import running
from .records import Application, Deployment, Json, Workspace
from .world import Refusal, World

NAME = re.compile(r"^[a-z](?:[a-z0-9]|-(?!-)){1,30}[a-z0-9]$")
NO_ACTIVE = "Active deployment not found"


def deploy(
    world: World,
    workspace: Workspace,
    manifest: Json,
    *,
    origin: str = "api",
    force: bool = False,
    trigger_on_deploy: bool = False,
) -> Deployment:
    """A new version of the application that the manifest names; it takes a while to roll out."""
    now = world.now()
    application = world.application_named(workspace.id, manifest["name"])
    if application is None:
        application = create_application(world, workspace, manifest, origin)
    if force:
        _cancel_rollouts(world, application, now)
    deployment = add_version(world, application, manifest, now, origin)
    deployment.trigger_on_deploy = bool(trigger_on_deploy or manifest.get("trigger_on_deploy"))
    done = now + int(world.settings.rollout_seconds * 1000)
    deployment.plan = [(done, _outcome(world))]
    follow(world, deployment)
    return deployment


def check_manifest(manifest: Json) -> None:
    """Refuse what the vendor would refuse at once."""
    name, kind = manifest.get("name"), manifest.get("type")
    if not isinstance(name, str) or not NAME.match(name):
        raise Refusal(422, f"manifest.name {name!r} must match {NAME.pattern}")
    if not isinstance(kind, str):
        raise Refusal(422, "manifest.type is missing")
    if kind == "job" and not isinstance(manifest.get("image"), dict):
        raise Refusal(422, "manifest.image is missing")


def create_application(
    world: World, workspace: Workspace, manifest: Json, origin: str, created_at: int | None = None
) -> Application:
    """An application without any version yet."""
    application = Application(
        id=world.new_id(),
        workspace_id=workspace.id,
        name=manifest["name"],
        type=manifest["type"],
        created_at=world.now() if created_at is None else created_at,
        origin=origin,
    )
    world.add(application)
    return application


def add_version(
    world: World, application: Application, manifest: Json, created_at: int, origin: str
) -> Deployment:
    """The next version of an application, its rollout begun."""
    deployment = Deployment(
        id=world.new_id(),
        application_id=application.id,
        version=len(application.deployment_ids) + 1,
        manifest=manifest,
        created_at=created_at,
        updated_at=created_at,
        origin=origin,
    )
    application.deployment_ids.append(deployment.id)
    world.touch(application)
    world.add(deployment)
    return deployment


def follow(world: World, deployment: Deployment) -> None:
    """Put the next step of a rollout on the agenda."""
    if deployment.plan:
        world.at(deployment.plan[0][0], partial(_step, world, deployment))


def set_status(world: World, deployment: Deployment, status: str, moment: int) -> None:
    """Give a rollout its status; success makes the version active."""
    deployment.plan, deployment.status, deployment.updated_at = [], status, moment
    world.touch(deployment)
    if status == "DEPLOY_SUCCESS":
        _activate(world, deployment, moment)


def runnable(world: World, application_id: str, deployment_id: str) -> Deployment:
    """The version that a trigger runs: the one asked for, or whatever is active."""
    if deployment_id:
        deployment = world.deployment(deployment_id)
        world.application(deployment.application_id)  # or a 404
        if deployment.status != "DEPLOY_SUCCESS":
            raise Refusal(400, f"{NO_ACTIVE} for deployment {deployment_id}")
        return deployment
    application = world.application(application_id)
    if not application.active_deployment_id:
        raise Refusal(400, f"{NO_ACTIVE} for application {application.name}")
    return world.deployments[application.active_deployment_id]


def _outcome(world: World) -> str:
    settings = world.settings
    if settings.fail_rollouts == 0:
        return "DEPLOY_SUCCESS"
    settings.fail_rollouts -= settings.fail_rollouts > 0
    return "DEPLOY_FAILED"


def _cancel_rollouts(world: World, application: Application, now: int) -> None:
    for deployment_id in application.deployment_ids:
        deployment = world.deployments[deployment_id]
        if deployment.status == "ROLLOUT_STARTED":
            set_status(world, deployment, "CANCELLED", now)


def _step(world: World, deployment: Deployment, moment: int) -> None:
    if deployment.plan and deployment.plan[0][0] == moment:
        set_status(world, deployment, deployment.plan[0][1], moment)


def _activate(world: World, deployment: Deployment, moment: int) -> None:
    application = world.applications[deployment.application_id]
    active = world.deployments.get(application.active_deployment_id)
    if active is None or active.version <= deployment.version:
        application.active_deployment_id = deployment.id
        world.touch(application)
    trigger = deployment.manifest.get("trigger")
    if isinstance(trigger, dict) and trigger.get("type") == "scheduled":
        running.start(world, deployment, "", "schedule", moment)
    if deployment.trigger_on_deploy:
        running.start(world, deployment, "", "deploy", moment)
