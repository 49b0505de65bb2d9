"""A remote that tells a run's input in another form than it was sent: whose run is it?"""

import pytest

from config.base.actor import Actor
from fallback import moving
from tests.faults.world import Installation

pytestmark = pytest.mark.faults
COMMAND = '{"rate": 1.0, "none": null}'


def lose_the_answer(world: Installation, how: str) -> None:
    """To the trigger of a run which is there; the next look is the one that decides."""
    seeded = world.sim.seed(jobs=1, runsPerJob=0, destinations=1)
    world.config(seeded["sources"][0], *seeded["destinations"])
    world.sim.add_run(seeded["jobs"][0]["id"], ageMinutes=90, command=COMMAND)
    world.sim.settings(rewritesInput=how)
    world.sim.faults({"call": "trigger", "effect": "lost", "times": 1})
    world.sweep_until("Verifying AnswerLost")
    world.settle()


def test_the_same_numbers_in_another_form(world: Installation) -> None:
    lose_the_answer(world, "numbers")
    world.sweep(timeout=20)
    assert world.states() == {"Succeeded": 1}
    assert len(world.calls("trigger")) == 1


@pytest.mark.parametrize("end", ["", "TERMINATED"])
def test_a_run_that_nobody_else_has_triggered(world: Installation, end: str) -> None:
    """It may be ours with a parameter more: another one could be the second."""
    lose_the_answer(world, "defaults")
    world.sweep(timeout=20)
    assert world.states() == {"NeedsAttention AnswerLost": 1}
    move = world.moves().get()
    made = world.calls("trigger")[0]["runName"]
    assert "another input" in move.message and made in move.message
    if end:
        world.sim.force_run(made, end)
    moving.retry(move, Actor.system("ada"))
    world.sweep(timeout=20)
    assert world.states() == {"Succeeded": 1}
    assert len(world.calls("trigger")) == (2 if end else 1)
