"""A simulator in a thread of this process, and the few calls of a mover to try it with."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests

from fallback.simulator.client import Simulator
from fallback.simulator.server import Server
from fallback.simulator.settings import Settings
from fallback.simulator.world import World

Json = dict[str, Any]
STUCK = ["CREATED", "SCHEDULED"]


@contextmanager
def serving(**settings: Any) -> Iterator[Simulator]:
    """An empty world behind real HTTP: instant rollouts, runs that take an hour."""
    quick = {"rollout_seconds": 0, "start_seconds": 0, "run_seconds": 3600}
    server = Server(World(Settings(**(quick | settings))))
    loop = asyncio.new_event_loop()
    runner, port = loop.run_until_complete(server.start("127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Simulator(port=port)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(runner.cleanup())
        loop.close()


class Caller:
    """The few calls of a mover, as plain as they are; to be closed."""

    def __init__(self, simulator: Simulator) -> None:
        self.url = simulator.url
        self.http = requests.Session()
        self.close = self.http.close
        self.http.headers["Authorization"] = f"Bearer {simulator.token}"
        self.http.headers["x-tfy-assume-user"] = simulator.assume

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.http.request(method, f"{self.url}/v1/{path}", timeout=(3, 5), **more)

    def get(self, path: str, **params: Any) -> Json:
        response = self.call("GET", path, params=params)
        response.raise_for_status()
        answer: Json = response.json()
        return answer

    def stuck(self, workspace_id: str, **params: Any) -> list[Json]:
        query = {"workspaceId": workspace_id, "status": STUCK, **params}
        return list(self.get("x/job-runs", **query)["data"])

    def manifest(self, run: Json) -> Json:
        path = f"apps/{run['applicationId']}/deployments"
        found: Json = self.get(path, version=run["deploymentVersion"])["data"][0]["manifest"]
        return found

    def deploy(self, manifest: Json, place: Json, **more: Any) -> Json:
        """A copy at a destination, as it has to be made."""
        copy = {**manifest, "workspace_fqn": place["fqn"], "trigger": {"type": "manual"}}
        copy["trigger_on_deploy"] = False
        return self.put(copy, place, **more)

    def put(self, manifest: Json, place: Json, **more: Any) -> Json:
        body = {"manifest": manifest, "workspaceId": place["workspaceId"], **more}
        response = self.call("PUT", "apps", json=body)
        response.raise_for_status()
        deployment: Json = response.json()["data"]
        return deployment

    def trigger(self, command: str, **target: str) -> requests.Response:
        given = {"params": json.loads(command)} if command[:1] == "{" else {"command": command}
        body = {**target, "input": given, "metadata": {"job_run_name_alias": "whatever"}}
        return self.call("POST", "jobs/trigger", json=body)

    def terminate(self, run: Json) -> requests.Response:
        query = {"deploymentId": run["deploymentId"], "jobRunName": run["name"]}
        return self.call("POST", "jobs/terminate", params=query)

    def move(self, run: Json, place: Json) -> Json:
        """Create, trigger, terminate; returns the new run."""
        deployment = self.deploy(self.manifest(run), place)
        moved: Json = self.trigger(run["command"], deploymentId=deployment["id"]).json()["data"]
        assert self.terminate(run).ok
        return moved


def place(seeded: Json) -> Json:
    """The first destination."""
    found: Json = seeded["destinations"][0]
    return found


def source(seeded: Json) -> str:
    """The id of the first source workspace."""
    return str(seeded["source"]["workspaceId"])


def wait_for(check: Callable[[], Any], seconds: float = 5) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found
