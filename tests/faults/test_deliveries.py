"""Workers that deliver are killed at any moment: no event is lost, and who takes each message once
by its id, as a receiver must, has each event once."""

import random
import signal
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Delivery, Organization, Webhook
from tests.accounts.webhooking import Receiver, make, receiving, seal
from tests.faults.world import Installation, Running, wait_for

pytestmark = pytest.mark.faults
COURIER = "tests.faults.courier"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def hook(receiver: Receiver) -> Webhook:
    acme, _ = Organization.objects.get_or_create(name="Acme")
    return make(acme, receiver.url)


def courier(world: Installation, **env: str) -> Running:
    """A process of tests/faults/courier.py that has begun, so that it can be killed."""

    def logs() -> int:
        return len(list(world.home.glob("*-courier.err.log")))

    before = logs()
    process = world.begin(module=COURIER, **env)
    wait_for(lambda: logs() > before)
    return process


def expire_leases() -> None:
    """As if the minute of a dead process's lease were over. Nobody may be alive."""
    Delivery.objects.filter(lease__isnull=False).update(next_attempt_at=timezone.now())


def hurry() -> None:
    """As if the time until each next attempt were over, for what nobody is at."""
    Delivery.objects.filter(lease=None, state="pending").update(next_attempt_at=timezone.now())


def finish(world: Installation, count: int) -> None:
    """A last process delivers what the others have left."""
    delivered = Delivery.objects.filter(state="delivered")
    process = courier(world)

    def done() -> bool:
        hurry()
        return delivered.count() == count

    wait_for(done, seconds=60, every=0.1)
    process.kill()


def nothing_lost_or_doubled(webhook: Webhook, receiver: Receiver, count: int) -> None:
    rows = list(webhook.deliveries.all())
    assert len({row.activity_id for row in rows}) == len(rows) == count
    assert {row.state for row in rows} == {"delivered"}
    # Every row was acknowledged, and nothing else was.
    assert {str(row.message_id) for row in rows} == set(receiver.acknowledged)
    # Each event has one id, however often it came.
    by_event: dict[int, set[str]] = {}
    for call, body in zip(receiver.calls, receiver.bodies(), strict=True):
        by_event.setdefault(body["data"]["id"], set()).add(call["headers"]["webhook-id"])
    assert len(by_event) == count
    assert all(len(ids) == 1 for ids in by_event.values())


@pytest.mark.parametrize(
    ("kills", "events"), [(8, 60), pytest.param(100, 600, marks=pytest.mark.soak)]
)
def test_killed_at_random_moments(
    world: Installation, receiver: Receiver, kills: int, events: int
) -> None:
    chance = random.Random(kills)
    webhook = hook(receiver)
    receiver.slow = 0.02
    sealed = 0
    for _ in range(kills):
        batch = events // kills
        seal(webhook.organization, *["move.planned"] * batch)
        sealed += batch
        answers = [200, 200, 500]
        receiver.plan = [chance.choice(answers) for _ in range(batch)]
        workers = [courier(world) for _ in range(2)]
        time.sleep(chance.uniform(0.05, 0.6))
        for worker in workers:
            assert worker.kill().code == -9
        expire_leases()
        hurry()
        Webhook.objects.update(failures_in_row=0)
    receiver.plan = []
    finish(world, sealed)
    nothing_lost_or_doubled(webhook, receiver, sealed)
    repeated = len(receiver.acknowledged) - sealed
    # Only what was under way when a worker died may come twice: four at a time of each.
    assert repeated <= kills * 2 * 4


@pytest.mark.parametrize("how", ["before", "after", "during"])
def test_dying_at_every_step(world: Installation, receiver: Receiver, how: str) -> None:
    webhook = hook(receiver)
    receiver.slow = 0.1 if how == "during" else 0.0
    at, code = 0, -9
    while code == -9:
        at += 1
        assert at < 60
        seal(webhook.organization, "move.planned")
        env = {"CRASH_AT": str(at), "CRASH_HOW": how, "ROUNDS": "1"}
        code = courier(world, **env).wait().code
        assert code in (0, -9), world.words()
        expire_leases()
        hurry()
        # Those left over go out before the next one dies, or it would never come further.
        if code == -9:
            assert courier(world, ROUNDS="1").wait().code == 0, world.words()
            expire_leases()
    assert at > (1 if how == "during" else 3)
    finish(world, at)
    nothing_lost_or_doubled(webhook, receiver, at)


def test_a_plain_loop_loses_what_was_under_way(world: Installation, receiver: Receiver) -> None:
    """So that it is known that the tests above can fail."""
    webhook = hook(receiver)
    receiver.plan = ["hang"]
    seal(webhook.organization, *["move.planned"] * 5)
    worker = courier(world, NAIVE="1")
    wait_for(lambda: receiver.calls)
    worker.kill()
    finish(world, 5)
    assert len(set(receiver.acknowledged)) == 4
    with pytest.raises(AssertionError):
        nothing_lost_or_doubled(webhook, receiver, 5)


def test_a_worker_that_stood_still_past_its_lease_doubles_nothing(
    world: Installation, receiver: Receiver
) -> None:
    """Its outcome comes too late, and is not written over what another has made of it."""
    webhook = hook(receiver)
    receiver.plan = ["hang"]
    seal(webhook.organization, "move.planned")
    worker = courier(world)
    wait_for(lambda: receiver.calls)
    worker.signal(signal.SIGSTOP)
    expire_leases()
    finish(world, 1)
    receiver.released.set()
    ended = Delivery.objects.get()
    worker.signal(signal.SIGCONT)
    time.sleep(0.5)
    worker.kill()
    again = Delivery.objects.get()
    assert (again.state, again.attempts, again.status) == ("delivered", 2, 200)
    assert again.finished_at == ended.finished_at
    nothing_lost_or_doubled(webhook, receiver, 1)


def test_500_twice_then_a_hang_then_200_is_delivered_once(
    world: Installation, receiver: Receiver
) -> None:
    """The worker is killed while it waits for the one that hangs."""
    webhook = hook(receiver)
    receiver.plan = [500, 500, "hang", 200]
    seal(webhook.organization, "move.planned")
    worker = courier(world)
    for count in (1, 2):
        wait_for(lambda: Delivery.objects.filter(attempts=count, lease=None).exists())  # noqa: B023
        hurry()
    wait_for(lambda: len(receiver.calls) == 3)
    worker.kill()
    expire_leases()
    finish(world, 1)
    nothing_lost_or_doubled(webhook, receiver, 1)
    assert len(receiver.calls) == 4
    assert len(receiver.acknowledged) == 1
    row = Delivery.objects.get()
    assert row.attempts == 4
    assert timezone.now() - row.created_at < timedelta(minutes=2)
