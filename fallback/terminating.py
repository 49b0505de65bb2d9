"""Ending the source run: after its successor stands, or, with `Directly`, before."""

from fallback import match
from fallback.driving import Call, Journey
from fallback.match import ENDED, Verdict
from fallback.models.move import step
from fallback.replies import storable
from fallback.travelling import E, S, Traveller
from fallback.triggering import trigger
from fallback.truefoundry import Answer, Unavailable

CALL = "POST /v1/jobs/terminate"
NO_RUN = (404, 417)
MOST_LOOKS = 120  # for the end of a source run: about half an hour


def terminate(t: Traveller) -> Journey:
    """The new run stands: end the source, unless it has ended or started by itself."""
    move = t.move
    if move.source_recovered:
        yield from _end_the_new(t)
    # Once a terminate has failed, time has passed: what a listing said before is too old.
    fresh = t.entered == S.TERMINATING
    looked_up = t.remotes.source_status(move, t.connection) if fresh else t.source_now()
    status = yield from looked_up
    found = match.verdict(status, move.statuses)
    if found is Verdict.GONE or status == "FINISHED":
        message = f"The source run is {status or 'gone'}: nothing is left to end."
        yield from t.end(S.SUCCEEDED, "", message)
    if found is Verdict.RECOVERED:
        yield from _unless_ours_is_on_its_way(t, str(status))
        looked = step(move, move.state, E.LOOKED, f"The source run is {status}: it recovered.")
        yield from t.record(t.change(None, looked, source_recovered=True), intent=True)
        yield from _end_the_new(t)
    if found is Verdict.WAIT:
        message = f"The source run's status is {str(status)[:40]}; waiting for one we know."
        yield from t.wait(30.0, "SourceUnknown", message)
    answer = yield from _end_source(t)
    yield from t.end(S.SUCCEEDED, "", "", t.told(answer, CALL, _ended_as(answer)))


def terminate_first(t: Traveller) -> Journey:
    """PurgeMode.DIRECTLY: the source is ended, and seen to have ended, before the trigger."""
    move = t.move
    fresh = t.entered == S.TERMINATING and not move.terminate_answered
    looked_up = t.remotes.source_status(move, t.connection) if fresh else t.source_now()
    status = yield from looked_up
    if status in ("TERMINATED", None) or (status == "FAILED" and move.terminate_answered):
        t.steps.append(step(move, move.state, E.LOOKED, f"The source run is {status or 'gone'}."))
        yield from trigger(t)
        return
    if status == "FINISHED":
        yield from t.end(S.CANCELLED, "SourceRecovered", "The source run has finished.")
    if status == "FAILED":
        message = "The source run failed by itself before it was ended."
        yield from t.end(S.NEEDS_ATTENTION, "SourceFailed", message)
    if move.terminate_answered or status in match.ENDING:
        attempts = move.attempts + 1
        if attempts > MOST_LOOKS:
            message = f"The source run was told to end and is {str(status)[:40]} still."
            yield from t.end(S.NEEDS_ATTENTION, "NotEnded", message)
        message = f"The source run is {str(status)[:40]}; waiting for its end."
        seconds = min(0.5 * 2 ** min(attempts, 6), 15.0)
        yield from t.wait(seconds, "AwaitingEnd", message, attempts=attempts)
    if match.verdict(status, move.statuses) is Verdict.RECOVERED:
        yield from _unless_ours_is_on_its_way(t, str(status))
        message = f"The source run started by itself: it is {status}."
        yield from t.end(S.CANCELLED, "SourceRecovered", message)
    answer = yield from _end_source(t)
    told = t.told(answer, CALL, _ended_as(answer))
    yield from t.record(t.change(None, told, terminate_answered=True))


def _must_have_ended(t: Traveller, answer: Answer, run_name: str, look: Journey) -> Journey:
    """That a terminate found no run, or an ended one, is believed once the run itself says so:
    what would start all the same would be a second one."""
    if answer.status not in NO_RUN:
        return
    status = yield from look
    if status is None or status in ENDED:
        return
    attempts = t.move.attempts + 1
    told = t.told(answer, CALL, f"HTTP {answer.status}, but the run is {str(status)[:40]}.")
    message = f"The remote would not end {run_name}, which is {str(status)[:40]}."
    lost_at = t.move.terminate_lost_at or t.now_at_the_latest()
    yield from t.wait(
        t.backoff(attempts),
        "NotEnded",
        message,
        told,
        attempts=attempts,
        terminate_lost_at=lost_at,
    )


def _unless_ours_is_on_its_way(t: Traveller, status: str) -> Journey:
    """Leaves while a terminate of ours may still reach the source: then it would end after all,
    and to end its successor would lose the job."""
    if t.entered == S.TERMINATING:
        return
    at = t.move.terminate_lost_at or t.now_at_the_latest()
    if not t.settled(at):
        message = f"The source run is {status}; a terminate may still be on its way to it."
        yield from t.wait(3.0, "SourceRecovered", message, terminate_lost_at=at)


def _end_source(t: Traveller) -> Journey:
    move, client = t.move, t.client
    try:
        answer: Answer = yield Call(
            lambda: client.terminate(
                move.source_deployment_id, move.source_run_name, move.tenant_name
            )
        )
    except Unavailable as error:
        yield from t.stay(error, terminate_lost_at=t.now_at_the_latest())
    else:
        yield from _must_have_ended(t, answer, move.source_run_name, t.source_now())
        return answer


def _end_the_new(t: Traveller) -> Journey:
    """The source runs although its successor was triggered: the successor is ended instead."""
    move, client = t.move, t.client
    answer: Answer = yield Call(
        lambda: client.terminate(
            move.destination_deployment_id, move.destination_run_name, move.tenant_name
        )
    )
    look = t.new_run_now(t.relocation.application_id)
    yield from _must_have_ended(t, answer, move.destination_run_name, look)
    message = "The source run started by itself, so the new run was ended."
    told = t.told(answer, CALL, _ended_as(answer))
    yield from t.end(S.CANCELLED, "SourceRecovered", message, told)


def _ended_as(answer: Answer) -> str:
    status = answer.body.get("jobRunStatus") if isinstance(answer.body, dict) else ""
    return f"The run is {storable(str(status))[:40]}." if status else ""
