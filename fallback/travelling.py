"""A move under way: the lease it is held by, and the ways to change it."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts import activity
from accounts.models import Activity
from config.base.actor import Actor
from fallback import match, naming
from fallback.driving import Journey, Record
from fallback.looking import Remotes
from fallback.match import Verdict
from fallback.models import Connection, Move, MoveState, MoveStep, Relocation, StepEvent
from fallback.models.move import CLOSED, step
from fallback.recording import Change, Outcome
from fallback.truefoundry import Answer, Rejected, TrueFoundry, TrueFoundryError, Unseen

S, E = MoveState, StepEvent
SETTLED = timedelta(seconds=10)  # after this long, what was sent and lost has arrived or never will
MOST_UNSEEN = 10  # attempts in a state
ACTOR = Actor.system("switchyard")


class Left(Exception):
    """This journey is over: the move has ended, waits for its next attempt, or is not ours now."""


@dataclass(slots=True)
class Traveller:
    """A move on its way.

    `entered` is the state that this journey entered itself: then nothing that the state stands
    for was sent before. `steps` are told with the next change.
    """

    move: Move
    relocation: Relocation
    remotes: Remotes
    lease: uuid.UUID
    entered: str = ""
    steps: list[MoveStep] = field(default_factory=list)

    @property
    def connection(self) -> Connection:
        return self.relocation.connection

    @property
    def client(self) -> TrueFoundry:
        return self.remotes.client(self.connection)

    def change(self, to: str | None = None, *steps: MoveStep, **fields: Any) -> Change:
        """The change to state `to`, or within the state. `NEXT` has the last word."""
        move, activities = self.move, []
        told = [*self.steps, *steps]
        if to is not None and to != move.state:
            move.must_allow(to)
            fields = {"state": to, "attempts": 0, "reason": "", "message": "", **fields}
            if to in CLOSED or to == S.NEEDS_ATTENTION:
                fields |= {"next_attempt_at": None, "lease": None}
                activities.append(self._ending(to, fields))
            if to in CLOSED:
                fields["finished_at"] = timezone.now()
            if to == S.NEEDS_ATTENTION:
                fields["resume_state"] = move.state
            told.append(step(move, to, E.ENTERED, fields["message"]))
        where = {"state": move.state, "lease": self.lease}
        return Change(move, where, fields, told, activities, move.organization_id)

    def _ending(self, to: str, fields: dict[str, Any]) -> Activity:
        change: dict[str, Any] = {"state": [self.move.state, to], "reason": fields["reason"]}
        if run := fields.get("destination_run_name") or self.move.destination_run_name:
            change["destinationRun"] = run
        verb = "move.needs_attention" if to == S.NEEDS_ATTENTION else f"move.{to.lower()}"
        return activity.build(ACTOR, verb, self.move, self.move.organization_id, change)

    def record(self, change: Change, intent: bool = False) -> Journey:
        """Commit `change`; leaves where the move is not ours any more."""
        outcome = yield Record(change, intent)
        if outcome is Outcome.STALE:
            raise Left
        if outcome is Outcome.WON:
            self.steps = []
            self.entered = change.fields.get("state", self.entered)
        return outcome

    def end(self, to: str, reason: str, message: str, *steps: MoveStep, **fields: Any) -> Journey:
        """Close the move, or hand it to a person."""
        fields |= {"reason": reason, "message": message[:500]}
        yield from self.record(self.change(to, *steps, **fields))
        raise Left

    def wait(
        self,
        seconds: float,
        reason: str,
        message: str,
        *steps: MoveStep,
        to: str | None = None,
        **fields: Any,
    ) -> Journey:
        """Give the move back until its next attempt."""
        fields |= {
            "next_attempt_at": timezone.now() + timedelta(seconds=seconds),
            "lease": None,
            "reason": reason,
            "message": message[:500],
        }
        yield from self.record(self.change(to, *steps, **fields))
        raise Left

    def stay(
        self,
        error: TrueFoundryError,
        reason: str = "Unavailable",
        least: float = 0.0,
        **fields: Any,
    ) -> Journey:
        """The same state again, later and later; `least` seconds at least."""
        attempts = self.move.attempts + 1
        seconds = self.backoff(attempts, getattr(error, "retry_after", None))
        message = self.in_words(error)
        yield from self.wait(
            max(seconds, least), reason, message, self.told(error), attempts=attempts, **fields
        )

    def backoff(self, attempts: int, retry_after: float | None = None) -> float:
        return match.backoff(
            attempts,
            settings.JOB_FALLBACK_TRIGGER_MAX_RETRIES,
            settings.JOB_FALLBACK_TRIGGER_RETRY_DELAY_MS / 1000,
            retry_after,
        )

    def told(self, what: Answer | TrueFoundryError, call: str = "", message: str = "") -> MoveStep:
        """The step that tells of a call's answer or of its lack."""
        if isinstance(what, Answer):
            event, milliseconds = E.ANSWERED, what.milliseconds
        else:
            event, milliseconds = E.REFUSED if isinstance(what, Rejected) else E.LOST, None
            call, message = what.call, self.in_words(what)
        return step(
            self.move,
            self.move.state,
            event,
            message,
            call=call[:200],
            request_id=what.request_id,
            status=what.status,
            milliseconds=milliseconds,
        )

    def in_words(self, error: TrueFoundryError) -> str:
        """What went wrong, with the remote's own words unless they repeat the run's input."""
        run_input = {"input": naming.trigger_input(self.move.command)}
        return f"{error} {naming.discreet(getattr(error, 'detail', ''), run_input)}".strip()

    def now_at_the_latest(self) -> datetime:
        """What has just been lost was lost by then; see `settled`."""
        return max(timezone.now(), self.client.remote_now())

    def settled(self, lost_at: datetime) -> bool:
        """Whether what was lost has arrived, or never will: by the clocks of both sides, since one
        may have jumped, and that of the next worker may be another one."""
        return min(timezone.now(), self.client.remote_now()) - lost_at >= SETTLED

    def unseen(self, error: Unseen) -> Journey:
        """Later and later again, as rights come back; then a person has to say what is so."""
        if self.move.attempts + 1 < MOST_UNSEEN:
            yield from self.stay(error, "RunUnseen")
        message = (
            f"{error} Give the token its rights back, or see that the run has ended; then retry: "
            "the retry believes that it has, if it still cannot see it."
        )
        yield from self.end(S.NEEDS_ATTENTION, "RunUnseen", message, self.told(error))

    def source_now(self) -> Journey:
        """The source run's status this very moment, or None where it is gone."""
        move = self.move
        return (
            yield from self.remotes.run_status(
                move,
                self.connection,
                move.source_workspace_id,
                move.source_application_id,
                move.source_run_name,
            )
        )

    def new_run_now(self, application_id: str) -> Journey:
        """The same of the run at the destination, which is one of that application."""
        move = self.move
        return (
            yield from self.remotes.run_status(
                move,
                self.connection,
                move.destination_workspace_id,
                application_id,
                move.destination_run_name,
            )
        )

    def source_is_stuck(self) -> Journey:
        """Look once more before anything that cannot be taken back; leaves where it is not."""
        status = yield from self.remotes.source_status(self.move, self.connection)
        found = match.verdict(status, self.move.statuses)
        if found is Verdict.RECOVERED:
            message = f"The source run started by itself: it is {status}."
            yield from self.end(S.CANCELLED, "SourceRecovered", message)
        if found is Verdict.GONE:
            message = f"The source run is {status or 'gone'}."
            yield from self.end(S.CANCELLED, "SourceGone", message)
        if found is Verdict.WAIT:
            message = f"The source run's status is {str(status)[:40]}; left alone."
            yield from self.wait(60.0, "SourceUnknown", message)
