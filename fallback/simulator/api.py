"""The vendor's HTTP surface as plain functions: a call in, a status and a body out."""

from __future__ import annotations

from collections.abc import Callable

from . import deploying, running, shapes
from .calls import Call, Route, encoded, listing, page
from .records import Application, Json, Run, Workspace
from .world import Refusal, World

PREFIX = "/api/svc"
SORTABLE = ("", "startTime", "duration", "deploymentVersion", "triggeredBy", "status")

# Clusters, workspaces, the user


def list_clusters(world: World, call: Call) -> bytes:
    return listing(world, call, list(world.clusters.values()), shapes.cluster)


def get_cluster(world: World, call: Call) -> bytes:
    return encoded({"data": shapes.cluster(world, world.cluster(call.args["id"]))})


def is_connected(world: World, call: Call) -> bytes:
    return encoded({"isConnected": world.cluster(call.args["id"]).connected})


def list_workspaces(world: World, call: Call) -> bytes:
    wanted = {
        attribute: call.query[name]
        for name, attribute in (("clusterId", "cluster_id"), ("name", "name"), ("fqn", "fqn"))
        if call.query.get(name)
    }
    found = [
        workspace
        for workspace in world.workspaces.values()
        if all(getattr(workspace, name) == value for name, value in wanted.items())
    ]
    return listing(world, call, found, shapes.workspace)


def get_workspace(world: World, call: Call) -> bytes:
    return encoded({"data": shapes.workspace(world, world.workspace(call.args["id"]))})


def user_info(world: World, call: Call) -> bytes:
    return encoded(shapes.session(world, call.token_kind))


# Runs


def list_runs(world: World, call: Call) -> bytes:
    """All runs of a cluster or workspace: no total, but whether there are more."""
    offset, limit = page(world, call)
    ids, more = _runs_in(world, call, offset, limit)
    pagination = {"hasMore": more, "offset": offset, "limit": limit}
    return _run_rows(world, call, ids, pagination)


def list_job_runs(world: World, call: Call) -> bytes:
    """The runs of one job; newest first unless `order=asc`."""
    application = world.application(call.args["job_id"])
    offset, limit = page(world, call)
    index = world.application_runs[application.id]
    statuses = call.query.getall("status", [])
    if call.query.get("sortBy", "") not in SORTABLE:
        raise Refusal(422, "sortBy is none of the attributes to sort by")
    prefix, oldest_first = call.query.get("searchPrefix", ""), call.query.get("order") == "asc"
    if prefix or oldest_first:
        found = [i for i in index.newest(statuses) if world.runs[i].name.startswith(prefix)]
        found = found[::-1] if oldest_first else found
        ids, total = found[offset : offset + limit], len(found)
    else:
        ids, total = index.page(statuses, offset, limit)
    return _run_rows(world, call, ids, {"total": total, "offset": offset, "limit": limit})


def get_run(world: World, call: Call) -> bytes:
    run = world.run(call.args["run_name"])
    if run.application_id != call.args["job_id"]:
        raise Refusal(404, f"Job run {run.name} not found")
    return b'{"data": %s}' % shapes.encoded_run(world, run)


def trigger(world: World, call: Call) -> bytes:
    body = call.body()
    application_id, deployment_id = body.get("applicationId"), body.get("deploymentId")
    call.note |= {"applicationId": application_id, "deploymentId": deployment_id}
    if not application_id and not deployment_id:
        raise Refusal(400, "applicationId or deploymentId is needed")
    wanted = world.settings.triggers_run or deployment_id
    deployment = deploying.runnable(world, application_id or "", wanted or "")
    if deployment.manifest.get("type") != "job":
        raise Refusal(400, "only a job can be triggered")
    command, input_kind = running.read_input(body.get("input"))
    command = running.rewritten(command, input_kind, world.settings.rewrites_input)
    command = command or str(deployment.manifest.get("image", {}).get("command") or "")
    run = running.start(world, deployment, command, "api", world.now(), input_kind)
    call.note |= _run_note(run)
    message = b'{"message": "Job triggered", "jobRunName": "%s", "data": %s}'
    return message % (run.name.encode(), shapes.encoded_run(world, run))


def terminate(world: World, call: Call) -> bytes:
    deployment_id, name = call.query.get("deploymentId", ""), call.query.get("jobRunName", "")
    call.note |= {"runName": name, "deploymentId": deployment_id}
    run = world.run(name)
    if run.deployment_id != deployment_id:
        raise Refusal(404, f"Job run {name} not found for deployment {deployment_id}")
    call.note |= _run_note(run)
    status = running.terminate(world, run)
    return encoded({"message": "Job run terminated", "jobRunStatus": status})


def _runs_in(world: World, call: Call, offset: int, limit: int) -> tuple[list[str], bool]:
    statuses = call.query.getall("status", [])
    workspace_id, cluster_id = call.query.get("workspaceId"), call.query.get("clusterId")
    hidden = world.settings.hidden_workspace
    if workspace_id and workspace_id != hidden:
        world.workspace(workspace_id)  # or a 404
    wanted = [
        workspace.id
        for workspace in world.workspaces.values()
        if workspace_id in (None, "", workspace.id)
        and cluster_id in (None, "", workspace.cluster_id)
        and workspace.id != hidden
    ]
    if len(wanted) == 1:
        ids, total = world.workspace_runs[wanted[0]].page(statuses, offset, limit)
        return ids, total > offset + limit
    every = [world.runs[i] for key in wanted for i in world.workspace_runs[key].newest(statuses)]
    every.sort(key=lambda run: (run.created_at, run.id), reverse=True)
    return [run.id for run in every[offset : offset + limit]], len(every) > offset + limit


def _run_rows(world: World, call: Call, ids: list[str], pagination: Json) -> bytes:
    call.listed = [world.runs[i] for i in ids]
    rows = b",".join([shapes.encoded_run(world, run) for run in call.listed])
    return b'{"data": [%s], "pagination": %s}' % (rows, encoded(pagination))


def _run_note(run: Run) -> Json:
    return {
        "runName": run.name,
        "applicationId": run.application_id,
        "deploymentId": run.deployment_id,
        "workspaceId": run.workspace_id,
    }


# Applications and their versions


def list_apps(world: World, call: Call) -> bytes:
    return listing(world, call, _applications(world, call), shapes.application)


def get_app(world: World, call: Call) -> bytes:
    return encoded({"data": shapes.application(world, world.application(call.args["id"]))})


def list_deployments(world: World, call: Call) -> bytes:
    """The versions of an application, newest first."""
    application = world.application(call.args["id"])
    version, wanted = call.query.get("version", ""), call.query.get("deploymentId", "")
    found = [
        deployment
        for deployment in map(world.deployment, reversed(application.deployment_ids))
        if version in ("", str(deployment.version)) and wanted in ("", deployment.id)
    ]
    return listing(world, call, found, shapes.deployment)


def get_deployment(world: World, call: Call) -> bytes:
    deployment = world.deployment(call.args["deployment_id"])
    if deployment.application_id != call.args["id"]:
        raise Refusal(404, f"Deployment {deployment.id} not found")
    return encoded({"data": shapes.deployment(world, deployment)})


def create(world: World, call: Call) -> bytes:
    """PUT: the new version."""
    return encoded({"data": _create(world, call)})


def create_posted(world: World, call: Call) -> bytes:
    """POST: the older answer, which tells the application's id apart."""
    deployment = _create(world, call)
    return encoded({"application": deployment["application"], "deployment": deployment})


def _applications(world: World, call: Call) -> list[Application]:
    query = call.query
    name, workspace_ids = query.get("applicationName"), query.get("workspaceId")
    if name and workspace_ids:
        pairs = [world.application_named(i, name) for i in workspace_ids.split(",")]
        found = [application for application in pairs if application]
    else:
        found = list(world.applications.values())
    checks: dict[str, Callable[[Application, str], bool]] = {
        "workspaceId": lambda app, value: app.workspace_id in value.split(","),
        "applicationName": lambda app, value: app.name == value,
        "applicationId": lambda app, value: app.id == value,
        "applicationType": lambda app, value: app.type in value.split(","),
        "nameSearchQuery": lambda app, value: bool(name) or value in app.name,
        "workspaceFqn": lambda app, value: world.workspaces[app.workspace_id].fqn == value,
        "fqn": lambda app, value: shapes.application_summary(world, app)["fqn"] == value,
        "clusterId": lambda app, value: (
            world.workspaces[app.workspace_id].cluster_id in value.split(",")
        ),
    }
    asked = [(check, query[key]) for key, check in checks.items() if query.get(key)]
    return [
        app
        for app in found
        if app.workspace_id != world.settings.hidden_workspace
        and all(check(app, value) for check, value in asked)
    ]


def _create(world: World, call: Call) -> Json:
    body = call.body()
    manifest = body.get("manifest")
    if not isinstance(manifest, dict):
        raise Refusal(422, "manifest is missing")
    if body.get("name"):
        manifest.setdefault("name", body["name"])
    deploying.check_manifest(manifest)
    workspace = _target(world, body, manifest)
    call.note |= {"applicationName": manifest["name"], "workspaceId": workspace.id}
    if body.get("dryRun"):
        return _dry_run(world, workspace, manifest)
    deployment = deploying.deploy(
        world,
        workspace,
        manifest,
        force=bool(body.get("forceDeploy")),
        trigger_on_deploy=bool(body.get("triggerOnDeploy")),
    )
    world.settle()
    call.note |= {"applicationId": deployment.application_id, "deploymentId": deployment.id}
    return shapes.deployment(world, deployment)


def _target(world: World, body: Json, manifest: Json) -> Workspace:
    """The workspace that a deployment goes to; a manifest that names another is refused."""
    fqn, workspace_id = str(manifest.get("workspace_fqn") or ""), body.get("workspaceId")
    if body.get("applicationId"):
        application = world.application(body["applicationId"])
        if application.name != manifest["name"]:
            raise Refusal(400, f"application {application.id} is not called {manifest['name']}")
        workspace_id = workspace_id or application.workspace_id
    if not workspace_id and not fqn:
        raise Refusal(400, "workspaceId or manifest.workspace_fqn is needed")
    workspace = world.workspace(workspace_id) if workspace_id else world.workspace_by_fqn(fqn)
    if fqn and fqn != workspace.fqn:
        raise Refusal(400, f"manifest.workspace_fqn {fqn} is not workspace {workspace.id}")
    return workspace


def _dry_run(world: World, workspace: Workspace, manifest: Json) -> Json:
    application = world.application_named(workspace.id, manifest["name"])
    version = len(application.deployment_ids) + 1 if application else 1
    subject, when = shapes.SUBJECT, shapes.dates(world.now())
    return {"version": version, "manifest": manifest, "createdBySubject": subject, **when}


ROUTES = [
    Route("list_clusters", "GET", "/v1/clusters", list_clusters),
    Route("get_cluster", "GET", "/v1/clusters/{id}", get_cluster),
    Route("is_connected", "GET", "/v1/clusters/{id}/is-connected", is_connected),
    Route("list_workspaces", "GET", "/v1/workspaces", list_workspaces),
    Route("get_workspace", "GET", "/v1/workspaces/{id}", get_workspace),
    Route("user_info", "GET", "/v1/x/users/info", user_info),
    Route("user_info", "GET", "/v1/users/info", user_info),
    Route("list_runs", "GET", "/v1/x/job-runs", list_runs),
    Route("list_runs", "GET", "/v1/jobs/{job_id}/runs", list_job_runs),
    Route("get_run", "GET", "/v1/jobs/{job_id}/runs/{run_name}", get_run),
    Route("list_apps", "GET", "/v1/apps", list_apps),
    Route("get_app", "GET", "/v1/apps/{id}", get_app),
    Route("list_deployments", "GET", "/v1/apps/{id}/deployments", list_deployments, assumes=True),
    Route(
        "list_deployments",
        "GET",
        "/v1/apps/{id}/deployments/{deployment_id}",
        get_deployment,
        assumes=True,
    ),
    Route("create", "PUT", "/v1/apps", create, assumes=True, mutates=True),
    Route("create", "POST", "/v1/apps", create_posted, assumes=True, mutates=True),
    Route("trigger", "POST", "/v1/jobs/trigger", trigger, assumes=True, mutates=True),
    Route("terminate", "POST", "/v1/jobs/terminate", terminate, assumes=True, mutates=True),
]
