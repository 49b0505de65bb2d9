"""One move's journey, from wherever it stands to its end, safe to break off at any line.

Each state is committed before its call is made. So a state means "this may have been tried", and
what a crash left open is looked up at the remote before anything is tried again.
"""

from fallback.connecting import mark
from fallback.driving import Journey, Shared
from fallback.models import ConnectionState, MoveState, PurgeMode, Relocation
from fallback.relocating import Never, NotYet, relocate
from fallback.terminating import terminate, terminate_first
from fallback.travelling import Left, Traveller
from fallback.triggering import trigger, verify
from fallback.truefoundry import Rejected, Unauthorized, Unavailable, Unseen

S = MoveState
PREPARING = (S.PLANNED, S.CREATING, S.AWAITING_READY)


def go(traveller: Traveller) -> Journey:
    """The whole journey. Errors of the remote end in a next attempt or in a state."""
    try:
        try:
            yield from _at_the_same_remote(traveller)
            while True:
                yield from _next(traveller)
        except Unseen as error:
            yield from traveller.unseen(error)
        except Unavailable as error:
            yield from traveller.stay(error)
        except Unauthorized as error:
            message = "The token is refused. Store a valid one."
            mark(traveller.connection, ConnectionState.UNAUTHORIZED, message)
            yield from traveller.stay(error, "Unauthorized", least=60.0)
        except Rejected as error:
            yield from _refused(traveller, error)
    except Left:
        return


def _at_the_same_remote(traveller: Traveller) -> Journey:
    """Another control plane knows nothing of the runs of this move: its 404 would be no news."""
    move, now = traveller.move, traveller.connection.remote
    if move.remote != now or traveller.relocation.remote != now:
        message = f"Its runs are at {move.remote}; the connection leads to {now or 'nowhere'} now."
        yield from traveller.end(S.NEEDS_ATTENTION, "RemoteChanged", message)


def _next(traveller: Traveller) -> Journey:
    """From one state to the next."""
    move = traveller.move
    if move.state == S.VERIFYING or move.trigger_unanswered:
        yield from verify(traveller)
    elif move.state == S.TERMINATING:
        first = move.purge_mode == PurgeMode.DIRECTLY
        yield from terminate_first(traveller) if first else terminate(traveller)
    elif move.state == S.PLANNED and traveller.relocation.state != Relocation.State.ACTIVE:
        yield from traveller.source_is_stuck()
        yield from traveller.record(traveller.change(S.CREATING), intent=True)
    else:
        yield from _deployment(traveller)
        if move.state in PREPARING and move.purge_mode == PurgeMode.DIRECTLY:
            yield from traveller.source_is_stuck()
            yield from traveller.record(traveller.change(S.TERMINATING), intent=True)
        else:
            yield from trigger(traveller)


def _deployment(traveller: Traveller) -> Journey:
    """See that the deployment is active; leaves where it is not."""
    relocation, move = traveller.relocation, traveller.move
    if relocation.state == Relocation.State.ACTIVE:
        return
    result = yield Shared(
        ("relocation", relocation.pk), lambda: relocate(relocation, traveller.remotes)
    )
    if isinstance(result, Never):
        to = S.NEEDS_ATTENTION if result.person or move.past_the_point else S.FAILED
        yield from traveller.end(to, result.reason, result.message)
    if result.answer:
        traveller.steps.append(traveller.told(result.answer, "PUT /v1/apps"))
    if isinstance(result, NotYet):
        then = S.AWAITING_READY if result.rolling and move.state in PREPARING else None
        yield from traveller.wait(result.seconds, result.reason, result.message, to=then)


def _refused(traveller: Traveller, error: Rejected) -> Journey:
    """A call that cannot work: before the trigger the move fails, after it a person decides."""
    if error.status == 409:
        yield from traveller.stay(error, "Conflict")
    to = S.NEEDS_ATTENTION if traveller.move.past_the_point else S.FAILED
    message = traveller.in_words(error)
    yield from traveller.end(to, "Rejected", message, traveller.told(error))
