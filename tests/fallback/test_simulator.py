"""The simulator keeps the vendor's rules, over real HTTP."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from email.utils import parsedate_to_datetime

import pytest
import requests

from fallback.simulator.client import Simulator
from fallback.simulator.index import RunIndex
from fallback.simulator.records import Run
from tests.fallback.simulating import STUCK, Caller, Json, place, serving, source, wait_for


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with serving() as simulator:
        yield simulator


@pytest.fixture
def api(simulator: Simulator) -> Iterator[Caller]:
    with closing(Caller(simulator)) as caller:
        yield caller


@pytest.fixture
def seeded(simulator: Simulator) -> Json:
    return simulator.seed(jobs=2, runsPerJob=2, destinations=1)


def test_a_token_is_needed(simulator: Simulator) -> None:
    response = requests.get(f"{simulator.url}/v1/clusters", timeout=5)
    assert response.status_code == 401
    assert response.json() == {"statusCode": 401, "message": "Unauthorized"}


def test_a_service_token_says_for_whom_it_acts(api: Caller, seeded: Json) -> None:
    path = f"apps/{seeded['jobs'][0]['id']}/deployments"
    for header in ["", "serviceaccount/simulated/x", "serviceaccount/another/x/tfy-system"]:
        answer = api.call("GET", path, headers={"x-tfy-assume-user": header})
        assert answer.status_code == 403
    assert api.call("GET", path).ok


def test_both_addresses_of_the_user(api: Caller) -> None:
    new, old = api.get("x/users/info"), api.get("users/info")
    assert new == old
    assert {"id", "name", "email", "tenantName"} <= set(new)


def test_errors_and_unknown_paths_have_the_vendors_shape(api: Caller) -> None:
    for path in ["apps/none", "clusters/none", "workspaces/none", "nothing/here"]:
        answer = api.call("GET", path)
        assert answer.status_code == answer.json()["statusCode"] == 404


def test_the_request_id_and_the_date_come_back(simulator: Simulator, api: Caller) -> None:
    simulator.settings(clockOffsetSeconds=-3600)
    answer = api.call("GET", "clusters", headers={"X-Request-ID": "r-1"})
    assert answer.headers["X-Request-ID"] == "r-1"
    date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    assert abs(date - (time.time() - 3600)) < 5


def test_listing_runs_pages_newest_first(simulator: Simulator, api: Caller) -> None:
    seeded = simulator.seed(jobs=3, runsPerJob=7, healthyRuns=4, destinations=1)
    first = api.get("x/job-runs", workspaceId=source(seeded), status=STUCK, limit=10)
    assert first["pagination"] == {"hasMore": True, "offset": 0, "limit": 10}
    runs = first["data"]
    for offset in (10, 20):
        runs += api.stuck(source(seeded), limit=10, offset=offset)
    order = [(run["createdAt"], run["id"]) for run in runs]
    assert order == sorted(order, reverse=True)
    assert {run["name"] for run in seeded["stuckRuns"]} < {run["name"] for run in runs}
    assert len(runs) == 22  # one healthy run was created a minute ago
    clustered = api.get("x/job-runs", clusterId=seeded["source"]["clusterId"], status="RUNNING")
    assert (len(clustered["data"]), clustered["pagination"]["hasMore"]) == (3, False)
    assert api.get("x/job-runs", limit=1000)["data"][3]["status"] in STUCK


def test_runs_of_a_job_can_be_searched_and_turned_round(api: Caller, seeded: Json) -> None:
    run = seeded["stuckRuns"][0]
    path = f"jobs/{run['applicationId']}/runs"
    [found] = api.get(path, searchPrefix=run["name"])["data"]
    assert found["id"] == run["id"]
    newest = [r["id"] for r in api.get(path)["data"]]
    assert [r["id"] for r in api.get(path, order="asc")["data"]] == newest[::-1]


def test_what_a_manifest_must_be(api: Caller, seeded: Json) -> None:
    manifest = api.manifest(api.stuck(source(seeded))[0])
    here, job_id = {"workspaceId": place(seeded)["workspaceId"]}, seeded["jobs"][0]["id"]
    elsewhere = {"manifest": {**manifest, "workspace_fqn": "another:one"}}
    cases: list[tuple[Json, int]] = [
        ({}, 422),
        ({"manifest": {**manifest, "name": "Bad--Name"}}, 422),
        ({"manifest": {**manifest, "name": "x" * 33}}, 422),
        ({"manifest": {**manifest, "image": None}}, 422),
        ({"manifest": {**manifest, "type": None}}, 422),
        ({"manifest": {**manifest, "workspace_fqn": None}, "workspaceId": ""}, 400),
        ({"manifest": {**manifest, "workspace_fqn": "another:one"}, "workspaceId": ""}, 404),
        ({"manifest": {**manifest, "name": "other"}, "applicationId": job_id}, 400),
        (elsewhere, 400),
        ({"manifest": manifest, "applicationId": "none"}, 404),
    ]
    for body, status in cases:
        assert api.call("PUT", "apps", json={**here, **body}).status_code == status
    assert api.call("PUT", "apps", data="no json").status_code == 400
    assert api.call("PUT", "apps", data="[]").status_code == 422


def test_an_application_can_be_named_by_its_id(api: Caller, seeded: Json) -> None:
    job = seeded["jobs"][0]
    manifest = api.manifest(api.stuck(source(seeded))[0]) | {"trigger_on_deploy": False}
    body = {"manifest": manifest, "applicationId": job["id"]}
    body["manifest"] |= {"name": job["name"]}
    answer = api.call("PUT", "apps", json=body).json()
    assert answer["data"]["applicationId"] == job["id"]
    del manifest["name"]
    named = {"manifest": manifest, "name": "a-name-beside", "workspaceId": job["workspaceId"]}
    made = api.call("PUT", "apps", json=named).json()["data"]
    assert made["manifest"]["name"] == "a-name-beside"


def test_what_a_trigger_must_be(simulator: Simulator, api: Caller, seeded: Json) -> None:
    assert api.trigger("{}").status_code == 400
    assert api.trigger("{}", applicationId="none").status_code == 404
    service = {"name": "no-job", "type": "service"}
    deployment = api.put(service, place(seeded))
    assert api.trigger("{}", deploymentId=deployment["id"]).status_code == 400


def test_a_trigger_without_input_runs_the_manifests_command(api: Caller, seeded: Json) -> None:
    manifest = api.manifest(api.stuck(source(seeded))[0])
    deployment = api.deploy(manifest, place(seeded))
    for given, command in [
        (None, manifest["image"]["command"]),
        ({"command": ["python", "x.py"]}, "python x.py"),
    ]:
        body = {"deploymentId": deployment["id"], "input": given}
        answer = api.call("POST", "jobs/trigger", json=body).json()
        assert answer["data"]["command"] == command


def test_paging_is_checked(api: Caller) -> None:
    for query in ("limit=many", "limit=1001", "offset=-1"):
        assert api.call("GET", f"clusters?{query}").status_code == 422


def test_a_run_or_version_of_another_job_is_not_found(api: Caller, seeded: Json) -> None:
    first, second = seeded["stuckRuns"][:2]
    job_id = first["applicationId"]
    assert api.call("GET", f"jobs/{job_id}/runs/{second['name']}").status_code == 404
    path = f"apps/{job_id}/deployments/{second['deploymentId']}"
    assert api.call("GET", path).status_code == 404


def test_posting_answers_in_the_older_shape(api: Caller, seeded: Json) -> None:
    manifest = api.manifest(api.stuck(source(seeded))[0])
    manifest |= {"workspace_fqn": place(seeded)["fqn"]}
    answer = api.call("POST", "apps", json={"manifest": manifest}).json()
    assert answer["application"]["id"] == answer["deployment"]["applicationId"]


def test_rollouts_overlap_and_the_newest_wins(
    simulator: Simulator, api: Caller, seeded: Json
) -> None:
    simulator.settings(rolloutSeconds=60)
    manifest = api.manifest(api.stuck(source(seeded))[0])
    first, second = (api.deploy(manifest, place(seeded)) for _ in range(2))
    assert api.trigger("{}", deploymentId=first["id"]).status_code == 400
    refused = api.trigger("{}", applicationId=first["applicationId"]).json()
    assert "Active deployment not found" in refused["message"]
    simulator.settings(clockOffsetSeconds=61)
    assert api.get(f"apps/{first['applicationId']}")["data"]["activeVersion"] == 2
    for deployment in (first, second):
        assert api.trigger("{}", deploymentId=deployment["id"]).json()["data"][
            "deploymentVersion"
        ] == str(deployment["version"])
    by_application = api.trigger("{}", applicationId=first["applicationId"]).json()["data"]
    assert by_application["deploymentId"] == second["id"]


def test_force_cancels_rollouts_and_some_fail(
    simulator: Simulator, api: Caller, seeded: Json
) -> None:
    simulator.settings(rolloutSeconds=60, failRollouts=1)
    manifest = api.manifest(api.stuck(source(seeded))[0])
    first = api.deploy(manifest, place(seeded))
    second = api.deploy(manifest, place(seeded), forceDeploy=True)
    simulator.settings(clockOffsetSeconds=61)
    path = f"apps/{first['applicationId']}/deployments"
    statuses = [d["currentStatus"]["status"] for d in api.get(path)["data"]]
    assert statuses == ["DEPLOY_SUCCESS", "CANCELLED"]
    simulator.settings(rolloutSeconds=0, failRollouts=1)
    assert api.deploy(manifest, place(seeded))["currentStatus"]["status"] == "DEPLOY_FAILED"
    active = api.get(f"apps/{first['applicationId']}")["data"]
    assert (active["activeDeploymentId"], active["lastVersion"]) == (second["id"], 3)
    assert simulator.force_deployment(second["id"], "PAUSED")["currentStatus"]["status"]


def test_a_run_goes_on_by_itself_where_there_is_room(
    simulator: Simulator, api: Caller, seeded: Json
) -> None:
    simulator.settings(startSeconds=100, runSeconds=100)
    run = api.stuck(source(seeded))[0]
    deployment = api.deploy(api.manifest(run), place(seeded))
    moved = api.trigger(run["command"], deploymentId=deployment["id"]).json()["data"]
    assert moved["status"] == "CREATED"
    path = f"jobs/{moved['applicationId']}/runs/{moved['name']}"
    for later, status in [(60, "SCHEDULED"), (110, "RUNNING"), (210, "FINISHED")]:
        simulator.settings(clockOffsetSeconds=later)
        assert api.get(path)["data"]["status"] == status
    ended = api.get(path)["data"]
    assert ended["endTime"] - ended["createdAt"] == ended["duration"] == 200_000
    assert api.get(f"jobs/{run['applicationId']}/runs/{run['name']}")["data"]["status"] in STUCK


def test_room_comes_and_goes(simulator: Simulator, api: Caller, seeded: Json) -> None:
    simulator.make_room(place(seeded)["workspaceId"], False)
    run = api.stuck(source(seeded))[0]
    moved = api.move(run, place(seeded))
    assert simulator.run_shown(moved["name"])["status"] == "SCHEDULED"
    simulator.make_room(place(seeded)["workspaceId"], True)
    assert simulator.run_shown(moved["name"])["status"] == "RUNNING"


def test_terminating(simulator: Simulator, api: Caller, seeded: Json) -> None:
    first, second, *_ = api.stuck(source(seeded))
    mixed = {"name": first["name"], "deploymentId": second["deploymentId"]}
    assert api.terminate(mixed).status_code == 404
    simulator.settings(terminateSeconds=60)
    assert api.terminate(first).json()["jobRunStatus"] == "TERMINATION_REQUESTED"
    assert api.terminate(first).status_code == 417
    for later, status in [(31, "TERMINATING"), (61, "TERMINATED")]:
        simulator.settings(clockOffsetSeconds=later)
        assert simulator.run_shown(first["name"])["status"] == status
    simulator.settings(terminateTwice=200)
    assert api.terminate(first).json()["jobRunStatus"] == "TERMINATED"


def test_runs_keep_arriving(simulator: Simulator, seeded: Json) -> None:
    simulator.arrivals(6000)
    wait_for(lambda: simulator.verdict()["totals"]["waiting"] > 10)
    simulator.arrivals(0)
    waiting = simulator.verdict()["totals"]["waiting"]
    time.sleep(0.1)
    assert simulator.verdict()["totals"]["waiting"] == waiting


def test_the_log_tells_who_changed_what(simulator: Simulator, api: Caller, seeded: Json) -> None:
    before = simulator.log()
    api.http.headers["X-Request-ID"] = "r-7"
    moved = api.move(seeded["stuckRuns"][0], place(seeded))
    rows = simulator.log(after=before[-1]["seq"] if before else 0)
    assert [row["call"] for row in rows] == ["create", "trigger", "terminate"]
    assert rows[1]["runName"] == moved["name"]
    assert {row["requestId"] for row in rows} == {"r-7"}


def test_settings_are_checked(simulator: Simulator) -> None:
    mistakes: list[Json] = [
        {"noSuch": 1},
        {"latencyMs": "long"},
        {"tenantName": 5},
        {"tokens": [{}]},
        {"tokens": [{"token": "t", "kind": "x"}]},
    ]
    for wrong in mistakes:
        with pytest.raises(RuntimeError, match="400"):
            simulator.settings(**wrong)


def test_tokens_can_be_exchanged(simulator: Simulator, api: Caller) -> None:
    simulator.settings(tokens=["another", {"token": "a-person", "kind": "user"}])
    assert api.call("GET", "clusters").status_code == 401
    headers = {"Authorization": "Bearer a-person"}
    assert api.call("GET", "users/info", headers=headers).json()["subjectType"] == "user"


def test_a_seed_is_checked(simulator: Simulator) -> None:
    mistakes: list[Json] = [
        {"noSuch": 1},
        {"commands": "odd"},
        {"jobNamePrefix": "Upper", "jobs": 1},
    ]
    for wrong in mistakes:
        with pytest.raises(RuntimeError, match=r"400|422"):
            simulator.seed(**wrong)


def test_a_seed_can_be_named_and_repeated(simulator: Simulator) -> None:
    first, second = (simulator.seed(jobs=1, jobNamePrefix="my-job") for _ in range(2))
    assert first["jobs"][0]["name"] == second["jobs"][0]["name"] == "my-job-0000"
    assert first["source"]["fqn"] != second["source"]["fqn"]


def test_steering_is_for_this_machine_only(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fallback.simulator.server.is_local", lambda request: False)
    with pytest.raises(RuntimeError, match="403"):
        simulator.verdict()


def test_steering_that_makes_no_sense_is_refused(simulator: Simulator, seeded: Json) -> None:
    job_id, empty = seeded["jobs"][0]["id"], simulator.seed(jobs=0)["source"]["workspaceId"]
    refused: list[tuple[str, Json, str]] = [
        ("nothing", {}, "404"),
        ("runs/none", {"status": "RUNNING"}, "404"),
        ("runs", {"applicationId": job_id, "version": 9}, "404"),
        ("arrivals", {}, "400"),
        ("arrivals", {"perMinute": 60, "workspaceId": empty}, "400"),
    ]
    for path, body, status in refused:
        with pytest.raises(RuntimeError, match=status):
            simulator.sim("POST", path, body)
    url = simulator.url.replace("/api/svc", "/_sim/seed")
    assert requests.post(url, data="no json", timeout=5).status_code == 400


def test_a_reset_empties_everything(simulator: Simulator, seeded: Json) -> None:
    simulator.arrivals(60)
    simulator.reset()
    assert simulator.verdict()["runs"] == []
    assert simulator.fired() == []
    assert simulator.stats()["requests"] == 0


def test_pages_are_those_of_a_plain_sort() -> None:
    index, runs, chance = RunIndex(), [], random.Random(5)
    for number in range(300):
        runs.append(Run(f"{number:03d}", "", "", "", "", "", 1, "", chance.randrange(99), "stuck"))
        runs[-1].status = chance.choice(["CREATED", "SCHEDULED", "RUNNING"])
        index.add(runs[-1])
        if number % 3 == 0:
            index.remove(gone := runs.pop(chance.randrange(len(runs))))
            assert gone not in runs
        for statuses in (set(), {"CREATED"}, {"CREATED", "SCHEDULED"}):
            wanted = [run for run in runs if not statuses or run.status in statuses]
            wanted.sort(key=lambda run: (run.created_at, run.id), reverse=True)
            page, total = index.page(statuses, 5, 10)
            assert (page, total) == ([run.id for run in wanted[5:15]], len(wanted))
