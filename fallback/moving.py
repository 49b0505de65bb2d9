"""Moves: take those that are due further, and what people may do with one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts import activity
from config.base import deadman, live
from config.base.actor import Actor
from config.base.problems import Conflict
from fallback.driving import Driver
from fallback.journey import go
from fallback.looking import RETRIED, Remotes
from fallback.models import Connection, Move, MoveState, Pause, Relocation, StepEvent
from fallback.models.move import DRIVEN, MoveQuerySet, step
from fallback.recording import Change, Outcome, commit
from fallback.travelling import Traveller

log = structlog.get_logger(__name__)
LEASE = timedelta(seconds=120)  # longer than a task may take, so never two drivers at once
# No call begins when less of the lease is left. More than a process may stand still.
MARGIN_SECONDS = deadman.STANDSTILL_SECONDS + 5
POLL_SECONDS = 0.2
BATCH = 64
S = MoveState


@dataclass(slots=True)
class Driven:
    """What a drive did: moves taken, seconds, and the most calls that were under way at once."""

    taken: int = 0
    seconds: float = 0.0
    peak: int = 0
    timed_out: bool = False


def held(by_person: bool) -> Q:
    """Moves that must not begin: paused, switched off, or automation is off.

    `by_person`: a person is driving, so automation being off does not matter.
    """
    now = timezone.now()
    pauses = list(Pause.objects.active(now))
    if any(not pause.connection_id and not pause.config_id for pause in pauses):
        return Q(pk__isnull=False)
    found = Q(connection_id__in=[p.connection_id for p in pauses if p.connection_id])
    found |= Q(config_id__in=[p.config_id for p in pauses if p.config_id])
    found |= Q(connection_id__in=Connection.objects.filter(enabled=False).values("pk"))
    if not settings.JOB_FALLBACK_ENABLED and not by_person:
        found |= Q(by_person=False)
    return found


def drive(
    seconds: float,
    *,
    by_person: bool = False,
    organization_id: UUID | None = None,
    wait: bool = False,
    on_progress: Callable[[], None] | None = None,
) -> Driven:
    """Take due moves as far as they go, for about `seconds`; safe beside any number of others.

    `wait`: go on until no move can be driven any further, also those whose next attempt is to
    come within the time.
    """
    return _Drive(seconds, by_person, organization_id, wait, on_progress).run()


class _Drive:
    def __init__(
        self,
        seconds: float,
        by_person: bool,
        organization_id: UUID | None,
        wait: bool,
        on_progress: Callable[[], None] | None,
    ) -> None:
        self.begun = time.monotonic()
        self.deadline = self.begun + seconds
        self.by_person, self.organization_id = by_person, organization_id
        self.wait, self.on_progress = wait, on_progress
        self.remotes = Remotes()
        self.relocations: dict[UUID | None, Relocation] = {}
        self.leases: list[UUID] = []
        self.result = Driven()

    def run(self) -> Driven:
        driver = Driver(settings.FALLBACK_CONCURRENCY, self.deadline)
        try:
            with deadman.switch():
                driver.run(lambda room: self._refill(driver, room))
        finally:
            self._give_back()
        self.result.timed_out = self.wait and self._moves().exists()
        self.result.seconds = time.monotonic() - self.begun
        self.result.peak = driver.peak
        return self.result

    def _moves(self) -> MoveQuerySet:
        moves: MoveQuerySet = Move.objects.drivable(held(self.by_person))
        if self.organization_id:
            moves = moves.filter(organization_id=self.organization_id)
        return moves

    def _refill(self, driver: Driver, room: int) -> None:
        while not driver.expired:
            if self._begin(driver, min(room, BATCH)) or driver.active:
                break
            if not self.wait or not self._worth_waiting():
                break
            time.sleep(POLL_SECONDS)
        if self.on_progress:
            self.on_progress()

    def _worth_waiting(self) -> bool:
        """Whether some move falls due before our time is up, or another driver has it now."""
        until = timezone.now() + timedelta(seconds=self.deadline - time.monotonic())
        soon = Q(next_attempt_at__lte=until) | Q(lease__isnull=False)
        return bool(self._moves().filter(soon).exists())

    def _begin(self, driver: Driver, room: int) -> int:
        token, count = self._moves().claim(timezone.now(), LEASE, room)
        if not count:
            return 0
        self.leases.append(token)
        must_end = time.monotonic() + LEASE.total_seconds() - MARGIN_SECONDS
        moves = list(Move.objects.filter(lease=token))
        self._load_relocations(moves)
        for move in moves:
            # Else it was cancelled just now and its connection deleted: nothing is left to do.
            if relocation := self.relocations.get(move.relocation_id):
                traveller = Traveller(move, relocation, self.remotes, token)
                driver.begin(go(traveller), must_end, partial(_fault, move))
        self.result.taken += len(moves)
        return len(moves)

    def _load_relocations(self, moves: list[Move]) -> None:
        """One object for one row, shared by its moves; those not active yet are read again. So
        is each connection: its token may have been replaced."""
        active = Relocation.State.ACTIVE
        known = {pk for pk, found in self.relocations.items() if found.state == active}
        wanted = {move.relocation_id for move in moves if move.relocation_id} - known
        rows = Relocation.objects.filter(pk__in=wanted)
        # Many megabytes, and wanted by few; of the new ones, which mostly have none yet, by all.
        manifests = dict(rows.filter(state=Relocation.State.NEW).values_list("pk", "manifest"))
        for row in rows.defer("manifest"):
            if row.pk in manifests:
                row.manifest = manifests[row.pk]
            if (here := self.relocations.get(row.pk)) is None:
                self.relocations[row.pk] = row
            else:
                here.refresh_from_db()
        ours = [found for move in moves if (found := self.relocations.get(move.relocation_id))]
        connections = Connection.objects.in_bulk({found.connection_id for found in ours})
        for found in ours:
            if found.connection_id in connections:
                found.connection = connections[found.connection_id]
            else:
                self.relocations.pop(found.pk, None)

    def _give_back(self) -> None:
        """What was claimed and not finished is due at once, for whoever comes next."""
        ours = Move.objects.filter(lease__in=self.leases, state__in=DRIVEN)
        ours.update(lease=None, next_attempt_at=timezone.now())


def _fault(move: Move, fault: Exception) -> None:
    """A bug must not stop the others, nor spin: the row's next attempt is pushed forward."""
    Move.objects.filter(pk=move.pk, state=move.state, lease=move.lease).update(
        lease=None,
        next_attempt_at=timezone.now() + timedelta(seconds=60),
        reason="InternalError",
        message=f"Switchyard failed: {type(fault).__name__}. It tries again in a minute.",
    )


def cancel(move: Move, actor: Actor, reason: str = "") -> None:
    """Close a move that has triggered nothing. Raises Conflict past that point."""
    if move.past_the_point:
        raise Conflict(
            "The job may run at the destination already, so the move must be finished.",
            "PastTrigger",
        )
    move.must_allow(S.CANCELLED)
    message = f"Cancelled by {actor.name}." + (f" {reason}" if reason else "")
    fields = {
        "reason": "CancelledByPerson",
        "message": message[:500],
        "finished_at": timezone.now(),
    }
    _by_hand(move, S.CANCELLED, fields, actor, "move.cancelled", reason)


def retry(move: Move, actor: Actor, reason: str = "") -> None:
    """Take up a failed or handed-over move where it broke. Raises Conflict in other states."""
    if move.state not in (S.FAILED, S.NEEDS_ATTENTION):
        raise Conflict(f"A move that is {move.state} needs no retry.", "WrongState")
    if move.connection_id is None or move.relocation_id is None:
        raise Conflict("Its connection was deleted, so it cannot be taken up.", "NoConnection")
    to = move.resume_state if move.state == S.NEEDS_ATTENTION else S.PLANNED
    fields: dict[str, Any] = {
        "reason": "",
        "message": "",
        "attempts": 0,
        "by_person": True,
        "resume_state": "",
        "finished_at": None,
        "mailed_at": None,
        "next_attempt_at": timezone.now(),
    }
    if (to == S.VERIFYING and move.reason == "AnswerLost") or move.reason == "RunUnseen":
        fields["reason"] = RETRIED
    if move.reason == "NotEnded":  # it is told to once more
        fields["terminate_answered"] = False
    if move.reason == "SourceFailed":  # a person has looked, and wants it to run
        fields["terminate_answered"] = True
    Relocation.objects.filter(pk=move.relocation_id, state=Relocation.State.FAILED).update(
        state=Relocation.State.NEW, message="", asked_at=None, attempts=0, manifest=None
    )
    _by_hand(move, to, fields, actor, "move.retried", reason)


def _by_hand(
    move: Move, to: str, fields: dict[str, Any], actor: Actor, verb: str, reason: str
) -> None:
    move.must_allow(to)
    before = move.state
    everything = {"next_attempt_at": None, "lease": None, "state": to, **fields}
    change = Change(
        move,
        {"state": before},
        everything,
        [step(move, to, StepEvent.ENTERED, fields["message"] or f"By {actor.name}.")],
        [activity.build(actor, verb, move, move.organization_id, {"state": [before, to]}, reason)],
        move.organization_id,
    )
    outcome = commit([change])[0]
    if outcome is Outcome.STALE:
        raise Conflict("The move has gone on in the meantime; look again.", "Stale")
    if outcome is Outcome.CONFLICT:
        raise Conflict("Another move of this run is open or has succeeded.", "MovedAgain")


def mail_those_that_need_a_person() -> int:
    """Tell `ADMINS` once of each move that needs attention. Answers how many were told of."""
    from django.core.mail import mail_admins

    waiting = Move.objects.filter(state=S.NEEDS_ATTENTION, mailed_at__isnull=True)
    moves = list(waiting.order_by("updated_at")[:50])
    told = []
    for move in moves:
        with transaction.atomic():
            if waiting.filter(pk=move.pk).update(mailed_at=timezone.now()):
                told.append(move)
                live.ring_on_commit(move.organization_id)
    if told:
        lines = [f"{m.job_name}, run {m.source_run_name}: {m.reason}. {m.message}" for m in told]
        subject = f"Switchyard: {len(told)} moves need a person"
        try:
            mail_admins(subject, "\n\n".join(lines))
        except OSError as error:
            log.warning("mail_failed", error=type(error).__name__)
            Move.objects.filter(pk__in=[m.pk for m in told]).update(mailed_at=None)
    return len(told)
