"""Starting the run at the destination, and finding it where the answer was lost."""

from datetime import datetime, timedelta

from django.utils import timezone

from config.base.redaction import keyed_hash
from fallback import naming
from fallback.connecting import mark
from fallback.driving import Call, Hold, Journey, Record
from fallback.looking import RETRIED, epoch_ms
from fallback.match import ENDED, ENDING
from fallback.models import ConnectionState, Move, MoveStep, PurgeMode, Relocation
from fallback.models.move import step
from fallback.recording import Change, Outcome
from fallback.travelling import E, Left, S, Traveller
from fallback.truefoundry import (
    Answer,
    JobRun,
    Missing,
    NotActive,
    Rejected,
    TrueFoundry,
    Unavailable,
)

CALL = "POST /v1/jobs/trigger"
CLOCKS_APART, UNKNOWN_CLOCK = timedelta(seconds=10), timedelta(seconds=90)
MOST_MISSING, MOST_NOT_ACTIVE = 2, 40  # the latter take about ten minutes


def trigger(t: Traveller) -> Journey:
    """Start a run of just our deployment. Its deployment is active as far as we know."""
    move, client, deployment_id = t.move, t.client, t.relocation.deployment_id
    # One at a time, so that a run found later can be told to be this trigger's.
    yield Hold((move.remote, deployment_id, move.command_hash))
    if move.destination_run_name:
        yield from _the_wrong_one_has_ended(t)
    if move.purge_mode != PurgeMode.DIRECTLY:
        yield from t.source_is_stuck()
    intent = t.change(
        S.TRIGGERING,
        trigger_unanswered=True,
        trigger_sent_at=timezone.now(),
        # The first one's, if this is not the first: a run of a trigger long given up may come yet.
        trigger_after=move.trigger_after or epoch_ms(_before_now(client)),
        destination_deployment_id=deployment_id,
        destination_application_id="",
        destination_run_id="",
        destination_run_name="",
    )
    if (yield from t.record(intent, intent=True)) is Outcome.CONFLICT:
        message = "A like run of this deployment is being triggered."
        yield from t.wait(2.0, "TriggerUnderWay", message)
    run_input = naming.trigger_input(move.command)
    alias = f"{move.source_run_name}-moved"[:60]
    try:
        answer: Answer = yield Call(
            lambda: client.trigger(deployment_id, run_input, alias, move.tenant_name)
        )
    except (NotActive, Missing) as error:
        yield from _not_there(t, error)
    except Unavailable as error:
        yield from _unanswered(t, error)
    except Rejected as error:
        yield from _refused(t, error)
    else:
        yield from _triggered(t, answer.body, t.told(answer, CALL))


def _before_now(client: TrueFoundry) -> datetime:
    """From when on a run may be this trigger's: what stamps runs need not be the clock that the
    remote's answers tell, and that of a remote that tells none may be further off."""
    now = min(client.remote_now(), timezone.now())
    return now - (CLOCKS_APART if client.knows_the_clock else UNKNOWN_CLOCK)


def _the_wrong_one_has_ended(t: Traveller) -> Journey:
    """The remote answered a trigger with another deployment's run. Before the next one it ends.

    It is asked for by its own application: at ours a 404 would be no news of it. Where the remote
    named none, the person who retries has been told to see to it.
    """
    move = t.move
    if not move.destination_application_id:
        return
    status = yield from t.new_run_now(move.destination_application_id)
    if status is not None and status not in ENDED:
        message = f"End {move.destination_run_name} first: it is {str(status)[:40]}."
        yield from t.end(S.NEEDS_ATTENTION, "WrongDeployment", message)


def _not_there(t: Traveller, error: NotActive | Missing) -> Journey:
    """Nothing was started: the deployment is not active, or gone. It is seen to again."""
    missing, times = isinstance(error, Missing), _times_refused(t.move, error.status)
    if times >= (MOST_MISSING if missing else MOST_NOT_ACTIVE):
        message = f"The remote says that the deployment is active, and {times + 1} times not."
        if missing:
            message = f"The remote knows none of {times + 1} deployments that it made."
        told = t.told(error)
        yield from t.end(
            S.NEEDS_ATTENTION, "TriggerRejected", message, told, trigger_unanswered=False
        )
    state = Relocation.State.NEW if missing else Relocation.State.ROLLING_OUT
    attempts = t.relocation.attempts + 1
    fields = {"state": state, "attempts": attempts, "asked_at": timezone.now()}
    yield Record(Change(t.relocation, {"state": Relocation.State.ACTIVE}, fields))
    # Where the source has ended already, or an earlier trigger may have come through after all,
    # a state that could be cancelled would be a lie.
    past = t.move.purge_mode == PurgeMode.DIRECTLY or t.move.trigger_lost_at
    to = None if past else S.AWAITING_READY
    message = "The deployment is not active yet."
    seconds = min(0.25 * 2 ** min(attempts, 6), 15.0)
    yield from t.wait(
        seconds, "RollingOut", message, t.told(error), to=to, trigger_unanswered=False
    )


def _times_refused(move: Move, status: int) -> int:
    return MoveStep.objects.filter(move=move, call=CALL, status=status).count()


def _unanswered(t: Traveller, error: Unavailable) -> Journey:
    if not error.happened:
        yield from t.stay(error, trigger_unanswered=False)
    message = "The answer to the trigger was lost; looking for its run."
    yield from t.wait(
        1.0,
        "AnswerLost",
        message,
        t.told(error),
        to=S.VERIFYING,
        trigger_lost_at=t.now_at_the_latest(),
    )


def _refused(t: Traveller, error: Rejected) -> Journey:
    if error.status == 401:
        message = "The token is refused. Store a valid one."
        mark(t.connection, ConnectionState.UNAUTHORIZED, message)
        yield from t.stay(error, "Unauthorized", least=60.0, trigger_unanswered=False)
    if error.status == 409:
        yield from t.stay(error, "Conflict", trigger_unanswered=False)
    message, told = t.in_words(error), t.told(error)
    yield from t.end(S.NEEDS_ATTENTION, "TriggerRejected", message, told, trigger_unanswered=False)


def _triggered(t: Traveller, run: JobRun, *told: MoveStep) -> Journey:
    """The new run is known: write it down."""
    move = t.move
    fields = {
        "trigger_unanswered": False,
        "destination_run_name": run.name,
        "destination_run_id": run.id,
        "destination_application_id": run.application_id[:128],
    }
    if run.deployment_id and run.deployment_id != move.destination_deployment_id:
        message = (
            f"The remote answered with {run.name}, a run of deployment {run.deployment_id[:128]}. "
            "See that it has ended, then retry: the retry triggers again."
        )
        yield from t.end(S.NEEDS_ATTENTION, "WrongDeployment", message, *told, **fields)
    done = move.purge_mode in (PurgeMode.DIRECTLY, PurgeMode.NEVER)
    change = t.change(S.SUCCEEDED if done else S.TERMINATING, *told, **fields)
    if (yield from t.record(change)) is Outcome.CONFLICT:
        message = f"The run {run.name} belongs to another move already."
        yield from t.end(S.NEEDS_ATTENTION, "RunClaimed", message, *told)
    if done:
        raise Left


def verify(t: Traveller) -> Journey:
    """Look for the run of a trigger whose answer we do not have."""
    move = t.move
    if move.state != S.VERIFYING:  # a crash: it may have been on its way this very moment
        lost = step(move, move.state, E.LOST, "No answer was written down.")
        yield from t.record(t.change(S.VERIFYING, lost, trigger_lost_at=timezone.now()))
    client, application_id = t.client, t.relocation.application_id
    runs: list[JobRun] = yield Call(
        lambda: client.runs_of(application_id, since=move.trigger_after or 0)
    )
    lost_at = move.trigger_lost_at
    if lost_at is None or t.entered == S.VERIFYING:  # we know the remote's clock since that look
        lost_at = t.now_at_the_latest()
    candidates, strange = _unclaimed(move, runs)
    if move.reason == RETRIED:  # a person has seen to those, too
        candidates = candidates or strange
    if move.reason == RETRIED and candidates and all(run.status in ENDED for run in candidates):
        candidates = _as_left_by_a_person(candidates)
        if not candidates:
            none = step(move, S.VERIFYING, E.LOOKED, "All its runs were ended: triggered again.")
            after = epoch_ms(client.remote_now())
            fields = {"trigger_unanswered": False, "trigger_after": after}
            yield from t.record(t.change(S.TRIGGERING, none, **fields))
            return
    if len(candidates) == 1:
        found = step(move, S.VERIFYING, E.LOOKED, f"Found its run {candidates[0].name}.")
        yield from _triggered(t, candidates[0], found)
    elif candidates:
        names = ", ".join(run.name for run in candidates[:5])
        message = f"{len(candidates)} runs could be this trigger's: {names}."
        yield from t.end(S.NEEDS_ATTENTION, "AnswerLost", message)
    elif not t.settled(lost_at):
        message = "No run of the lost trigger is to be seen yet."
        yield from t.wait(2.0, "AnswerLost", message, trigger_lost_at=lost_at)
    elif strange:
        names = ", ".join(run.name for run in strange[:5])
        message = f"{len(strange)} runs with another input could be this trigger's: {names}."
        yield from t.end(S.NEEDS_ATTENTION, "AnswerLost", message)
    else:
        # The list is empty, too, where we have lost the right to see what is in it.
        yield Call(lambda: client.application(application_id))
        none = step(move, S.VERIFYING, E.LOOKED, "No run came of it: it is triggered again.")
        yield from t.record(t.change(S.TRIGGERING, none, trigger_unanswered=False))


def _as_left_by_a_person(runs: list[JobRun]) -> list[JobRun]:
    """Of runs that have all ended: the last that did the job, if any did."""
    finished = [run for run in runs if run.status == "FINISHED"]
    return [max(finished, key=lambda run: run.created_at)] if finished else []


def _unclaimed(move: Move, runs: list[JobRun]) -> tuple[list[JobRun], list[JobRun]]:
    """Runs that this move's trigger may have made and that no other move has: those with its
    input, and those with an input that nobody has asked for."""
    ours = [
        run
        for run in runs
        if run.deployment_id == move.destination_deployment_id
        and not 0 < run.created_at < (move.trigger_after or 0)
    ]
    others = Move.objects.filter(
        remote=move.remote, destination_deployment_id=move.destination_deployment_id
    ).exclude(pk=move.pk)
    # In this order: who ceases to wait for an answer has claimed its run.
    awaited = set(others.filter(trigger_unanswered=True).values_list("command_hash", flat=True))
    claimed = set(
        others.filter(destination_run_name__in=[run.name for run in ours]).values_list(
            "destination_run_name", flat=True
        )
    )
    wanted = naming.canonical_command(move.command)
    like, strange = [], []
    for run in ours:
        command = naming.canonical_command(run.command)
        if run.name in claimed:
            continue
        if naming.trigger_input(move.command) and command == wanted:
            like.append(run)
        elif keyed_hash(command) not in awaited:
            strange.append(run)
    if not naming.trigger_input(move.command):
        # Such a run may be reported with its image's own command.
        like, strange = strange, []
    # Where there are several, somebody may have ended the superfluous ones.
    alive = [run for run in like if run.status not in ENDING | {"FAILED"}]
    return (alive if len(alive) == 1 else like), strange
