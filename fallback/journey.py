"""One move's journey, from wherever it stands to its end, safe to break off at any line.

Each state is committed before its call is made. So a state means "this may have been tried", and
what a crash left open is looked up at the remote before anything is tried again.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from accounts import activity
from config.base.actor import Actor
from fallback import match, naming
from fallback.connecting import mark
from fallback.driving import Call, Hold, Journey, Record, Shared
from fallback.looking import Remotes, epoch_ms
from fallback.match import Verdict
from fallback.models import (
    ConnectionState,
    Move,
    MoveState,
    MoveStep,
    PurgeMode,
    Relocation,
    StepEvent,
)
from fallback.models.move import CLOSED, step
from fallback.recording import Change, Outcome
from fallback.relocating import Never, NotYet, Result, relocate
from fallback.truefoundry import (
    Answer,
    JobRun,
    Missing,
    NotActive,
    Rejected,
    TrueFoundry,
    TrueFoundryError,
    Unauthorized,
    Unavailable,
)

S, E = MoveState, StepEvent
SETTLED = timedelta(seconds=10)  # after this long, what was sent and lost has arrived or never will
ACTOR = Actor.system("switchyard")


class Left(Exception):
    """This journey is over: the move has ended, waits for its next attempt, or is not ours now."""


@dataclass(slots=True)
class Traveller:
    """A move, the lease we hold it by, and the ways to change it."""

    move: Move
    relocation: Relocation
    remotes: Remotes
    lease: uuid.UUID

    @property
    def client(self) -> TrueFoundry:
        return self.remotes.client(self.move.connection)

    def go(self) -> Journey:
        """The whole journey. Errors of the remote end in a next attempt or in a state."""
        try:
            yield from self._go()
        except Left:
            return
        except Unavailable as error:
            yield from self.stay(error)
        except Unauthorized as error:
            mark(self.move.connection, ConnectionState.UNAUTHORIZED, "The token is refused.")
            yield from self.stay(error, least=60.0, reason="Unauthorized")
        except Rejected as error:
            yield from self._refused(error)

    def _go(self) -> Journey:
        if self.move.state in (S.PLANNED, S.CREATING, S.AWAITING_READY):
            yield from self._prepare()
        while self.move.state not in CLOSED:
            if self.move.state == S.VERIFYING or self.move.trigger_unanswered:
                yield from self._verify()
            elif self.move.state == S.TERMINATING and not self.move.destination_run_name:
                yield from self._terminate_first()
            elif self.move.state == S.TERMINATING:
                yield from self._terminate()
            else:
                yield from self._trigger()

    # Changing the row

    def change(self, to: str | None = None, *steps: MoveStep, **fields: Any) -> Change:
        """The change to state `to`, or within the state. `NEXT` has the last word."""
        move = self.move
        activities = []
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
            steps = (*steps, step(move, to, E.ENTERED, fields["message"]))
        where = Q(state=move.state, lease=self.lease)
        return Change(move, where, fields, list(steps), activities, move.organization_id)

    def _ending(self, to: str, fields: dict[str, Any]) -> Any:
        change = {"state": [self.move.state, to], "reason": fields["reason"]}
        if run := fields.get("destination_run_name") or self.move.destination_run_name:
            change["destinationRun"] = run
        verb = {S.NEEDS_ATTENTION: "move.needs_attention"}.get(to, f"move.{to.lower()}")
        return activity.build(ACTOR, verb, self.move, self.move.organization_id, change)

    def record(self, change: Change, intent: bool = False) -> Journey:
        """Commit `change`; leaves where the move is not ours any more."""
        outcome = yield Record(change, intent)
        if outcome is Outcome.STALE:
            raise Left
        return outcome

    def end(self, to: str, reason: str, message: str, *steps: MoveStep, **fields: Any) -> Journey:
        """Close the move, or hand it to a person."""
        fields |= {"reason": reason, "message": message[:500]}
        yield from self.record(self.change(to, *steps, **fields))
        raise Left

    def wait(self, seconds: float, reason: str, message: str, **more: Any) -> Journey:
        """Give the move back until its next attempt; `to` and `steps` may come with it."""
        to, steps = more.pop("to", None), more.pop("steps", ())
        fields = {
            "next_attempt_at": timezone.now() + timedelta(seconds=seconds),
            "lease": None,
            "reason": reason,
            "message": message[:500],
            **more,
        }
        yield from self.record(self.change(to, *steps, **fields))
        raise Left

    def stay(self, error: TrueFoundryError, least: float = 0.0, reason: str = "") -> Journey:
        """No usable answer: the same state again, later and later."""
        attempts = self.move.attempts + 1
        seconds = self._backoff(attempts, getattr(error, "retry_after", None))
        try:
            yield from self.wait(
                max(seconds, least),
                reason or "Unavailable",
                str(error),
                attempts=attempts,
                steps=[self.told(error)],
            )
        except Left:
            return

    def _backoff(self, attempts: int, retry_after: float | None = None) -> float:
        return match.backoff(
            attempts,
            settings.JOB_FALLBACK_TRIGGER_MAX_RETRIES,
            settings.JOB_FALLBACK_TRIGGER_RETRY_DELAY_MS / 1000,
            retry_after,
        )

    def told(self, what: Answer | TrueFoundryError, call: str = "", message: str = "") -> MoveStep:
        """The step that tells of a call's answer or of its lack."""
        if isinstance(what, Answer):
            return step(
                self.move,
                self.move.state,
                E.ANSWERED,
                message,
                call=call,
                request_id=what.request_id,
                status=what.status,
                milliseconds=what.milliseconds,
            )
        return step(
            self.move,
            self.move.state,
            E.REFUSED if isinstance(what, Rejected) else E.LOST,
            self.private(str(what), what),
            call=what.call[:200],
            request_id=what.request_id,
            status=what.status,
        )

    def private(self, text: str, error: TrueFoundryError) -> str:
        """`text` and the remote's own words, without anything of the run's input in them."""
        detail = getattr(error, "detail", "")
        secret = naming.leaves(naming.trigger_input(self.move.command)) | {self.move.command}
        return naming.scrub(f"{text} {detail}".strip(), secret - {""})

    def _refused(self, error: Rejected) -> Journey:
        """A call that cannot work: before the trigger the move fails, after it a person decides."""
        message, told = self.private(str(error), error), self.told(error)
        try:
            if error.status == 409:
                yield from self.wait(
                    self._backoff(self.move.attempts + 1),
                    "Conflict",
                    message,
                    attempts=self.move.attempts + 1,
                    steps=[told],
                )
            to = S.NEEDS_ATTENTION if self.move.past_the_point else S.FAILED
            yield from self.end(to, "Rejected", message, told)
        except Left:
            return

    # Creating and waiting until it is active

    def _prepare(self) -> Journey:
        active = self.relocation.state == Relocation.State.ACTIVE
        if not active and self.move.state == S.PLANNED:
            yield from self._source_is_stuck()
            yield from self.record(self.change(S.CREATING), intent=True)
        made = yield from self._deployment()
        if self.move.purge_mode == PurgeMode.DIRECTLY:
            yield from self._source_is_stuck()
            yield from self.record(self.change(S.TERMINATING, *made), intent=True)
            yield from self._terminate_first(sent=False)
        else:
            yield from self._trigger(*made)

    def _deployment(self) -> Journey:
        """See that the deployment is active; answers the steps that tell how it was made."""
        relocation = self.relocation
        if relocation.state == Relocation.State.ACTIVE:
            return []
        result = yield Shared(
            ("relocation", relocation.pk), lambda: relocate(relocation, self.remotes)
        )
        made = [self.told(result.answer, "PUT /v1/apps")] if _answer_of(result) else []
        if isinstance(result, Never):
            person = result.person or self.move.past_the_point
            to = S.NEEDS_ATTENTION if person else S.FAILED
            yield from self.end(to, result.reason, result.message)
        if isinstance(result, NotYet):
            rolls = result.rolling and self.move.state in (S.PLANNED, S.CREATING)
            to = S.AWAITING_READY if rolls else None
            yield from self.wait(result.seconds, result.reason, result.message, to=to, steps=made)
        return made

    def _source_is_stuck(self) -> Journey:
        """Look once more before anything that cannot be taken back; leaves where it is not."""
        status = yield from self.remotes.source_status(self.move)
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

    # Triggering

    def _trigger(self, *made: MoveStep) -> Journey:
        move = self.move
        made = (*made, *(yield from self._deployment()))
        deployment_id = self.relocation.deployment_id
        yield Hold((move.remote, deployment_id, move.command_hash))
        if move.purge_mode != PurgeMode.DIRECTLY:
            yield from self._source_is_stuck()
        now = timezone.now()
        intent = self.change(
            S.TRIGGERING,
            *made,
            trigger_unanswered=True,
            trigger_sent_at=now,
            trigger_lost_at=None,
            trigger_after=epoch_ms(self.client.remote_now()),
            destination_deployment_id=deployment_id,
        )
        if (yield from self.record(intent, intent=True)) is Outcome.CONFLICT:
            message = "A like run of this deployment is being triggered."
            yield from self.wait(2.0, "TriggerUnderWay", message)
        run_input = naming.trigger_input(move.command)
        alias = f"{move.source_run_name}-moved"[:60]
        client = self.client
        try:
            answer: Answer = yield Call(
                lambda: client.trigger(deployment_id, run_input, alias, move.tenant_name)
            )
        except (NotActive, Missing) as error:
            yield from self._not_there(error)
        except Unavailable as error:
            yield from self._trigger_unanswered(error)
        except Rejected as error:
            yield from self._trigger_refused(error)
        else:
            yield from self._triggered(answer.body, self.told(answer, "POST /v1/jobs/trigger"))

    def _not_there(self, error: NotActive | Missing) -> Journey:
        """Nothing was started: the deployment is not active, or gone. It is seen to again."""
        state = Relocation.State.NEW if isinstance(error, Missing) else Relocation.State.ROLLING_OUT
        active = Q(state=Relocation.State.ACTIVE)
        attempts = self.relocation.attempts + 1
        yield Record(Change(self.relocation, active, {"state": state, "attempts": attempts}))
        # Where the source has ended already, a state that could be cancelled would be a lie.
        to = None if self.move.purge_mode == PurgeMode.DIRECTLY else S.AWAITING_READY
        yield from self.wait(
            min(0.25 * 2**attempts, 15.0),
            "RollingOut",
            "The deployment is not active yet.",
            to=to,
            steps=[self.told(error)],
            trigger_unanswered=False,
        )

    def _trigger_unanswered(self, error: Unavailable) -> Journey:
        attempts, told = self.move.attempts + 1, self.told(error)
        if not error.happened:
            seconds = self._backoff(attempts, error.retry_after)
            yield from self.wait(
                seconds,
                "Unavailable",
                str(error),
                attempts=attempts,
                steps=[told],
                trigger_unanswered=False,
            )
        yield from self.wait(
            1.0,
            "AnswerLost",
            "The answer to the trigger was lost; looking for its run.",
            to=S.VERIFYING,
            steps=[told],
            trigger_lost_at=timezone.now(),
        )

    def _trigger_refused(self, error: Rejected) -> Journey:
        message, told = self.private(str(error), error), self.told(error)
        if error.status in (401, 409):
            attempts = self.move.attempts + 1
            reason = "Unauthorized" if error.status == 401 else "Conflict"
            yield from self.wait(
                max(self._backoff(attempts), 30.0),
                reason,
                message,
                attempts=attempts,
                steps=[told],
                trigger_unanswered=False,
            )
        yield from self.end(
            S.NEEDS_ATTENTION, "TriggerRejected", message, told, trigger_unanswered=False
        )

    def _triggered(self, run: JobRun, *told: MoveStep) -> Journey:
        """The new run is known: write it down, and go on to the source."""
        move = self.move
        fields = {
            "trigger_unanswered": False,
            "destination_run_name": run.name,
            "destination_run_id": run.id,
        }
        if run.deployment_id and run.deployment_id != move.destination_deployment_id:
            message = f"The remote answered with a run of deployment {run.deployment_id}."
            yield from self.end(S.NEEDS_ATTENTION, "WrongDeployment", message, *told, **fields)
        done = move.purge_mode in (PurgeMode.DIRECTLY, PurgeMode.NEVER)
        to = S.SUCCEEDED if done else S.TERMINATING
        change = self.change(to, *told, **fields)
        if (yield from self.record(change)) is Outcome.CONFLICT:
            message = f"The run {run.name} belongs to another move already."
            yield from self.end(S.NEEDS_ATTENTION, "RunClaimed", message, *told)
        if not done:
            yield from self._terminate(sent=False)

    # Looking for a trigger whose answer was lost

    def _verify(self) -> Journey:
        move, now = self.move, timezone.now()
        if move.state != S.VERIFYING:  # a crash: it may have been on its way this very moment
            lost = step(move, move.state, E.LOST, "No answer was written down.")
            change = self.change(S.VERIFYING, lost, trigger_lost_at=now)
            yield from self.record(change)
        client, application_id = self.client, self.relocation.application_id
        runs: list[JobRun] = yield Call(
            lambda: client.runs_of(application_id, since=move.trigger_after or 0)
        )
        candidates = self._unclaimed(runs)
        if len(candidates) == 1:
            found = step(move, S.VERIFYING, E.LOOKED, f"Found its run {candidates[0].name}.")
            yield from self._triggered(candidates[0], found)
        elif candidates:
            names = ", ".join(run.name for run in candidates[:5])
            message = f"{len(candidates)} runs could be this trigger's: {names}."
            yield from self.end(S.NEEDS_ATTENTION, "AnswerLost", message)
        elif now - (move.trigger_lost_at or now) < SETTLED:
            message = "No run of the lost trigger is to be seen yet."
            yield from self.wait(2.0, "AnswerLost", message)
        else:
            none = step(move, S.VERIFYING, E.LOOKED, "No run came of it: it is triggered again.")
            change = self.change(S.TRIGGERING, none, trigger_unanswered=False)
            yield from self.record(change)

    def _unclaimed(self, runs: list[JobRun]) -> list[JobRun]:
        """Runs that this move's trigger may have made and that no other move has."""
        move = self.move
        command = naming.canonical_command(move.command)
        like = [
            run
            for run in runs
            if run.deployment_id == move.destination_deployment_id
            and run.created_at >= (move.trigger_after or 0)
            and naming.canonical_command(run.command) == command
        ]
        claimed = set(
            Move.objects.filter(
                remote=move.remote,
                destination_deployment_id=move.destination_deployment_id,
                destination_run_name__in=[run.name for run in like],
            ).values_list("destination_run_name", flat=True)
        )
        return [run for run in like if run.name not in claimed]

    # Ending the source run

    def _terminate(self, sent: bool = True) -> Journey:
        """The new run stands. `sent`: an earlier terminate may be on its way."""
        move = self.move
        if move.source_recovered:
            yield from self._terminate_the_new()
        status = yield from self.remotes.source_status(move)
        found = match.verdict(status, move.statuses)
        if found is Verdict.GONE or status == "FINISHED":
            message = f"The source run is {status or 'gone'}: nothing is left to end."
            yield from self.end(S.SUCCEEDED, "", message)
        if found is Verdict.RECOVERED:
            yield from self._recovered_late(str(status), sent)
        if found is Verdict.WAIT:
            message = f"The source run's status is {str(status)[:40]}; waiting for one we know."
            yield from self.wait(30.0, "SourceUnknown", message)
        answer = yield from self._end_source()
        told = self.told(answer, "POST /v1/jobs/terminate", _ended_as(answer))
        yield from self.end(S.SUCCEEDED, "", "", told)

    def _end_source(self) -> Journey:
        move, client = self.move, self.client
        try:
            return (
                yield Call(
                    lambda: client.terminate(
                        move.source_deployment_id, move.source_run_name, move.tenant_name
                    )
                )
            )
        except Unavailable as error:
            attempts = move.attempts + 1
            yield from self.wait(
                self._backoff(attempts, error.retry_after),
                "Unavailable",
                str(error),
                attempts=attempts,
                steps=[self.told(error)],
                terminate_lost_at=timezone.now(),
            )

    def _recovered_late(self, status: str, sent: bool) -> Journey:
        """The source runs although its successor was triggered: the successor is ended instead.

        Unless a terminate of ours may still be on its way to the source: then both would end.
        """
        move, now = self.move, timezone.now()
        if sent and now - (move.terminate_lost_at or now) < SETTLED:
            message = f"The source run is {status}; a terminate may still be on its way to it."
            at = move.terminate_lost_at or now
            yield from self.wait(3.0, "SourceRecovered", message, terminate_lost_at=at)
        looked = step(move, move.state, E.LOOKED, f"The source run is {status}: it recovered.")
        yield from self.record(self.change(None, looked, source_recovered=True), intent=True)
        yield from self._terminate_the_new()

    def _terminate_the_new(self) -> Journey:
        move, client = self.move, self.client
        answer: Answer = yield Call(
            lambda: client.terminate(
                move.destination_deployment_id, move.destination_run_name, move.tenant_name
            )
        )
        message = "The source run started by itself, so the new run was ended."
        told = self.told(answer, "POST /v1/jobs/terminate", _ended_as(answer))
        yield from self.end(S.CANCELLED, "SourceRecovered", message, told)

    def _terminate_first(self, sent: bool = True) -> Journey:
        """PurgeMode.DIRECTLY: the source is ended and seen to have ended before the trigger."""
        move = self.move
        status = yield from self._status_now() if sent else self.remotes.source_status(move)
        if status in ("TERMINATED", None) or (status == "FAILED" and move.terminate_answered):
            ended = step(move, move.state, E.LOOKED, f"The source run is {status or 'gone'}.")
            yield from self._trigger(ended)
            return
        found = match.verdict(status, move.statuses)
        if status == "FINISHED":
            yield from self.end(S.CANCELLED, "SourceRecovered", "The source run has finished.")
        if status == "FAILED":
            message = "The source run failed by itself before it was ended."
            yield from self.end(S.NEEDS_ATTENTION, "SourceFailed", message)
        if move.terminate_answered or status in match.ENDING:
            message = f"The source run is {status}; waiting for its end."
            attempts = move.attempts + 1
            yield from self.wait(
                min(0.5 * 2**attempts, 15.0), "AwaitingEnd", message, attempts=attempts
            )
        if found is Verdict.RECOVERED:
            yield from self._recovered_early(str(status), sent)
        answer = yield from self._end_source()
        told = self.told(answer, "POST /v1/jobs/terminate", _ended_as(answer))
        yield from self.record(self.change(None, told, terminate_answered=True))
        yield from self._terminate_first()

    def _status_now(self) -> Journey:
        move, client = self.move, self.client
        try:
            run = yield Call(
                lambda: client.job_run(move.source_application_id, move.source_run_name)
            )
        except Rejected as error:
            if error.status != 404:
                raise
            return None
        return run.status

    def _recovered_early(self, status: str, sent: bool) -> Journey:
        move, now = self.move, timezone.now()
        if sent and now - (move.terminate_lost_at or now) < SETTLED:
            message = f"The source run is {status}; a terminate may still be on its way to it."
            at = move.terminate_lost_at or now
            yield from self.wait(3.0, "SourceRecovered", message, terminate_lost_at=at)
        message = f"The source run started by itself: it is {status}."
        yield from self.end(S.CANCELLED, "SourceRecovered", message)


def _ended_as(answer: Answer) -> str:
    status = answer.body.get("jobRunStatus") if isinstance(answer.body, dict) else ""
    return f"The run is {str(status)[:40]}." if status else ""


def _answer_of(result: Result) -> Answer | None:
    return None if isinstance(result, Never) else result.answer
