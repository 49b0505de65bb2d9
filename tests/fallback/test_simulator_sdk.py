"""The vendor's own SDK against the simulator: it judges the shape of every answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import truefoundry_sdk as vendor  # its names are imported when they are used: 2 s
from truefoundry_sdk.core.api_error import ApiError

from fallback.simulator.client import Simulator
from fallback.simulator.settings import DEFAULT_TOKEN, SERVICE, USER
from tests.fallback.simulating import Json, serving

PERSON = "a-person"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with serving(tokens={DEFAULT_TOKEN: SERVICE, PERSON: USER}) as simulator:
        yield simulator


@pytest.fixture
def seeded(simulator: Simulator) -> Json:
    return simulator.seed(jobs=12, runsPerJob=3, versionsPerJob=2, healthyRuns=4, destinations=2)


@pytest.fixture
def sdk(simulator: Simulator) -> Iterator[vendor.TrueFoundry]:
    with client(simulator, PERSON) as sdk:
        yield sdk


@contextmanager
def client(simulator: Simulator, token: str, **headers: str) -> Iterator[vendor.TrueFoundry]:
    base = simulator.url.removesuffix("/api/svc")
    with httpx.Client(headers=headers, timeout=10) as http:
        yield vendor.TrueFoundry(base_url=base, api_key=token, httpx_client=http)


def deploy(sdk: vendor.TrueFoundry, seeded: Json, name: str = "a-copy", **more: Any) -> Any:
    """A copy of a source job's first version at the first destination."""
    job, destination = seeded["jobs"][0], seeded["destinations"][0]
    source = next(iter(sdk.application_versions.list(job["id"], version="1")))
    manifest = source.manifest.dict(exclude_none=True)
    manifest |= {"name": name, "workspace_fqn": destination["fqn"]}
    manifest |= {"trigger": {"type": "manual"}, "trigger_on_deploy": False}
    return sdk.applications.create_or_update(
        manifest=manifest, workspace_id=destination["workspaceId"], **more
    ).data


def test_clusters(sdk: vendor.TrueFoundry, seeded: Json, simulator: Simulator) -> None:
    clusters = list(sdk.clusters.list(limit=2))
    assert [c.id for c in clusters] == [c["id"] for c in seeded["clusters"]]
    assert sdk.clusters.get(clusters[0].id).data.manifest.name == "source-1"
    assert sdk.clusters.is_connected(clusters[0].id).is_connected
    simulator.connect(clusters[0].id, False)
    assert not sdk.clusters.is_connected(clusters[0].id).is_connected
    with pytest.raises(vendor.NotFoundError):
        sdk.clusters.get("nowhere")


def test_workspaces(sdk: vendor.TrueFoundry, seeded: Json) -> None:
    assert len(list(sdk.workspaces.list(limit=1))) == 3
    source = seeded["source"]
    [found] = sdk.workspaces.list(fqn=source["fqn"])
    assert (found.id, found.cluster_id) == (source["workspaceId"], source["clusterId"])
    assert [w.id for w in sdk.workspaces.list(cluster_id=source["clusterId"])] == [found.id]
    assert {w.cluster_id for w in sdk.workspaces.list(name="overflow")} == {
        d["clusterId"] for d in seeded["destinations"]
    }
    assert sdk.workspaces.get(found.id).data.fqn == source["fqn"]


def test_applications(sdk: vendor.TrueFoundry, seeded: Json) -> None:
    job = seeded["jobs"][0]
    assert len(list(sdk.applications.list(workspace_id=job["workspaceId"], limit=5))) == 12
    [found] = sdk.applications.list(
        workspace_id=job["workspaceId"], application_name=job["name"], application_type="job"
    )
    assert found.id == job["id"]
    got = sdk.applications.get(job["id"]).data
    assert (got.name, got.active_version, got.last_version) == (job["name"], 2, 2)
    assert got.active_deployment_id == got.last_deployment_id == got.deployment.id
    assert isinstance(got.deployment.manifest, vendor.Job)


def test_every_seeded_manifest_is_a_job_to_the_sdk(sdk: vendor.TrueFoundry, seeded: Json) -> None:
    for job in seeded["jobs"]:
        for version in sdk.application_versions.list(job["id"], limit=1):
            assert isinstance(version.manifest, vendor.Job)
            assert version.current_status.status == "DEPLOY_SUCCESS"
            same = sdk.application_versions.get(job["id"], version.id).data
            assert same.version == version.version
    triggers = {
        sdk.applications.get(job["id"]).data.deployment.manifest.trigger.type
        for job in seeded["jobs"]
    }
    assert triggers == {"manual", "scheduled"}


def test_create_makes_versions(sdk: vendor.TrueFoundry, seeded: Json) -> None:
    first = deploy(sdk, seeded)
    second = deploy(sdk, seeded, force_deploy=True, trigger_on_deploy=False)
    assert (first.version, second.version) == (1, 2)
    assert first.application_id == second.application_id == second.application.id
    dry = deploy(sdk, seeded, dry_run=True)
    assert (dry.version, dry.id) == (3, None)
    found = sdk.application_versions.list(first.application_id)
    assert [d.version for d in found] == [2, 1]


def test_a_rollout_takes_its_time(
    sdk: vendor.TrueFoundry, seeded: Json, simulator: Simulator
) -> None:
    simulator.settings(rolloutSeconds=60)
    deployment = deploy(sdk, seeded)
    assert deployment.current_status.status == "ROLLOUT_STARTED"
    assert sdk.applications.get(deployment.application_id).data.active_version is None
    with pytest.raises(vendor.BadRequestError, match="Active deployment not found"):
        sdk.jobs.trigger(
            deployment_id=deployment.id, input=vendor.JobTriggerInput(params={"a": "b"})
        )


def test_runs_are_listed_and_found(sdk: vendor.TrueFoundry, seeded: Json) -> None:
    wanted = seeded["stuckRuns"][0]
    job_id = wanted["applicationId"]
    runs = list(sdk.jobs.list_runs(job_id, limit=2))
    assert [r.created_at for r in runs] == sorted((r.created_at for r in runs), reverse=True)
    assert wanted["name"] in {r.name for r in runs}
    run = sdk.jobs.get_run(job_id, wanted["name"]).data
    assert (run.id, run.command) == (wanted["id"], wanted["command"])
    assert run.deployment_version == str(wanted["deploymentVersion"])
    assert run.triggered_by_subject.subject_type == "serviceaccount"
    running = list(sdk.jobs.list_runs(job_id, status=["RUNNING", "FINISHED"]))
    assert {r.status for r in running} == {"RUNNING"}
    with pytest.raises(vendor.NotFoundError):
        sdk.jobs.get_run(job_id, "nothing-of-that-name")


def test_trigger_and_terminate(sdk: vendor.TrueFoundry, seeded: Json) -> None:
    deployment = deploy(sdk, seeded)
    answer = sdk.jobs.trigger(
        deployment_id=deployment.id,
        input=vendor.JobTriggerInput(params={"shard": "7", "epochs": "10"}),
        metadata=vendor.Metadata(job_run_name_alias="an-alias"),
    )
    assert answer.data.name == answer.job_run_name
    assert answer.data.command == json.dumps({"epochs": "10", "shard": "7"})
    ended = sdk.jobs.terminate(deployment_id=deployment.id, job_run_name=answer.job_run_name)
    assert ended.job_run_status == "TERMINATED"
    with pytest.raises(vendor.ExpectationFailedError):
        sdk.jobs.terminate(deployment_id=deployment.id, job_run_name=answer.job_run_name)
    with pytest.raises(vendor.NotFoundError):
        sdk.jobs.terminate(deployment_id="another", job_run_name=answer.job_run_name)


def test_a_plain_command_by_application(sdk: vendor.TrueFoundry, seeded: Json) -> None:
    deployment = deploy(sdk, seeded)
    answer = sdk.jobs.trigger(
        application_id=deployment.application_id,
        input=vendor.JobTriggerInput(command="python x.py"),
    )
    assert (answer.data.command, answer.data.deployment_id) == ("python x.py", deployment.id)


def test_the_session(sdk: vendor.TrueFoundry, seeded: Json) -> None:
    session = sdk.internal.users.get_info()
    assert (session.tenant_name, session.subject_type) == ("simulated", "user")


def test_tokens(simulator: Simulator, seeded: Json) -> None:
    job_id = seeded["jobs"][0]["id"]
    with client(simulator, "nobody") as sdk, pytest.raises(vendor.UnauthorizedError):
        sdk.clusters.get(seeded["clusters"][0]["id"])
    with client(simulator, simulator.token) as sdk:
        assert list(sdk.clusters.list())
        with pytest.raises(ApiError) as refused:
            list(sdk.application_versions.list(job_id))
        assert refused.value.status_code == 403
    with client(simulator, simulator.token, **{"x-tfy-assume-user": simulator.assume}) as sdk:
        assert list(sdk.application_versions.list(job_id))
