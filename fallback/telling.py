"""A move's story for people: its steps, what happened in each, and where to look at it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import quote, urlsplit

from django.utils import timezone

from config.base import tones
from fallback.models import Move, MoveState, MoveStep, PurgeMode, StepEvent
from fallback.models.move import CLOSED

S = MoveState
PREPARING = [S.PLANNED, S.CREATING, S.AWAITING_READY]
WAYS = {
    PurgeMode.DIRECTLY: [*PREPARING, S.TERMINATING, S.TRIGGERING, S.SUCCEEDED],
    PurgeMode.NEVER: [*PREPARING, S.TRIGGERING, S.SUCCEEDED],
}
USUAL_WAY = [*PREPARING, S.TRIGGERING, S.TERMINATING, S.SUCCEEDED]
SENTENCES = {
    S.CREATING: "The job is made at {destination} as {name}.",
    S.AWAITING_READY: "The deployment rolls out at {destination}.",
    S.TRIGGERING: "A run with the same command is started at {destination}.",
    S.VERIFYING: "The trigger’s answer was lost: the run that it may have started is looked for.",
    S.TERMINATING: "The stuck run at the source is ended.",
    S.SUCCEEDED: "It runs at {destination} as {run}.",
}
MOST_STEPS = 200
CONSOLE_PREFIX = "/api/svc"  # where the API is served under it, the console is at the same host


@dataclass(slots=True)
class Attempt:
    """One event within a step, or several alike in a row."""

    step: MoveStep
    times: int = 1
    last: datetime | None = None

    @property
    def tone(self) -> str:
        return tones.look_of("event", self.step.event).tone

    @property
    def took(self) -> timedelta | None:
        found = self.step.milliseconds
        return None if found is None else timedelta(milliseconds=found)


@dataclass(slots=True)
class Step:
    """A state that the move was in, from `begun` to the next one's beginning."""

    state: str
    begun: datetime | None
    message: str = ""
    took: timedelta | None = None
    now: bool = False
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def later(self) -> bool:
        return self.begun is None

    @property
    def tone(self) -> str:
        if self.later:
            return "idle"
        own = tones.look_of("move", self.state).tone
        if self.now or self.state in (*CLOSED, S.NEEDS_ATTENTION):
            return own
        trouble = (StepEvent.LOST, StepEvent.REFUSED)
        return "warn" if any(a.step.event in trouble for a in self.attempts) else "good"

    @property
    def icon(self) -> str:
        if self.later:
            return "circle-dashed"
        look = tones.look_of("move", self.state)
        passed = not self.now and self.state not in (*CLOSED, S.NEEDS_ATTENTION)
        return ("circle-alert" if self.tone == "warn" else "circle-check") if passed else look.icon

    @property
    def turning(self) -> bool:
        return self.now and tones.look_of("move", self.state).turning


def way_of(move: Move) -> list[MoveState]:
    """The states that a move of this purge mode goes through."""
    return WAYS.get(PurgeMode(move.purge_mode), USUAL_WAY)


def progress(move: Move) -> tuple[int, list[str]]:
    """How many states of its way the move has reached, and that way. Verifying is Triggering."""
    way = [str(state) for state in way_of(move)]
    state = move.resume_state or move.state
    if state == S.VERIFYING:
        state = S.TRIGGERING
    return (way.index(state) if state in way else 0), way


def story(move: Move, steps: Sequence[MoveStep]) -> list[Step]:
    """The steps in order, each with its events; those to come at the end."""
    told: list[Step] = []
    for row in steps:
        if row.event == StepEvent.ENTERED or not told or told[-1].state != row.state:
            told.append(Step(row.state, row.created_at))
        if row.event == StepEvent.ENTERED:
            told[-1].message = row.message or _sentence(move, row.state)
        else:
            _add(told[-1].attempts, row)
    for before, after in pairwise(told):
        if before.begun and after.begun:
            before.took = after.begun - before.begun
    if told and move.state not in CLOSED:
        told[-1].now = True
        told[-1].took = timezone.now() - (told[-1].begun or timezone.now())
        reached, way = progress(move)
        told += [Step(state, None) for state in way[reached + 1 :]]
    return told


def _add(attempts: list[Attempt], row: MoveStep) -> None:
    last = attempts[-1] if attempts else None
    same = ("event", "message", "call", "status")
    alike = last and row.event in (StepEvent.WAITING, StepEvent.LOOKED)
    if last and alike and all(getattr(last.step, name) == getattr(row, name) for name in same):
        last.times += 1
        last.last = row.created_at
    else:
        attempts.append(Attempt(row))


def _sentence(move: Move, state: str) -> str:
    return SENTENCES.get(MoveState(state), "").format(
        destination=move.destination_workspace_fqn,
        name=move.relocation.name if move.relocation else move.job_name,
        run=move.destination_run_name,
    )


def shares(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Where the time went: each step's part of the whole in percent, for a bar."""
    taken = [(step, step.took.total_seconds()) for step in steps if step.took]
    total = sum(seconds for _, seconds in taken)
    found, x = [], 0.0
    for step, seconds in taken:
        width = 100 * seconds / total if total else 0
        found.append({"step": step, "x": round(x, 2), "width": round(max(width - 0.4, 0.3), 2)})
        x += width
    return found


def console_urls(move: Move) -> tuple[str, str]:
    """Where the runs at the source and at the destination are shown; '' where it cannot be told."""
    api_url = move.connection.url if move.connection else ""
    ours = move.relocation.application_id if move.relocation else ""
    made = move.destination_application_id or ours
    return console_url(api_url, move.source_application_id), console_url(api_url, made)


def console_url(api_url: str, application_id: str) -> str:
    """The page of an application's runs in TrueFoundry's console, or '' where it cannot be told."""
    parts = urlsplit(api_url)
    if not application_id or parts.path.rstrip("/") != CONSOLE_PREFIX:
        return ""
    place = quote(application_id, safe="")
    return f"{parts.scheme}://{parts.netloc}/deployments/{place}?tab=previousRuns"


def chain(move: Move) -> list[Move]:
    """The other moves of the same logical job, before and after this one, in order."""
    known = Move.objects.filter(remote=move.remote, lineage=move.lineage).defer("command")
    before: list[Move] = []
    at = move
    while at.hop > 1 and len(before) < 20:
        earlier = known.filter(destination_run_id=at.source_run_id).first()
        if earlier is None:
            break
        before.append(earlier)
        at = earlier
    after: list[Move] = []
    at = move
    while at.destination_run_id and len(after) < 20:
        later = known.filter(source_run_id=at.destination_run_id).first()
        if later is None:
            break
        after.append(later)
        at = later
    return [*reversed(before), *after]
