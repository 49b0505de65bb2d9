"""A token that loses its rights gets 404s and empty lists: what it cannot see has not ended."""

import pytest

from config.base.actor import Actor
from fallback import moving
from fallback.models import PurgeMode
from tests.faults import echoing
from tests.faults.world import Installation

pytestmark = pytest.mark.faults
ADA = Actor.system("ada")


def hide(world: Installation, workspace_id: str) -> None:
    world.sim.settings(hiddenWorkspace=workspace_id)


@pytest.mark.parametrize("purge_mode", [PurgeMode.AFTER_ACCEPT, PurgeMode.DIRECTLY])
def test_a_source_out_of_sight_has_not_ended(world: Installation, purge_mode: str) -> None:
    """It would start sooner or later, beside its successor."""
    seeded = world.seed(jobs=1, runsPerJob=1, purge_mode=purge_mode)
    world.sim.faults({"call": "terminate", "effect": "status", "status": 503})
    world.sweep_until("Terminating Unavailable")
    hide(world, seeded["sources"][0]["workspaceId"])
    world.sim.faults()
    world.hurry()
    world.sweep_until("Terminating RunUnseen")
    hide(world, "")
    world.hurry()
    world.sweep(timeout=30)
    assert world.states() == {"Succeeded": 1}
    assert world.verdict() == {"moved": 1}


def test_a_source_out_of_sight_before_the_trigger(world: Installation) -> None:
    """It is not gone, so its move is not given up. When that lasts a person is asked, and the
    retry takes a person's word that the run has ended."""
    seeded = world.seed(jobs=1, runsPerJob=1, purge_mode=PurgeMode.AFTER_ACCEPT)
    world.manage("sweep")
    hide(world, seeded["sources"][0]["workspaceId"])
    world.hurry()
    world.sweep_until("Planned RunUnseen")
    world.moves().update(attempts=20)
    world.hurry()
    world.sweep_until("NeedsAttention RunUnseen")
    moving.retry(world.moves().get(), ADA)
    world.sweep(timeout=20)
    assert world.states() == {"Cancelled SourceGone": 1}


def test_an_empty_list_out_of_sight_is_no_proof(world: Installation) -> None:
    """The run of a lost trigger is there: once the rights are back a second one would be, too."""
    seeded = world.sim.seed(jobs=1, runsPerJob=1, destinations=1)
    world.sim.faults({"call": "trigger", "effect": "lost", "times": 1})
    empty = {"data": [], "pagination": {"total": 0}}
    upstream = world.sim.url.removesuffix("/api/svc")
    with echoing.proxy(upstream, {("/runs", ""): echoing.always(empty)}) as url:
        connection = world.connection(url=url)
        world.config(seeded["sources"][0], *seeded["destinations"], connection=connection)
        world.sweep_until("Verifying AnswerLost")
        hide(world, seeded["destinations"][0]["workspaceId"])
        world.settle()
        world.sweep_until("NeedsAttention Rejected")
        hide(world, "")
        moving.retry(world.moves().get(), ADA)
        world.sweep(timeout=30)
    assert world.states() == {"Succeeded": 1}
    assert world.verdict() == {"moved": 1}
