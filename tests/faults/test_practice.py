"""The table "what goes wrong in practice": each row once with Switchyard, once with a plain loop.

The loop must fail each of them, or the scenario proves nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import pytest

from tests import needs
from tests.faults.world import Installation, Json, Running, wait_for

pytestmark = pytest.mark.faults
ROLLOUT = 20 if needs.soaking() else 3
PATIENCE = 5 if needs.soaking() else 1  # what the loop sleeps for a rollout


class Mover(Protocol):
    """Whoever moves the stuck runs; each pass is a process."""

    def begin(self) -> Running: ...
    def after_a_death(self) -> None: ...


@dataclass
class Switchyard:
    world: Installation
    seeded: Json

    def begin(self) -> Running:
        return self.world.begin_sweep()

    def after_a_death(self) -> None:
        self.world.expire_leases()


@dataclass
class Loop:
    world: Installation
    seeded: Json
    patience: float = 0

    def begin(self) -> Running:
        sim, place = self.world.sim, self.seeded["destinations"][0]
        there = (place["workspaceId"], place["fqn"], str(self.patience))
        sources = self.seeded["source"]["workspaceIds"]
        return self.world.begin(sim.url, sim.token, *there, *sources, module="tests.faults.naive")

    def after_a_death(self) -> None:
        pass


Act = Callable[[Installation, Mover], None]


@dataclass
class Row:
    """`seed` and what happens then; the verdicts on Switchyard and (in part) on the loop."""

    seed: Json
    act: Act
    ours: dict[str, int]
    wrong: str
    patience: float = 0


def passes(number: int, **fault: object) -> Act:
    """So many sweeps one after the other, a fault in the first of them."""

    def act(world: Installation, mover: Mover) -> None:
        world.sim.faults(*([fault] if fault else []))
        mover.begin().wait()
        world.sim.faults()
        for _ in range(number - 1):
            mover.begin().wait()

    return act


def killed(world: Installation, mover: Mover) -> None:
    """After the remote has got the trigger, before anybody has got its answer."""
    world.sim.settings(latencyMs=200)
    process = mover.begin()
    wait_for(lambda: world.calls("trigger"))
    assert process.kill().code == -9
    world.sim.settings(latencyMs=0)
    mover.after_a_death()
    mover.begin().wait()


def two_at_once(world: Installation, mover: Mover) -> None:
    world.sim.settings(latencyMs=20)
    for process in [mover.begin(), mover.begin()]:
        process.wait()


def terminate_is_down(world: Installation, mover: Mover) -> None:
    world.sim.faults({"call": "terminate", "effect": "status", "status": 503})
    first = mover.begin()
    wait_for(lambda: len(world.calls("trigger")) == 4)
    if isinstance(mover, Switchyard):
        first.kill()  # it would go on trying for a minute
        mover.after_a_death()
    first.wait()
    world.sim.faults()
    mover.begin().wait()


def rolls_out_slowly(world: Installation, mover: Mover) -> None:
    world.sim.settings(rolloutSeconds=ROLLOUT)
    mover.begin().wait()


FEW = {"jobs": 2, "runsPerJob": 2}
MANY = {"jobs": 5, "runsPerJob": 22}
ROWS = {
    "killed between trigger and terminate": Row(FEW, killed, {"moved": 4}, "doubled"),
    "two replicas at once": Row({"jobs": 4}, two_at_once, {"moved": 8}, "doubled"),
    "the answer to a trigger is lost": Row(
        FEW, passes(2, call="trigger", effect="lost"), {"moved": 4}, "doubled"
    ),
    "terminate is down during one sweep": Row(FEW, terminate_is_down, {"moved": 4}, "doubled"),
    "names that share 23 characters": Row(
        {"jobs": 10, "runsPerJob": 1, "sharedNamePrefixLength": 29},
        passes(1),
        {"moved": 10},
        "wrong_manifest",
    ),
    "the same names in two workspaces": Row(
        {"jobs": 3, "runsPerJob": 1, "twoWorkspaces": True},
        passes(1),
        {"moved": 6},
        "wrong_manifest",
    ),
    "several versions of one job": Row(
        {"jobs": 2, "runsPerJob": 6, "versionsPerJob": 3},
        passes(1),
        {"moved": 12},
        "wrong_manifest",
    ),
    "a run arrives between two pages": Row(
        MANY, passes(2, call="list_runs", effect="arrive", times=1), {"moved": 111}, "doubled"
    ),
    "one 503 on a listing page": Row(
        MANY,
        passes(1, call="list_runs", effect="status", skip=1, times=1),
        {"moved": 110},
        "waiting",
    ),
    "healthy runs, for hours": Row(
        {"jobs": 2, "healthyRuns": 8}, passes(1), {"moved": 4}, "healthyTouched"
    ),
    "a slow rollout": Row(
        {"jobs": 2, "runsPerJob": 1}, rolls_out_slowly, {"moved": 2}, "litter", PATIENCE
    ),
}
each_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


@each_row
def test_switchyard_moves_each_exactly_once(world: Installation, row: Row) -> None:
    row.act(world, Switchyard(world, world.seed(**row.seed)))
    assert world.verdict() == row.ours
    assert world.states() == {"Succeeded": row.ours["moved"]}


@each_row
def test_a_plain_loop_does_not(world: Installation, row: Row) -> None:
    seeded = world.sim.seed(destinations=1, **row.seed)
    row.act(world, Loop(world, seeded, row.patience))
    assert world.verdict().get(row.wrong, 0) > 0
