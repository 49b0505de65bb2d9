"""What the simulator does wrong when it is told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import requests

from fallback.simulator.client import Simulator
from tests.fallback.simulating import Caller, Json, place, serving, source, wait_for


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


def trigger_under(simulator: Simulator, api: Caller, seeded: Json, **fault: Any) -> Any:
    """One trigger at a destination under a fault; returns the answer or what went wrong."""
    run = api.stuck(source(seeded))[0]
    deployment = api.deploy(api.manifest(run), place(seeded))
    simulator.faults({"call": "trigger", "times": 1, **fault})
    try:
        return api.trigger(run["command"], deploymentId=deployment["id"])
    except requests.RequestException as error:
        return error


def runs_at(api: Caller, seeded: Json) -> int:
    return len(api.get("x/job-runs", workspaceId=place(seeded)["workspaceId"])["data"])


@pytest.mark.parametrize(("effect", "runs"), [("lost", 1), ("refuse", 0)])
def test_a_cut_connection(
    simulator: Simulator, api: Caller, seeded: Json, effect: str, runs: int
) -> None:
    answer = trigger_under(simulator, api, seeded, effect=effect)
    assert isinstance(answer, requests.ConnectionError)
    assert runs_at(api, seeded) == runs
    assert simulator.fired()[0]["fired"] == 1
    assert simulator.stats()["byStatus"]["cut"] == 1


def test_carried_out_late(simulator: Simulator, api: Caller, seeded: Json) -> None:
    answer = trigger_under(simulator, api, seeded, effect="late", seconds=1)
    assert isinstance(answer, requests.ConnectionError)
    assert runs_at(api, seeded) == 0
    wait_for(lambda: runs_at(api, seeded) == 1)


def test_an_answer_that_hangs(simulator: Simulator, api: Caller, seeded: Json) -> None:
    begun = time.monotonic()
    assert trigger_under(simulator, api, seeded, effect="hang", seconds=0.3).ok
    assert time.monotonic() - begun > 0.3


def test_a_status_instead_of_an_answer(simulator: Simulator, api: Caller, seeded: Json) -> None:
    answer = trigger_under(
        simulator, api, seeded, effect="status", status=429, retryAfter=3, headers={"x-a": "b"}
    )
    assert (answer.status_code, answer.headers["Retry-After"], answer.headers["x-a"]) == (
        429,
        "3",
        "b",
    )
    assert runs_at(api, seeded) == 0
    answer = trigger_under(simulator, api, seeded, effect="status_after", status=504)
    assert (answer.status_code, runs_at(api, seeded)) == (504, 1)


@pytest.mark.parametrize("effect", ["garbage", "truncated"])
def test_an_answer_that_cannot_be_read(
    simulator: Simulator, api: Caller, seeded: Json, effect: str
) -> None:
    answer = trigger_under(simulator, api, seeded, effect=effect)
    if isinstance(answer, requests.Response):
        with pytest.raises(ValueError):
            answer.json()
    assert runs_at(api, seeded) == 1


def test_skip_times_and_match(simulator: Simulator, api: Caller, seeded: Json) -> None:
    first, second = seeded["jobs"]
    simulator.faults(
        {"call": "get_app", "effect": "status", "status": 500, "match": {"path": first["id"]}},
        {"call": "*", "effect": "status", "status": 502, "times": 1, "skip": 1},
    )
    statuses = [api.call("GET", f"apps/{second['id']}").status_code for _ in range(3)]
    assert statuses == [200, 502, 200]
    assert api.call("GET", f"apps/{first['id']}").status_code == 500
    simulator.faults({"call": "list_runs", "effect": "status", "match": {"limit": "7"}})
    assert api.call("GET", "x/job-runs?limit=7").status_code == 503
    assert api.call("GET", "x/job-runs?limit=8").ok
    body = {"call": "trigger", "effect": "status", "status": 500}
    simulator.faults(
        body | {"match": {"body": "seven"}},
        body | {"status": 501, "match": {"input": "eight"}},
        body | {"status": 502, "match": {"query": "a=nine"}},
    )
    for command, status in [("seven", 500), ("eight", 501), ("ten", 400)]:
        assert api.trigger(command).status_code == status
    assert api.call("POST", "jobs/trigger?a=nine", data="no json").status_code == 502
    simulator.faults()
    assert api.call("GET", "x/job-runs?limit=7").ok


@pytest.mark.parametrize(
    "fault", [{"call": "nothing", "effect": "lost"}, {"call": "*", "effect": "x"}, {"a": 1}]
)
def test_a_fault_that_makes_no_sense_is_refused(simulator: Simulator, fault: Json) -> None:
    with pytest.raises(RuntimeError, match="400"):
        simulator.faults(fault)


def test_runs_arrive_between_pages(simulator: Simulator, api: Caller) -> None:
    seeded = simulator.seed(jobs=2, runsPerJob=5, destinations=1)
    simulator.faults({"call": "list_runs", "effect": "arrive", "times": 1, "count": 2})
    first = api.stuck(source(seeded), limit=4)
    second = api.stuck(source(seeded), limit=4, offset=4)
    assert [r["id"] for r in second[:2]] == [r["id"] for r in first[2:]]
    assert simulator.verdict()["totals"] == {"waiting": 12}


def test_arrivals_wait_for_a_listing_of_stuck_runs(
    simulator: Simulator, api: Caller, seeded: Json
) -> None:
    simulator.faults({"call": "list_runs", "effect": "arrive", "times": 1})
    assert api.stuck(place(seeded)["workspaceId"]) == []
    assert simulator.fired()[0]["fired"] == 0
    assert len(api.stuck(source(seeded))) == 4
    assert len(api.stuck(source(seeded))) == 5


def test_runs_depart_between_pages(simulator: Simulator, api: Caller) -> None:
    seeded = simulator.seed(jobs=2, runsPerJob=5, destinations=1)
    simulator.faults({"call": "list_runs", "effect": "depart", "times": 1})
    first = api.stuck(source(seeded), limit=4)
    second = api.stuck(source(seeded), limit=4, offset=4)
    seen = {r["id"] for r in first + second}
    assert len(seen) == 8
    assert simulator.run_shown(first[0]["name"])["status"] == "TERMINATED"
    assert simulator.verdict()["totals"] == {"waiting": 9, "gone": 1}


def test_latency_does_not_limit_concurrency(simulator: Simulator, api: Caller) -> None:
    simulator.settings(latencyMs=300)
    simulator.stats(reset=True)
    threads = [threading.Thread(target=api.call, args=("GET", "clusters")) for _ in range(8)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun < 1.5
    stats = simulator.stats()
    assert (stats["byCall"], stats["peakConcurrent"]) == ({"list_clusters": 8}, 8)
