"""Rollouts: slow ones are waited for and not slept for, failed ones are not tried again at once."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from config.base.actor import Actor
from fallback import moving
from fallback.models import FallbackConfig, PurgeMode, Relocation
from tests import needs
from tests.faults.world import Installation, wait_for

pytestmark = pytest.mark.faults
SLOW = 20 if needs.soaking() else 3


def test_twenty_slow_rollouts_take_little_longer_than_one(world: Installation) -> None:
    world.sim.settings(rolloutSeconds=SLOW)
    world.seed(jobs=20, runsPerJob=1)
    begun = time.monotonic()
    assert world.sweep(timeout=90)["succeeded"] == 20
    assert time.monotonic() - begun < SLOW * 1.5 + 6
    assert world.verdict() == {"moved": 20}
    assert len(world.calls("create")) == 20


def test_the_older_services_delay_before_the_first_try_is_kept(world: Installation) -> None:
    world.sim.settings(rolloutSeconds=0)
    world.seed(jobs=1, runsPerJob=2)
    assert world.sweep(JOB_FALLBACK_TRIGGER_DELAY_MS="1500")["succeeded"] == 2
    (create,), triggers = world.calls("create"), world.calls("trigger")
    assert min(row["at"] for row in triggers) - create["at"] >= 1400  # milliseconds


def test_a_failed_rollout_is_not_tried_again_at_once(world: Installation) -> None:
    world.sim.settings(failRollouts=-1)
    world.seed(jobs=2, runsPerJob=2)
    swept = world.begin_sweep().wait()
    assert (swept.code, swept.figures["failed"]) == (1, 4)
    assert world.states() == {"Failed RolloutFailed": 4}
    world.sim.settings(failRollouts=0)
    again = world.sweep()
    assert (again["planned"], again["skipped"]) == (0, {"Cooldown": 4})
    assert len(world.calls("create")) == 2
    assert world.verdict() == {"waiting": 4, "litter": 2}


def test_one_failed_rollout_leaves_the_others_alone(world: Installation) -> None:
    world.sim.settings(failRollouts=1)
    world.seed(jobs=5, runsPerJob=2)
    swept = world.sweep()
    assert (swept["succeeded"], swept["failed"]) == (8, 2)
    assert world.verdict() == {"moved": 8, "waiting": 2, "litter": 1}


def test_a_rollout_survives_the_process_that_began_it(world: Installation) -> None:
    world.sim.settings(rolloutSeconds=2)
    world.seed(jobs=3, runsPerJob=2)
    first = world.begin_sweep()
    wait_for(lambda: len(world.calls("create")) == 3)
    first.kill()
    world.expire_leases()
    assert world.sweep()["succeeded"] == 6
    assert len(world.calls("create")) == 3
    assert world.verdict() == {"moved": 6}


def test_a_deployment_that_is_gone_is_made_again(world: Installation) -> None:
    """Between its rollout and the trigger somebody has taken it down."""
    world.sim.settings(rolloutSeconds=1)
    world.seed(jobs=1, runsPerJob=2)
    world.sim.faults({"call": "trigger", "effect": "status", "status": 404, "times": 1})
    assert world.sweep()["succeeded"] == 2
    assert world.verdict() == {"moved": 2}


@pytest.mark.parametrize("purge_mode", [PurgeMode.AFTER_ACCEPT, PurgeMode.DIRECTLY])
def test_a_deployment_of_long_ago_is_given_time_when_made_again(
    world: Installation, purge_mode: str
) -> None:
    seeded = world.seed(jobs=1, runsPerJob=1, purge_mode=purge_mode)
    assert world.sweep()["succeeded"] == 1
    Relocation.objects.update(asked_at=timezone.now() - timedelta(days=14))
    world.sim.add_run(seeded["jobs"][0]["id"], ageMinutes=90, command="python another.py")
    world.sim.settings(rolloutSeconds=1)
    world.sim.faults({"call": "trigger", "effect": "status", "status": 404, "times": 1})
    assert world.sweep()["succeeded"] == 1
    assert world.verdict() == {"moved": 2}


def test_runs_taken_up_later_do_not_spoil_what_is_being_made(world: Installation) -> None:
    """A slow listing holds a job up; two of its runs wait for it, then the others are taken up."""
    seeded = world.sim.seed(sourceClusters=2, jobs=1, runsPerJob=20, destinations=2)
    quick, slow = zip(seeded["sources"], seeded["destinations"], strict=True)
    first = world.config(*quick, enabled=False)
    world.config(*slow)
    world.manage("sweep", "--json", FALLBACK_MAX_MOVES_PER_SWEEP="2")
    FallbackConfig.objects.filter(pk=first.pk).update(enabled=True)
    listing = {"call": "list_apps", "match": {"workspaceId": slow[1]["workspaceId"]}, "times": 1}
    world.sim.faults({**listing, "effect": "hang", "seconds": 2})
    assert world.sweep(FALLBACK_CONCURRENCY="4")["succeeded"] == 40
    assert world.verdict() == {"moved": 40}


def test_a_job_whose_source_has_ended_is_saved_by_a_retry(world: Installation) -> None:
    """The deployment is gone and may not be made again, until somebody has mended that."""
    world.seed(jobs=1, runsPerJob=1, purge_mode=PurgeMode.DIRECTLY)
    gone = {"call": "trigger", "effect": "status", "status": 404, "times": 1}
    refused = {"call": "create", "effect": "status", "status": 422, "skip": 1, "times": 1}
    world.sim.faults(gone, refused)
    world.sweep(timeout=10)
    assert world.states() == {"NeedsAttention CreateRejected": 1}
    assert world.verdict()["lost"] == 1
    moving.retry(world.moves().get(), Actor.system("ada"))
    world.sweep(timeout=10)
    assert world.states() == {"Succeeded": 1}
    assert world.verdict() == {"moved": 1}


@pytest.mark.parametrize("purge_mode", [PurgeMode.AFTER_ACCEPT, PurgeMode.DIRECTLY])
def test_a_later_version_whose_rollout_fails(world: Installation, purge_mode: str) -> None:
    """The earlier version stays active; its success is not the later one's."""
    seeded = world.seed(purge_mode=purge_mode, jobs=1, runsPerJob=1, versionsPerJob=2)
    (run,) = seeded["stuckRuns"]
    assert world.sweep()["succeeded"] == 1
    world.sim.settings(failRollouts=-1)
    later = {"version": 3 - run["deploymentVersion"], "command": "python later.py"}
    world.sim.add_run(run["applicationId"], ageMinutes=90, **later)
    assert world.sweep(timeout=10)["failed"] == 1
    assert world.states() == {"Succeeded": 1, "Failed RolloutFailed": 1}
    assert len(world.calls("trigger")) == 1
    assert world.verdict() == {"moved": 1, "waiting": 1}


def test_a_rollout_whose_moves_were_cancelled_holds_up_no_later_version(
    world: Installation,
) -> None:
    """Versions take turns, and nobody is left to see that this one has had its turn."""
    world.sim.settings(rolloutSeconds=1)
    (run,) = world.seed(jobs=1, runsPerJob=1, versionsPerJob=2)["stuckRuns"]
    world.sweep_until("AwaitingReady RollingOut")
    moving.cancel(world.moves().get(), Actor.system("ada"))
    later = {"version": 3 - run["deploymentVersion"], "command": "python later.py"}
    world.sim.add_run(run["applicationId"], ageMinutes=90, **later)
    assert world.sweep(timeout=20)["succeeded"] == 1
    assert world.verdict() == {"moved": 1, "waiting": 1}
