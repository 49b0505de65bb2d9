"""From stuck runs to planned moves: what is known of them, where each goes, and the rows."""

import math
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import transaction
from django.db.models import Count, Min
from django.utils import timezone

from accounts import activity
from accounts.models import Activity, Organization
from config.base import live
from config.base.actor import Actor
from config.base.redaction import keyed_hash
from config.base.showing import plain_duration
from fallback import match, naming
from fallback.looking import from_epoch_ms
from fallback.match import Lineage, Place, Reason
from fallback.models import (
    FallbackConfig,
    Mode,
    Move,
    MoveState,
    MoveStep,
    PurgeMode,
    Relocation,
    StepEvent,
    Sweep,
)
from fallback.models.move import OPEN, step
from fallback.truefoundry import JobRun

if TYPE_CHECKING:
    from fallback.sweep import Candidate, Source

CHUNK = 200
FAILED_PAUSE = timedelta(minutes=30)  # doubled with each further failure, up to a day
T = TypeVar("T")


@dataclass(slots=True)
class Plan:
    """A stuck run, where it goes and what it was before."""

    run: JobRun
    config: FallbackConfig
    place: Place
    lineage: Lineage | None
    age: timedelta


def _chunks(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def unknown_only(
    source: "Source", candidates: "list[Candidate]", organization_id: uuid.UUID
) -> "list[Candidate]":
    """Those without a move in the way; the others are skipped with the reason."""
    remote, now = source.connection.remote, timezone.now()
    known: dict[str, list[dict[str, Any]]] = {}
    for chunk in _chunks(candidates):
        rows = Move.objects.filter(remote=remote, source_run_id__in=[c.run.id for c in chunk])
        for row in rows.values(
            "source_run_id", "state", "reason", "organization_id", "finished_at", "purge_mode"
        ):
            known.setdefault(row["source_run_id"], []).append(row)
    sought = _sought(remote)
    left = []
    for candidate in candidates:
        reason, message = _in_the_way(known.get(candidate.run.id, []), organization_id, now)
        since = sought.get(candidate.run.deployment_id, math.inf)
        if not reason and candidate.run.created_at >= since:
            reason = Reason.IN_PROGRESS
            message = "A move whose trigger was not answered may have started it."
        if reason:
            source.skip(candidate.run, reason, message)
        else:
            left.append(candidate)
    return left


def _sought(remote: str) -> dict[str, int]:
    """Deployments with an unanswered trigger, and since when (epoch milliseconds): a run of theirs
    may be the one that is looked for, and has to be there to be found."""
    unanswered = Move.objects.filter(remote=remote, trigger_unanswered=True)
    since = unanswered.values_list("destination_deployment_id").annotate(Min("trigger_after"))
    return dict(since.order_by())


def _in_the_way(
    moves: list[dict[str, Any]], organization_id: uuid.UUID, now: datetime
) -> tuple[str, str]:
    """The reason why a run with these moves is not moved now, or ''."""
    for move in moves:
        if move["state"] in OPEN or move["state"] == MoveState.SUCCEEDED:
            if move["organization_id"] != organization_id:
                return Reason.OWNED_ELSEWHERE, ""  # and names nobody
            if move["state"] == MoveState.SUCCEEDED:
                if move["purge_mode"] == PurgeMode.NEVER:
                    return Reason.ALREADY_MOVED, ""
                return Reason.ALREADY_MOVED, "It was told to end, and is still there: end it."
            return Reason.IN_PROGRESS, f"Its move is {move['state']}."
    ours = [move for move in moves if move["organization_id"] == organization_id]
    if any(move["reason"] == "CancelledByPerson" for move in ours):
        return Reason.CANCELLED, "A person cancelled its move."
    failed = [move["finished_at"] for move in ours if move["state"] == MoveState.FAILED]
    if failed:
        pause = min(FAILED_PAUSE * 2 ** min(len(failed) - 1, 6), timedelta(days=1))
        left = max(failed) + pause - now
        if left > timedelta(0):
            times = "once" if len(failed) == 1 else f"{len(failed)} times"
            return Reason.COOLDOWN, f"Moving it failed {times}; again in {plain_duration(left)}."
    return "", ""


def _lineages(source: "Source", candidates: "list[Candidate]") -> dict[str, Lineage]:
    """By run id: the moves that made these runs, so that a job keeps its identity."""
    found: dict[str, Lineage] = {}
    for chunk in _chunks(candidates):
        made = Move.objects.filter(
            remote=source.connection.remote,
            destination_run_id__in=[c.run.id for c in chunk],
        )
        for move in made.only(
            "lineage", "hop", "visited", "job_name", "finished_at", "destination_run_id"
        ):
            found[move.destination_run_id] = Lineage(
                str(move.lineage),
                move.hop,
                frozenset(move.visited),
                move.job_name,
                move.finished_at,
            )
    return found


def choose(
    source: "Source",
    candidates: "list[Candidate]",
    is_connected: "Callable[[Source, str], bool]",
) -> list[Plan]:
    """A destination for each candidate; those without one are skipped with the reason."""
    lineages, open_moves = _lineages(source, candidates), _open_moves(source)
    plans: list[Plan] = []
    for candidate in candidates:
        run, config = candidate.run, candidate.config
        lineage = lineages.get(run.id)
        refused = _too_soon_or_often(config, lineage, timezone.now())
        if refused:
            source.skip(run, *refused)
            continue
        visited = (lineage.visited if lineage else frozenset()) | {source.workspace_id}
        chosen = match.choose(
            _places(config, open_moves), visited, lambda cluster: is_connected(source, cluster)
        )
        if chosen.place is None:
            source.skip(run, chosen.reason, chosen.message)
            continue
        open_moves[chosen.place.workspace_id] += 1
        plans.append(Plan(run, config, chosen.place, lineage, candidate.age))
    return plans


def _too_soon_or_often(
    config: FallbackConfig, lineage: Lineage | None, now: datetime
) -> tuple[str, str] | None:
    if lineage is None:
        return None
    if lineage.last_finished_at is None:  # it may have to end this very run, if its source recovers
        return Reason.IN_PROGRESS, "The move that started it has not ended."
    if lineage.hops >= config.max_hops:
        message = f"The job has moved {lineage.hops} of at most {config.max_hops} times."
        return Reason.MAX_HOPS, message
    left = lineage.last_finished_at + timedelta(minutes=config.cooldown_minutes) - now
    if left > timedelta(0):
        return Reason.COOLDOWN, f"Moved lately; again in {plain_duration(left)}."
    return None


def _open_moves(source: "Source") -> Counter[str]:
    """Open moves by destination workspace, counted only where a limit asks for it."""
    limited = {
        place.workspace_id
        for config in source.configs.values()
        for place in config.destinations.all()
        if place.max_open_moves is not None
    }
    counted = (
        Move.objects.open()
        .filter(remote=source.connection.remote, destination_workspace_id__in=limited)
        .values_list("destination_workspace_id")
        .annotate(count=Count("pk"))
        .order_by()
    )
    return Counter(dict(counted)) if limited else Counter()


def _places(config: FallbackConfig, open_moves: Counter[str]) -> list[Place]:
    return [
        Place(
            cluster_id=place.cluster_id,
            workspace_id=place.workspace_id,
            workspace_fqn=place.workspace_fqn,
            enabled=place.enabled,
            limit=place.max_open_moves,
            open_moves=open_moves[place.workspace_id],
        )
        for place in config.destinations.all()
    ]


def write(source: "Source", plans: list[Plan], sweep: Sweep, actor: Actor) -> None:
    """Write the moves, a few hundred a transaction, so that a crash keeps what was planned."""
    for chunk in _chunks(plans):
        with transaction.atomic():
            # Held until the moves are in, so that nobody deletes it beneath them.
            alive = Organization.objects.alive().select_for_update(no_key=True)
            if not alive.filter(pk=sweep.organization_id):
                return
            chunk = _still_wanted(source, chunk)
            relocations = _relocations(source, chunk)
            chunk = [plan for plan in chunk if _fits(source, plan, relocations)]
            moves = [_move(source, plan, relocations[_key(source, plan)], sweep) for plan in chunk]
            # Another sweep, perhaps another organization's, may have been quicker.
            Move.objects.bulk_create(moves, ignore_conflicts=True)
            written = set(
                Move.objects.filter(pk__in=[m.pk for m in moves]).values_list("pk", flat=True)
            )
            for plan, move in zip(chunk, moves, strict=True):
                if move.pk not in written:
                    source.skip(plan.run, Reason.IN_PROGRESS)
            ours = [move for move in moves if move.pk in written]
            MoveStep.objects.bulk_create(_planned_step(move) for move in ours)
            Activity.objects.bulk_create(_planned_activity(actor, move) for move in ours)
            source.planned += len(ours)
            live.ring_on_commit(sweep.organization_id)


def _still_wanted(source: "Source", plans: list[Plan]) -> list[Plan]:
    """Those whose config still says what it did: a sweep reads it, then may list for a while."""
    configs = FallbackConfig.objects.filter(pk__in={plan.config.pk for plan in plans})
    moving = configs.filter(enabled=True, mode=Mode.AUTO)
    saved_at = dict(moving.values_list("pk", "updated_at"))
    wanted = []
    for plan in plans:
        if plan.config.pk not in saved_at:
            message = "Its config ceased to move anything during the sweep."
            source.skip(plan.run, Reason.DISABLED, message)
        elif plan.config.updated_at != saved_at[plan.config.pk]:
            message = "Its config was changed during the sweep. The next one goes by it."
            source.skip(plan.run, Reason.CONFIG_CHANGED, message)
        else:
            wanted.append(plan)
    return wanted


Key = tuple[str, str, str]


def _key(source: "Source", plan: Plan) -> Key:
    return plan.place.workspace_id, plan.run.application_id, plan.run.version


def _relocations(source: "Source", plans: list[Plan]) -> dict[Key, Relocation]:
    """The relocation of each plan, made where it is new; a failed one gets another try."""
    connection = source.connection
    drafts: dict[Key, Relocation] = {}
    for plan in plans:
        drafts.setdefault(_key(source, plan), _relocation(source, plan))
    Relocation.objects.bulk_create(drafts.values(), ignore_conflicts=True)
    rows = Relocation.objects.filter(
        connection=connection,
        source_workspace_id=source.workspace_id,
        source_application_id__in={key[1] for key in drafts},
    )
    # The connection has led to another control plane: what was made there is not here.
    busy = Move.objects.open().filter(connection=connection).values("relocation_id")
    rows.exclude(remote=connection.remote).exclude(pk__in=busy).update(
        remote=connection.remote,
        state=Relocation.State.NEW,
        application_id="",
        deployment_id="",
        version_before=0,
        message="",
        asked_at=None,
        attempts=0,
        manifest=None,
    )
    rows.filter(state=Relocation.State.FAILED).update(
        state=Relocation.State.NEW, message="", asked_at=None, attempts=0, manifest=None
    )
    found = {
        (row.destination_workspace_id, row.source_application_id, row.source_version): row
        for row in rows.defer("manifest")
    }
    return {key: found[key] for key in drafts}


def _fits(source: "Source", plan: Plan, relocations: dict[Key, Relocation]) -> bool:
    """Whether the relocation is of just this run's deployment, at this remote."""
    relocation = relocations[_key(source, plan)]
    if relocation.remote != source.connection.remote:
        message = "Moves at the connection's former address are still open."
        source.skip(plan.run, Reason.REMOTE_CHANGED, message)
        return False
    if relocation.source_deployment_id != plan.run.deployment_id:
        message = f"Version {plan.run.version} is known as another deployment."
        source.skip(plan.run, Reason.INCOMPLETE_RUN, message)
        return False
    return True


def _relocation(source: "Source", plan: Plan) -> Relocation:
    run = plan.run
    name = plan.lineage.job_name if plan.lineage else run.application_name
    return Relocation(
        connection=source.connection,
        remote=source.connection.remote,
        source_workspace_id=source.workspace_id,
        source_application_id=run.application_id,
        source_version=run.version,
        source_deployment_id=run.deployment_id,
        tenant_name=run.tenant_name,
        destination_workspace_id=plan.place.workspace_id,
        destination_workspace_fqn=plan.place.workspace_fqn,
        name=naming.destination_name(name, source.workspace_id, run.application_id),
    )


def _move(source: "Source", plan: Plan, relocation: Relocation, sweep: Sweep) -> Move:
    run, config, lineage, now = plan.run, plan.config, plan.lineage, timezone.now()
    limit = timedelta(minutes=config.stuck_threshold_minutes)
    visited = [*sorted(lineage.visited if lineage else ()), source.workspace_id]
    return Move(
        organization_id=sweep.organization_id,
        connection=source.connection,
        config=config,
        sweep=sweep,
        by_person=sweep.by_person,
        remote=source.connection.remote,
        lineage=uuid.UUID(lineage.id) if lineage else uuid.uuid4(),
        hop=lineage.hops + 1 if lineage else 1,
        visited=list(dict.fromkeys(visited)),
        purge_mode=config.purge_mode,
        statuses=config.statuses,
        stuck_threshold_minutes=config.stuck_threshold_minutes,
        job_name=lineage.job_name if lineage else run.application_name[:200],
        source_cluster_id=source.cluster_id,
        source_workspace_id=source.workspace_id,
        source_application_id=run.application_id,
        source_version=run.version,
        source_deployment_id=run.deployment_id,
        source_run_id=run.id,
        source_run_name=run.name,
        source_created_at=from_epoch_ms(run.created_at),
        source_status=run.status,
        tenant_name=run.tenant_name,
        command=run.command,
        command_hash=keyed_hash(naming.canonical_command(run.command)),
        destination_cluster_id=plan.place.cluster_id,
        destination_workspace_id=plan.place.workspace_id,
        destination_workspace_fqn=plan.place.workspace_fqn,
        relocation=relocation,
        next_attempt_at=now,
        message=f"Stuck for {plain_duration(plan.age)}, the limit is {plain_duration(limit)}.",
    )


def _planned_step(move: Move) -> MoveStep:
    return step(move, MoveState.PLANNED, StepEvent.ENTERED, move.message)


def _planned_activity(actor: Actor, move: Move) -> Activity:
    change = {"to": move.destination_workspace_fqn, "job": move.job_name}
    return activity.build(actor, "move.planned", move, move.organization_id, change, move.message)
