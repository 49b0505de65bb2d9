"""Processes that die, anywhere: what they began is finished once, by others."""

import random
import time
from collections import Counter

import pytest

from fallback.models import PurgeMode
from tests.faults.world import Installation, Json, Running

pytestmark = pytest.mark.faults
PURGES = [PurgeMode.AFTER_ACCEPT, PurgeMode.DIRECTLY, PurgeMode.NEVER]


def die(world: Installation, purge: str, how: str, at: int, stuck: Json) -> Running:
    """A sweep that dies at step `at`, of an organization of its own."""
    connection = world.connection(organization=f"{purge} {how} {at}")
    world.seed(connection, purge_mode=purge, **stuck)
    where = ("--organization", connection.organization.slug)
    fuse = {"CRASH_AT": str(at), "CRASH_HOW": how}
    return world.begin("sweep", "--wait", "--json", *where, module="tests.faults.crash", **fuse)


def die_at_every_step(world: Installation, how: str, stuck: Json) -> dict[str, int]:
    """In each purge mode until a sweep comes to its end; answers how many sweeps there were."""
    swept: dict[str, int] = dict.fromkeys(PURGES, 0)
    ended: set[str] = set()
    while ended != set(PURGES):
        modes = [purge for purge in PURGES if purge not in ended]
        for purge in modes:
            swept[purge] += 1
        dying = [die(world, purge, how, swept[purge], stuck) for purge in modes]
        codes = [process.wait().code for process in dying]
        assert set(codes) <= {0, -9}, world.words()
        ended |= {purge for purge, code in zip(modes, codes, strict=True) if code == 0}
    return swept


@pytest.mark.parametrize(
    ("stuck", "hows"),
    [
        # With one run, just after a step is just before the next.
        ({"jobs": 1, "runsPerJob": 1}, ["before", "during"]),
        pytest.param(
            {"jobs": 2, "runsPerJob": 3}, ["before", "after", "during"], marks=pytest.mark.soak
        ),
    ],
    ids=["one run", "six runs"],
)
def test_dying_at_any_step(world: Installation, stuck: Json, hows: list[str]) -> None:
    swept: Counter[str] = Counter()
    for how in hows:
        world.sim.settings(latencyMs=80 if how == "during" else 0)
        swept.update(die_at_every_step(world, how, stuck))
    assert all(swept[purge] > 20 for purge in PURGES), swept
    world.sim.settings(latencyMs=0)
    world.expire_leases()
    assert world.sweep(timeout=120)["open"] == 0
    each = stuck["jobs"] * stuck["runsPerJob"]
    left = each * swept.pop(PurgeMode.NEVER)
    moved = each * swept.total()
    assert world.verdict() == {"moved": moved, "unterminated": left}
    assert world.states() == {"Succeeded": moved + left}


@pytest.mark.parametrize(
    ("kills", "stuck"),
    [(8, 30), pytest.param(256, 100, marks=pytest.mark.soak)],
)
def test_killed_at_random_moments(world: Installation, kills: int, stuck: int) -> None:
    """Each process finds what the others left; when nothing is left, more has become stuck."""
    chance = random.Random(kills)
    world.sim.settings(latencyMs=40, rolloutSeconds=0.1)
    wish: Json = {"jobs": stuck // 10, "runsPerJob": 10, "healthyRuns": 8}
    world.seed(**wish)
    died, seeded = 0, 1
    while died < kills:
        if "waiting" not in world.outcomes().values():
            world.seed(**wish)
            seeded += 1
        process = world.begin_sweep()
        time.sleep(chance.uniform(0.05, 0.8))
        died += process.kill().code == -9
        world.expire_leases()
    assert world.sweep(timeout=120)["open"] == 0
    assert world.verdict() == {"moved": stuck * seeded}
    assert world.states() == {"Succeeded": stuck * seeded}
