"""What a plain loop does: list, create, trigger, terminate, and no memory.

It is here to be wrong. A scenario that this loop survives proves nothing of Switchyard.
"""

import json
import sys
import time
from typing import Any

import requests

STATUSES = ["CREATED", "SCHEDULED", "RUNNING"]
ASSUME = {"x-tfy-assume-user": "serviceaccount/simulated/truefoundry/tfy-system"}
PAGE, PREFIX = 100, 23
THRESHOLD_MS = 60 * 60_000


class Loop:
    def __init__(self, url: str, token: str, place: dict[str, str], patience: float) -> None:
        self.url, self.place, self.patience = url, place, patience
        self.http = requests.Session()
        self.http.headers.update({"Authorization": f"Bearer {token}", **ASSUME})

    def call(self, method: str, path: str, **more: Any) -> Any:
        answer = self.http.request(method, f"{self.url}/v1/{path}", timeout=10, **more)
        answer.raise_for_status()
        return answer.json()

    def sweep(self, workspace_id: str) -> None:
        stuck, offset, more = [], 0, True
        while more:
            query = {"workspaceId": workspace_id, "status": STATUSES, "offset": offset}
            page = self.call("GET", "x/job-runs", params={**query, "limit": PAGE})
            stuck += page["data"]
            offset, more = offset + PAGE, page["pagination"]["hasMore"]
        for run in stuck:
            if time.time() * 1000 - run["createdAt"] > THRESHOLD_MS:
                try:
                    self.move(run)
                except requests.RequestException as error:
                    sys.stderr.write(f"{run['name']}: {error}\n")

    def move(self, run: dict[str, Any]) -> None:
        application_id = self.application(run)
        time.sleep(self.patience)
        given = {"params": {"command": run["command"]}}
        if run["command"][:1] == "{":
            given = {"params": json.loads(run["command"])}
        body = {"applicationId": application_id, "input": given}
        self.call("POST", "jobs/trigger", json=body)
        query = {"deploymentId": run["deploymentId"], "jobRunName": run["name"]}
        self.call("POST", "jobs/terminate", params=query)

    def application(self, run: dict[str, Any]) -> str:
        """The job's copy at the destination, which is known by its name."""
        name = run["applicationName"][:PREFIX].rstrip("-")
        there = {"workspaceId": self.place["workspaceId"], "applicationName": name}
        for found in self.call("GET", "apps", params=there)["data"]:
            return str(found["id"])
        path = f"apps/{run['applicationId']}/deployments"
        manifest = self.call("GET", path)["data"][0]["manifest"]
        manifest |= {"name": name, "workspace_fqn": self.place["fqn"], "trigger_on_deploy": False}
        manifest["trigger"] = {"type": "manual"}
        body = {"manifest": manifest, "workspaceId": self.place["workspaceId"]}
        return str(self.call("PUT", "apps", json=body)["data"]["applicationId"])


def main() -> None:
    """URL TOKEN DESTINATION FQN PATIENCE SOURCE…"""
    url, token, destination, fqn, patience, *sources = sys.argv[1:]
    loop = Loop(url, token, {"workspaceId": destination, "fqn": fqn}, float(patience))
    for workspace_id in sources:
        try:
            loop.sweep(workspace_id)
        except requests.RequestException as error:
            sys.stderr.write(f"{workspace_id}: {error}\n")
