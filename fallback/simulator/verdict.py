"""Was every stuck run moved exactly once? Judged from the world itself.

A run at a destination is attributed by the mark in its deployment's manifest (which source
job, which version) and by its command, never by its alias, its name or its application's.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from .records import ENDING, Json, Run, marker
from .world import World

FREE_KEYS = frozenset({"name", "workspace_fqn", "trigger", "trigger_on_deploy"})
Key = tuple[str, str]  # the mark of job and version, the command


@dataclass
class Source:
    """A stuck run and the runs that came of it; `wrong` says what was wrong with them."""

    run: Run
    key: Key
    successors: list[Run] = field(default_factory=list)
    wrong: str = ""

    @property
    def ended_by_call(self) -> bool:
        ending = self.run.status == "TERMINATED" or self.run.status in ENDING
        return ending and self.run.ended_by == "terminate"

    @property
    def live_successors(self) -> list[Run]:
        return [run for run in self.successors if counts(run)]


def judge(world: World) -> Json:
    """The verdict on everything that has happened so far."""
    world.settle()
    sources = [Source(run, _key(world, run)) for run in _of_origin(world, "stuck")]
    healthy = [run for run in _of_origin(world, "healthy") if _in_source(world, run)]
    copies, strays = _attribute(world, sources, healthy)
    outcomes = [(source, outcome(source)) for source in sources]
    return {
        "totals": dict(Counter(result for _, result in outcomes)),
        "runs": [_told(source, result) for source, result in outcomes],
        "strays": [_stray(world, run) for run in strays],
        "healthyTouched": _healthy_touched(healthy, copies),
        "recoveredKilled": [s.run.name for s in sources if s.run.recovered and s.ended_by_call],
        "manifestChanges": _manifest_changes(world),
        "litter": _litter(world),
    }


def counts(run: Run) -> bool:
    """Whether a successor counts: it lives, or ended otherwise than by being terminated."""
    return not (run.gone or run.status == "TERMINATED" or run.status in ENDING)


def outcome(source: Source) -> str:
    """What became of one stuck run."""
    run, live = source.run, len(source.live_successors)
    if live and source.wrong:
        return source.wrong
    if live > 1:
        return "doubled"
    if source.ended_by_call:
        return "moved" if live else "lost"
    if run.gone or run.ended_by == "somebody":
        return "gone"
    if run.recovered:
        return "doubled" if live else "recovered"
    return "unterminated" if live else "waiting"


def canonical(command: str) -> str:
    """A command in one spelling: the order of JSON parameters says nothing."""
    try:
        params = json.loads(command)
    except ValueError:
        return command
    if not isinstance(params, dict):
        return command
    return json.dumps(params, sort_keys=True) if params else ""


def _key(world: World, run: Run) -> Key:
    return marker(world.deployments[run.deployment_id].manifest), canonical(run.command)


def _of_origin(world: World, *origins: str) -> list[Run]:
    return [run for run in world.runs.values() if run.origin in origins]


def _in_source(world: World, run: Run) -> bool:
    return world.workspaces[run.workspace_id].source


# Attribution


def _attribute(
    world: World, sources: list[Source], healthy: list[Run]
) -> tuple[list[Run], list[Run]]:
    """Give every run that a call has triggered to the stuck run it came of.

    First those that fit exactly, then those with the right command under another manifest,
    then those of the right manifest with another command. Returns the copies of healthy runs,
    and the rest.
    """
    triggered = _of_origin(world, "api")
    strays = _of_origin(world, "schedule", "deploy")
    strays += [run for run in triggered if _in_source(world, run)]
    rest = _share_out(
        sources, _groups(world, (run for run in triggered if not _in_source(world, run)))
    )
    well = {_key(world, run) for run in healthy}
    copies = [run for run in rest if _key(world, run) in well]
    rest = [run for run in rest if _key(world, run) not in well]
    for part, wrong in ((1, "wrong_manifest"), (0, "wrong_input")):
        rest = _mistaken(world, rest, sources, part, wrong)
    return copies, strays + rest


def _groups(world: World, runs: Iterable[Run]) -> dict[Key, list[Run]]:
    groups: dict[Key, list[Run]] = defaultdict(list)
    for run in runs:
        groups[_key(world, run)].append(run)
    return groups


def _share_out(sources: list[Source], groups: dict[Key, list[Run]]) -> list[Run]:
    """One successor to each source of the same key, the ended sources first."""
    takers: dict[Key, list[Source]] = defaultdict(list)
    for source in sources:
        takers[source.key].append(source)
    unclaimed: list[Run] = []
    for key, runs in groups.items():
        # A later hop ends the run of the hop before: those come last, and change nothing.
        runs.sort(key=lambda run: (not counts(run), run.created_at, run.id))
        same = sorted(takers.get(key, []), key=_claim)
        if not same:
            unclaimed += runs
        for number, run in enumerate(runs):
            if same:
                _give(same[number % len(same)], run, "")
    return unclaimed


def _claim(source: Source) -> tuple[int, int, str]:
    rank = 0 if source.ended_by_call else 1 if not source.run.recovered else 2
    return rank, source.run.created_at, source.run.id


def _give(source: Source, run: Run, wrong: str) -> None:
    source.successors.append(run)
    if run.input_kind == "command" and _is_object(source.run.command):
        wrong = wrong or "wrong_input"  # parameters, run as a shell command
    if wrong and counts(run):
        source.wrong = wrong


def _is_object(command: str) -> bool:
    try:
        return isinstance(json.loads(command), dict)
    except ValueError:
        return False


def _mistaken(
    world: World, runs: list[Run], sources: list[Source], part: int, wrong: str
) -> list[Run]:
    """Give runs that fit in one part of the key only to sources that have nothing better."""
    bereft: dict[str, deque[Source]] = defaultdict(deque)
    for source in sorted(sources, key=_claim):
        if not source.live_successors:
            bereft[source.key[part]].append(source)
    rest = []
    for run in runs:
        takers = bereft.get(_key(world, run)[part])
        if takers and counts(run):
            _give(takers.popleft(), run, wrong)
        else:
            rest.append(run)
    return rest


# What should not have been touched


def _healthy_touched(healthy: list[Run], copies: list[Run]) -> list[Json]:
    ended = [{"name": r.name, "how": "terminated"} for r in healthy if r.ended_by == "terminate"]
    return ended + [{"name": run.name, "how": "copied"} for run in copies]


def _manifest_changes(world: World) -> list[Json]:
    """Deployments at destinations that are not what they were copied from."""
    originals = {
        marker(deployment.manifest): deployment.manifest
        for deployment in world.deployments.values()
        if deployment.origin == "seed"
    }
    changes = []
    for deployment in world.deployments.values():
        if deployment.origin != "api":
            continue
        original = originals.get(marker(deployment.manifest), {})
        keys = (original.keys() | deployment.manifest.keys()) - FREE_KEYS
        changed = sorted(k for k in keys if original.get(k) != deployment.manifest.get(k))
        if changed:
            ids = {"deploymentId": deployment.id, "applicationId": deployment.application_id}
            changes.append({**ids, "source": marker(deployment.manifest), "keys": changed})
    return changes


def _litter(world: World) -> list[Json]:
    used = {run.application_id for run in world.runs.values()}
    return [
        {"id": application.id, "name": application.name, "workspaceId": application.workspace_id}
        for application in world.applications.values()
        if application.origin == "api" and application.id not in used
    ]


# Telling


def _told(source: Source, result: str) -> Json:
    run = source.run
    return {
        "name": run.name,
        "applicationId": run.application_id,
        "version": run.version,
        "status": "" if run.gone else run.status,
        "outcome": result,
        "successors": [_successor(successor) for successor in source.successors],
    }


def _successor(run: Run) -> Json:
    return {"name": run.name, "workspaceId": run.workspace_id, "status": run.status}


def _stray(world: World, run: Run) -> Json:
    told = {"name": run.name, "workspaceId": run.workspace_id, "status": run.status}
    source = marker(world.deployments[run.deployment_id].manifest)
    return {**told, "origin": run.origin, "source": source, "command": run.command}
