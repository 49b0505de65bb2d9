"""The vendor's JSON for the world's records, as its SDK's types want it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from .records import Application, Cluster, Deployment, Json, Run, Workspace
from .settings import SERVICE
from .world import World

SUBJECT: Json = {
    "subjectId": "serviceaccount-simulated",
    "subjectType": "serviceaccount",
    "subjectSlug": "simulated",
    "subjectDisplayName": "Simulated",
}


def iso(moment: int) -> str:
    """Milliseconds since the epoch as the vendor writes a date."""
    when = datetime.fromtimestamp(moment / 1000, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def dates(created_at: int, updated_at: int | None = None) -> Json:
    return {
        "createdAt": iso(created_at),
        "updatedAt": iso(created_at if updated_at is None else updated_at),
    }


def cluster(world: World, record: Cluster) -> Json:
    tenant = world.settings.tenant_name
    return {
        "id": record.id,
        "fqn": f"{tenant}:{record.name}",
        "tenantName": tenant,
        "accountId": tenant,
        "manifest": {
            "type": "cluster",
            "name": record.name,
            "cluster_type": "generic",
            "environment_names": ["production"],
        },
        "createdBySubject": SUBJECT,
        **dates(record.created_at),
    }


def workspace(world: World, record: Workspace) -> Json:
    tenant = world.settings.tenant_name
    return {
        "id": record.id,
        "fqn": record.fqn,
        "name": record.name,
        "tenantName": tenant,
        "accountId": tenant,
        "clusterId": record.cluster_id,
        "manifest": {
            "type": "workspace",
            "name": record.name,
            "cluster_fqn": world.clusters[record.cluster_id].name,
        },
        "createdBySubject": SUBJECT,
        **dates(record.created_at),
    }


def application_summary(world: World, record: Application) -> Json:
    active = world.deployments.get(record.active_deployment_id)
    return {
        "id": record.id,
        "fqn": f"{world.workspaces[record.workspace_id].fqn}:{record.name}",
        "name": record.name,
        "type": record.type,
        "metadata": {"paused": False},
        "lifecycleStage": "active",
        "workspaceId": record.workspace_id,
        "activeVersion": active.version if active else None,
    }


def application(world: World, record: Application) -> Json:
    last = world.deployments.get(record.deployment_ids[-1]) if record.deployment_ids else None
    shown = world.deployments.get(record.active_deployment_id) or last
    return {
        **application_summary(world, record),
        "tenantName": world.settings.tenant_name,
        "workspaceFqn": world.workspaces[record.workspace_id].fqn,
        "lastVersion": last.version if last else None,
        "activeDeploymentId": record.active_deployment_id or None,
        "lastDeploymentId": last.id if last else None,
        "deployment": deployment(world, shown) if shown else None,
        "autopilot": {},
        "createdBySubject": SUBJECT,
        **dates(record.created_at, last.updated_at if last else None),
    }


def deployment(world: World, record: Deployment) -> Json:
    owner = world.applications[record.application_id]
    when = dates(record.created_at, record.updated_at)
    return {
        "id": record.id,
        "version": record.version,
        "fqn": f"{world.workspaces[owner.workspace_id].fqn}:{owner.name}:{record.version}",
        "applicationId": owner.id,
        "manifest": record.manifest,
        "application": application_summary(world, owner),
        "createdBySubject": SUBJECT,
        "currentStatusId": f"{record.id}-{record.status.lower()}",
        "currentStatus": {
            "id": f"{record.id}-{record.status.lower()}",
            "deploymentId": record.id,
            "status": record.status,
            "transition": "DEPLOYING" if record.status == "ROLLOUT_STARTED" else "",
            **when,
        },
        **when,
    }


def run(world: World, record: Run) -> Json:
    return {
        "id": record.id,
        "name": record.name,
        "applicationName": record.application_name,
        "applicationId": record.application_id,
        "deploymentId": record.deployment_id,
        "deploymentVersion": str(record.version),
        "createdAt": record.created_at,
        "endTime": record.ended_at or None,
        "duration": record.ended_at - record.created_at if record.ended_at else None,
        "command": record.command,
        "totalRetries": 0,
        "error": None,
        "status": record.status,
        "triggeredBy": SUBJECT["subjectSlug"],
        "triggeredBySubject": SUBJECT,
        "exitCode": 0 if record.status == "FINISHED" else None,
        "tenantName": world.settings.tenant_name,
    }


def encoded_run(world: World, record: Run) -> bytes:
    """A run as JSON text; kept until the run changes, since listings repeat it."""
    if record.encoded is None:
        record.encoded = json.dumps(run(world, record)).encode()
    return record.encoded


def session(world: World, token_kind: str) -> Json:
    """Who a token belongs to: the SDK's Session, with the fields of older servers."""
    service = token_kind == SERVICE
    slug = "simulated" if service else "somebody@example.com"
    tenant = world.settings.tenant_name
    return {
        "id": "subject-simulated",
        "name": slug,
        "email": f"{slug}@example.com" if service else slug,
        "userName": slug,
        "subjectSlug": slug,
        "subjectType": "serviceaccount" if service else "user",
        "effectiveUserId": "subject-simulated",
        "tenantName": tenant,
        "roles": ["tenant-admin"],
        "teams": [],
        "accounts": [{"id": tenant, "name": tenant}],
    }
