"""The simulator tells a right move from every wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from fallback.simulator.client import Simulator
from tests.fallback.simulating import Caller, Json, place, serving


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


def outcomes(simulator: Simulator) -> Json:
    return {run["name"]: run["outcome"] for run in simulator.verdict()["runs"]}


def untouched(verdict: Json) -> bool:
    return not any(
        verdict[what] for what in ("strays", "healthyTouched", "manifestChanges", "litter")
    )


@pytest.mark.parametrize("commands", ["unique", "identical", "plain"])
def test_everything_moved_once(simulator: Simulator, api: Caller, commands: str) -> None:
    seeded = simulator.seed(
        jobs=6, runsPerJob=2, versionsPerJob=2, healthyRuns=3, commands=commands, destinations=1
    )
    for run in seeded["stuckRuns"]:
        api.move(run, place(seeded))
    verdict = simulator.verdict()
    assert verdict["totals"] == {"moved": 12}
    assert untouched(verdict)


def test_two_workspaces_with_the_same_jobs(simulator: Simulator) -> None:
    seeded = simulator.seed(
        jobs=2, runsPerJob=1, twoWorkspaces=True, sharedNamePrefixLength=23, destinations=1
    )
    names = [job["name"] for job in seeded["jobs"]]
    assert len(names) == 4
    assert len(set(names)) == 2
    assert len({name[:23] for name in names}) == 1
    assert len({job["workspaceId"] for job in seeded["jobs"]}) == 2


def test_ended_by_somebody_else(simulator: Simulator, seeded: Json) -> None:
    simulator.force_run(seeded["stuckRuns"][0]["name"], "TERMINATED")
    assert simulator.verdict()["totals"] == {"gone": 1, "waiting": 3}


@pytest.mark.parametrize("commands", ["unique", "identical"])
def test_each_way_to_go_wrong_is_told(simulator: Simulator, api: Caller, commands: str) -> None:
    seeded = simulator.seed(jobs=1, runsPerJob=6, destinations=1, commands=commands)
    moved, doubled, lost, unterminated, gone, recovered = seeded["stuckRuns"]
    api.move(moved, place(seeded))
    api.move(doubled, place(seeded))
    assert set(outcomes(simulator).values()) == {"moved", "waiting"}
    again = api.deploy(api.manifest(doubled), place(seeded))
    api.trigger(doubled["command"], deploymentId=again["id"])
    if commands == "unique":
        api.terminate(lost)
        api.trigger(unterminated["command"], deploymentId=again["id"])
    simulator.remove_run(gone["name"])
    simulator.force_run(recovered["name"], "RUNNING")
    expected = {"moved": 1, "doubled": 1, "gone": 1, "recovered": 1}
    found = simulator.verdict()["totals"]
    if commands == "unique":
        assert found == expected | {"lost": 1, "unterminated": 1}
        assert outcomes(simulator)[lost["name"]] == "lost"
    else:  # whose successor the third one is, nobody can tell
        assert found == {"moved": 2, "unterminated": 1, "waiting": 1, "gone": 1, "recovered": 1}


def test_a_run_that_recovered_and_was_moved_as_well(
    simulator: Simulator, api: Caller, seeded: Json
) -> None:
    first, second, *_ = seeded["stuckRuns"]
    deployment = api.deploy(api.manifest(first), place(seeded))
    moved = api.trigger(first["command"], deploymentId=deployment["id"]).json()["data"]
    simulator.force_run(first["name"], "RUNNING")
    assert outcomes(simulator)[first["name"]] == "doubled"
    assert api.terminate(moved).ok
    assert outcomes(simulator)[first["name"]] == "recovered"
    simulator.force_run(second["name"], "RUNNING")
    api.move(second, place(seeded))
    assert simulator.verdict()["recoveredKilled"] == [second["name"]]


def test_a_second_hop_is_still_one_move(simulator: Simulator, api: Caller) -> None:
    seeded = simulator.seed(jobs=1, runsPerJob=1, destinations=2)
    hop = api.move(seeded["stuckRuns"][0], seeded["destinations"][0])
    api.move(hop, seeded["destinations"][1])
    assert simulator.verdict()["totals"] == {"moved": 1}


def test_the_manifest_of_another_version(simulator: Simulator, api: Caller) -> None:
    seeded = simulator.seed(jobs=1, runsPerJob=2, versionsPerJob=2, destinations=1)
    old, new = seeded["stuckRuns"]
    assert (old["deploymentVersion"], new["deploymentVersion"]) == (1, 2)
    deployment = api.deploy(api.manifest(new), place(seeded))
    for run in (old, new):
        api.trigger(run["command"], deploymentId=deployment["id"])
        api.terminate(run)
    assert simulator.verdict()["totals"] == {"wrong_manifest": 1, "moved": 1}


def test_another_input(simulator: Simulator, api: Caller, seeded: Json) -> None:
    changed, shelled, *_ = seeded["stuckRuns"]
    deployment = api.deploy(api.manifest(changed), place(seeded))
    api.trigger('{"shard": "another"}', deploymentId=deployment["id"])
    api.terminate(changed)
    deployment = api.deploy(api.manifest(shelled), place(seeded))
    body = {"deploymentId": deployment["id"], "input": {"command": shelled["command"]}}
    api.call("POST", "jobs/trigger", json=body)
    api.terminate(shelled)
    assert simulator.verdict()["totals"] == {"wrong_input": 2, "waiting": 2}


def test_triggers_that_were_left_in_make_strays(simulator: Simulator, api: Caller) -> None:
    seeded = simulator.seed(jobs=6, runsPerJob=1, destinations=1)
    for run in seeded["stuckRuns"]:
        manifest = api.manifest(run)
        api.put({**manifest, "workspace_fqn": place(seeded)["fqn"]}, place(seeded))
    strays = simulator.verdict()["strays"]
    assert sorted({stray["origin"] for stray in strays}) == ["deploy", "schedule"]


def test_healthy_runs_changed_manifests_and_litter(
    simulator: Simulator, api: Caller, seeded: Json
) -> None:
    job_id = seeded["jobs"][0]["id"]
    healthy = [simulator.add_run(job_id, status="RUNNING", ageMinutes=300) for _ in range(2)]
    api.terminate(healthy[0])
    changed = {**api.manifest(healthy[1]), "retries": 5}
    deployment = api.deploy(changed, place(seeded))
    api.trigger(healthy[1]["command"], deploymentId=deployment["id"])
    litter = api.deploy({**changed, "name": "left-behind"}, place(seeded))
    simulator.add_application(place(seeded)["workspaceId"], "somebodys")
    verdict = simulator.verdict()
    assert [touched["how"] for touched in verdict["healthyTouched"]] == ["terminated", "copied"]
    assert [change["keys"] for change in verdict["manifestChanges"]] == [["retries"]] * 2
    assert [app["id"] for app in verdict["litter"]] == [litter["applicationId"]]
