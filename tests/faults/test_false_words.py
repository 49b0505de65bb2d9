"""The remote says what is not so, or somebody changes the world in the middle of a move."""

import pytest

from config.base.actor import Actor
from config.base.problems import Conflict
from fallback import connecting, moving
from fallback.looking import client_of
from fallback.models import Connection, Move, MoveState, PurgeMode, Sweep
from fallback.triggering import MOST_NOT_ACTIVE
from tests.faults import echoing
from tests.faults.world import Installation

pytestmark = pytest.mark.faults
ADA = Actor.system("ada")


@pytest.mark.parametrize("purge_mode", [PurgeMode.AFTER_ACCEPT, PurgeMode.DIRECTLY])
@pytest.mark.parametrize("status", [404, 417])
def test_no_run_to_end_although_there_is_one(
    world: Installation, status: int, purge_mode: str
) -> None:
    """It would start by itself later, and be the second."""
    seeded = world.seed(jobs=1, runsPerJob=1, purge_mode=purge_mode)
    world.sim.faults({"call": "terminate", "effect": "status", "status": status, "times": 2})
    assert world.sweep(timeout=30)["open"] == 0
    assert world.sim.fired()[0]["fired"] == 2
    source = world.sim.run_shown(seeded["stuckRuns"][0]["name"])
    assert source["status"] == "TERMINATED"
    assert world.verdict() == {"moved": 1}


def test_a_new_run_that_would_not_end_is_not_given_up(world: Installation) -> None:
    """The source has recovered, so its successor must go; the remote says that it has gone."""
    seeded = world.seed(jobs=1, runsPerJob=1)
    name = seeded["stuckRuns"][0]["name"]
    terminate = {"call": "terminate", "effect": "status"}
    world.sim.faults({**terminate, "status": 503, "match": {"jobRunName": name}})
    world.sweep(timeout=1)
    assert world.states() == {"Terminating Unavailable": 1}
    world.sim.force_run(name, "RUNNING")
    Move.objects.update(terminate_lost_at=None)  # long ago: none is on its way
    world.sim.faults({**terminate, "status": 404, "times": 1})
    world.hurry()
    world.sweep(timeout=3)
    assert world.states() == {"Terminating SourceRecovered": 1}  # and not given up
    world.settle()
    world.sweep(timeout=25)
    assert world.states() == {"Cancelled SourceRecovered": 1}
    made = world.moves().get().destination_run_name
    assert world.sim.run_shown(made)["status"] == "TERMINATED"


def test_another_address_while_a_move_is_open(world: Installation) -> None:
    """The 404s of another control plane are no news of this one's runs."""
    world.seed(jobs=1, runsPerJob=1)
    world.sim.faults({"call": "terminate", "effect": "status", "status": 503})
    world.sweep(timeout=1)
    here = world.sim.url
    connection = world.connection()
    connection.base_url = "http://127.0.0.1:9/api/svc"
    with pytest.raises(Conflict, match="Open moves use it"):
        connecting.save(connection, ADA)
    # From the environment it can still change, and nobody asks us.
    Connection.objects.update(base_url=connection.base_url)
    world.hurry()
    world.sweep(timeout=10)
    assert world.states() == {"NeedsAttention RemoteChanged": 1}
    Connection.objects.update(base_url=here)
    world.sim.faults()
    moving.retry(world.moves().get(), ADA)
    assert world.sweep(timeout=20)["open"] == 0
    assert world.verdict() == {"moved": 1}


def test_a_connection_that_is_deleted_and_made_again(world: Installation) -> None:
    """What it has made before is still ours."""
    seeded = world.seed(jobs=1, runsPerJob=1)
    assert world.sweep()["succeeded"] == 1
    connecting.delete(world.connection(), ADA)
    world.config(seeded["sources"][0], *seeded["destinations"])
    job = world.moves().get().source_application_id
    world.sim.add_run(job, ageMinutes=120)
    assert world.sweep()["succeeded"] == 1
    assert world.states() == {"Succeeded": 2}


def test_a_deployment_that_is_never_there(world: Installation) -> None:
    """Made again twice for each move, and then a person is asked: not for ever."""
    world.seed(jobs=1, runsPerJob=3)
    world.sim.faults({"call": "trigger", "effect": "status", "status": 404})
    world.sweep(timeout=25)
    assert world.states() == {"NeedsAttention TriggerRejected": 3}
    assert len(world.calls("create")) <= 1 + 2 * 3
    assert world.verdict()["waiting"] == 3


@pytest.mark.parametrize("end", ["TERMINATED", "FINISHED"])
def test_a_person_clears_up_after_a_lost_trigger(world: Installation, end: str) -> None:
    """Two runs could be it. They end, and the retry knows what that means."""
    name = world.seed(jobs=1, runsPerJob=1)["stuckRuns"][0]["name"]
    lost = {"call": "trigger", "effect": "lost", "times": 1}
    unseen = {"call": "list_runs", "effect": "status", "match": {"path": "/jobs/"}}
    world.sim.faults(lost, {**unseen, "status": 503})
    world.sweep(timeout=3)
    move = world.moves().get()
    assert move.state == MoveState.VERIFYING
    assert move.relocation
    application_id = move.relocation.application_id
    world.sim.add_run(application_id, command=move.command)
    world.sim.faults()
    made = client_of(world.connection()).runs_of(application_id)
    assert len(made) == 2
    world.hurry()
    world.sweep(timeout=10)
    assert world.states() == {"NeedsAttention AnswerLost": 1}
    for run in made:
        world.sim.force_run(run.name, end)
    moving.retry(world.moves().get(), ADA)
    world.sweep(timeout=20)
    assert world.states() == {"Succeeded": 1}
    assert world.outcomes()[name] == "moved"
    assert len(world.calls("trigger")) == (2 if end == "TERMINATED" else 1)


def test_a_run_that_failed_by_itself_is_no_cleared_up_one(world: Installation) -> None:
    """The person has mended a right, not ended a run; the job has been run."""
    world.seed(jobs=1, runsPerJob=1)
    runs = {"call": "list_runs", "effect": "status", "match": {"path": "/jobs/"}}
    world.sim.faults({"call": "trigger", "effect": "lost", "times": 1}, {**runs, "status": 403})
    world.sweep(timeout=3)
    assert world.states() == {"NeedsAttention Rejected": 1}
    world.sim.faults()
    move = world.moves().get()
    assert move.relocation
    (made,) = client_of(world.connection()).runs_of(move.relocation.application_id)
    world.sim.force_run(made.name, "FAILED")
    moving.retry(move, ADA)
    assert world.sweep()["succeeded"] == 1
    assert world.verdict() == {"moved": 1}


@pytest.mark.parametrize(
    "answer",
    [{"data": {"id": "x", "name": "x", "status": "FINISHED"}}, {"data": None}, []],
    ids=["another run", "none", "no object"],
)
def test_asked_for_one_run_it_tells_of_another(world: Installation, answer: object) -> None:
    """Ours has not ended because that one has."""
    seeded = world.sim.seed(jobs=1, runsPerJob=1, destinations=1)
    name = seeded["stuckRuns"][0]["name"]
    world.sim.faults({"call": "terminate", "effect": "status", "status": 503, "times": 1})
    echoes = {(f"/runs/{name}", ""): echoing.always(answer)}
    with echoing.proxy(world.sim.url.removesuffix("/api/svc"), echoes) as url:
        connection = world.connection(url=url)
        world.config(seeded["sources"][0], *seeded["destinations"], connection=connection)
        assert world.sweep(timeout=20)["succeeded"] == 1
    assert not echoes
    assert world.verdict() == {"moved": 1}


def test_a_lost_trigger_that_was_sent_again_cannot_be_cancelled(world: Installation) -> None:
    """The first one may have come through after all, whatever the second was told."""
    world.seed(jobs=1, runsPerJob=1)
    world.sim.faults({"call": "trigger", "effect": "refuse", "times": 1})
    world.sweep(timeout=2)
    assert world.states() == {"Verifying AnswerLost": 1}
    world.sim.force_deployment(world.moves().get().destination_deployment_id, "DEPLOY_FAILED")
    world.settle()
    world.sweep(timeout=2)
    assert {call["status"] for call in world.calls("trigger")} == {400}
    with pytest.raises(Conflict, match="must be finished"):
        moving.cancel(world.moves().get(), ADA)


def test_a_run_of_another_deployment(world: Installation) -> None:
    """It may do the same job, so it ends before there is a second trigger; and it is asked for
    where it is, because ours knows nothing of it."""
    seeded = world.seed(jobs=1, runsPerJob=1)
    other = world.sim.add_application(seeded["destinations"][0]["workspaceId"], "another")
    world.sim.settings(triggersRun=other["deploymentId"])
    world.sweep(timeout=20)
    assert world.states() == {"NeedsAttention WrongDeployment": 1}
    wrong = world.moves().get().destination_run_name
    assert world.sim.run_shown(wrong)["applicationId"] == other["id"]
    world.sim.settings(triggersRun="")
    name = seeded["stuckRuns"][0]["name"]
    for source in ("SCHEDULED", "RUNNING", "SCHEDULED"):  # it is no reason to forget the wrong one
        world.sim.force_run(name, source)
        moving.retry(world.moves().get(), ADA)
        world.sweep(timeout=10)
        assert world.states() == {"NeedsAttention WrongDeployment": 1}
    assert len(world.calls("trigger")) == 1
    world.sim.force_run(wrong, "TERMINATED")
    moving.retry(world.moves().get(), ADA)
    world.sweep(timeout=20)
    assert world.states() == {"Succeeded": 1}
    assert world.outcomes() == {name: "moved"}


def test_a_deployment_that_is_active_and_is_not(world: Installation) -> None:
    """The remote says the one at each look and the other at each trigger: a person is asked."""
    seeded = world.seed(jobs=1, runsPerJob=1)
    other = world.sim.add_application(seeded["destinations"][0]["workspaceId"], "another")
    world.sim.force_deployment(other["deploymentId"], "DEPLOY_FAILED")
    world.sim.settings(triggersRun=other["deploymentId"])
    world.sweep_until("AwaitingReady RollingOut")
    again = world.moves().get().steps.filter(status=400)[0]
    for _ in range(MOST_NOT_ACTIVE):
        again.pk = None
        again.save()
    world.hurry()
    world.sweep_until("NeedsAttention TriggerRejected")
    world.sim.settings(triggersRun="")
    moving.retry(world.moves().get(), ADA)
    world.sweep(timeout=20)
    assert world.verdict() == {"moved": 1}


def test_a_source_that_was_ended_and_is_still_there(world: Installation) -> None:
    """Each sweep says so, for it may start yet."""
    world.seed(jobs=1, runsPerJob=1)
    world.sim.faults({"call": "terminate", "effect": "status", "status": 200})
    assert world.sweep()["succeeded"] == 1
    assert world.sweep()["skipped"] == {"AlreadyMoved": 1}
    (source,) = Sweep.objects.latest("created_at").sources
    assert "still there" in source["runs"][0]["message"]
