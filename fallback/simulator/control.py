"""The `/_sim` surface: seeding, steering and judging the world. No authentication."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import arriving, deploying, running, shapes, verdict
from .faults import Faults
from .records import ENDED, Json, Run, Workspace
from .seeding import Wish, seed, told
from .stats import Log, Stats
from .world import Refusal, World


class Control:
    """One method for each path; each takes the path's parts and the JSON body."""

    def __init__(self, world: World, faults: Faults, stats: Stats, log: Log) -> None:
        self.world, self.faults, self.stats, self.log = world, faults, stats, log

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Json) -> Json:
        """Find and carry out a call; raises Refusal."""
        head, _, rest = path.strip("/").partition("/")
        act = self._acts(query).get((method, head, bool(rest)))
        if act is None:
            raise Refusal(404, f"no such call: {method} /_sim/{path}")
        self.world.settle()
        try:
            return act(rest, body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refusal(400, f"{type(error).__name__}: {error}") from error

    def _acts(self, query: Mapping[str, str]) -> dict[tuple[str, str, bool], Act]:
        return {
            ("POST", "seed", False): lambda _, body: seed(self.world, Wish.from_json(body)),
            ("POST", "reset", False): self._reset,
            ("POST", "arrivals", False): self._arrivals,
            ("POST", "runs", False): self._add_run,
            ("GET", "runs", True): lambda name, _: self._shown(self.world.run(name)),
            ("POST", "runs", True): self._change_run,
            ("DELETE", "runs", True): self._delete_run,
            ("POST", "clusters", True): self._change_cluster,
            ("POST", "workspaces", True): self._change_workspace,
            ("POST", "deployments", True): self._change_deployment,
            ("POST", "applications", False): self._add_application,
            ("GET", "settings", False): lambda *_: self.world.settings.to_json(),
            ("POST", "settings", False): self._change_settings,
            ("GET", "faults", False): lambda *_: {"faults": self.faults.to_json()},
            ("POST", "faults", False): lambda _, body: self._set_faults(body["faults"]),
            ("DELETE", "faults", False): lambda *_: self._set_faults([]),
            ("GET", "verdict", False): lambda *_: verdict.judge(self.world),
            ("GET", "stats", False): lambda *_: self.stats.to_json(),
            ("DELETE", "stats", False): lambda *_: self._reset_stats(),
            ("GET", "log", False): lambda *_: self.log.after(int(query.get("after", 0))),
        }

    def _reset(self, _: str, body: Json) -> Json:
        self.world.clear()
        self.faults.replace([])
        self.stats.reset()
        return {}

    def _arrivals(self, _: str, body: Json) -> Json:
        workspace_id = body.get("workspaceId")
        sources = [
            workspace.id
            for workspace in self.world.workspaces.values()
            if workspace.source and arriving.jobs(self.world, workspace.id)
        ]
        wanted = [self.world.workspace(workspace_id).id] if workspace_id else sources
        age = body.get("ageMinutes", arriving.DEFAULT_AGE_MINUTES)
        for key in wanted:
            rate = body["perMinute"] / len(wanted)
            arriving.keep_arriving(self.world, key, rate, age)
        return {"arrivals": self.world.arrivals}

    def _add_run(self, _: str, body: Json) -> Json:
        run = arriving.add_stuck(
            self.world,
            self.world.application(body["applicationId"]),
            self.world.now() - int(body.get("ageMinutes", 0) * 60_000),
            version=body.get("version"),
            command=body.get("command"),
            status=body.get("status", "SCHEDULED"),
        )
        return told(run)

    def _change_run(self, name: str, body: Json) -> Json:
        run, status = self.world.run(name), body["status"]
        if status == "TERMINATED":
            run.ended_by = "somebody"
        running.set_status(self.world, run, status, self.world.now())
        return self._shown(run)

    def _delete_run(self, name: str, _: Json) -> Json:
        running.vanish(self.world, self.world.run(name))
        return {}

    def _change_cluster(self, key: str, body: Json) -> Json:
        cluster = self.world.cluster(key)
        cluster.connected = bool(body["connected"])
        self.world.touch(cluster)
        return {"id": cluster.id, "connected": cluster.connected}

    def _change_workspace(self, key: str, body: Json) -> Json:
        workspace = self.world.workspace(key)
        running.make_room(self.world, workspace, bool(body["runs"]))
        return {"id": workspace.id, "runs": workspace.runs}

    def _change_deployment(self, key: str, body: Json) -> Json:
        deployment = self.world.deployment(key)
        deploying.set_status(self.world, deployment, body["status"], self.world.now())
        return shapes.deployment(self.world, deployment)

    def _add_application(self, _: str, body: Json) -> Json:
        workspace: Workspace = self.world.workspace(body["workspaceId"])
        manifest = body.get("manifest") or {
            "type": "job",
            "image": {"type": "image", "image_uri": "registry.example.com/other:1"},
            "trigger": {"type": "manual"},
        }
        manifest["name"] = body["name"]
        deploying.check_manifest(manifest)
        deployment = deploying.deploy(self.world, workspace, manifest, origin="somebody")
        return {"id": deployment.application_id, "deploymentId": deployment.id}

    def _change_settings(self, _: str, body: Json) -> Json:
        self.world.settings.update(body)
        return self.world.settings.to_json()

    def _set_faults(self, given: list[Json]) -> Json:
        self.faults.replace(given)
        return {"faults": self.faults.to_json()}

    def _reset_stats(self) -> Json:
        self.stats.reset()
        return {}

    def _shown(self, run: Run) -> Json:
        ended = run.status in ENDED
        return shapes.run(self.world, run) | {"origin": run.origin, "ended": ended}


Act = Callable[[str, Json], Json]
