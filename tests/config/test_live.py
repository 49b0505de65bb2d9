"""Bells: at most one a second, and never in the way."""

import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from celery import shared_task
from django.db import transaction
from structlog.testing import capture_logs

from config.base import live


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(live, "_rung", {})
    monkeypatch.setattr(live, "_warned_at", 0.0)
    monkeypatch.setattr(live, "_away_until", 0.0)


@pytest.fixture
def rung(monkeypatch):
    """The groups that a bell reached."""
    groups = []

    class Layer:
        async def group_send(self, group, message):
            assert message == {"type": "changed"}  # a bell carries nothing
            groups.append(group)

    monkeypatch.setattr(live, "get_channel_layer", Layer)
    return groups


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(live, "time", clock)
    return clock


def test_one_bell_a_second_for_each_organization(rung, clock):
    for _ in range(10):
        live.ring("a")
        live.ring("b")
    assert rung == ["live.a", "live.b"]
    clock.now += 1.1
    live.ring("a")
    assert rung == ["live.a", "live.b", "live.a"]


@pytest.mark.django_db(transaction=True)
def test_a_bell_waits_for_the_commit(rung):
    with transaction.atomic():
        live.ring_on_commit("a")
        assert rung == []
    assert rung == ["live.a"]


@pytest.mark.django_db(transaction=True)
def test_a_rollback_rings_nothing(rung):
    with pytest.raises(RuntimeError), transaction.atomic():
        live.ring_on_commit("a")
        raise RuntimeError
    assert rung == []


@shared_task
def hint(number):
    raise AssertionError("never run: the broker is away")


@pytest.mark.django_db(transaction=True)
def test_with_the_broker_away_nothing_is_raised_and_little_time_is_lost():
    """Nothing listens on the test settings' socket."""
    with capture_logs() as lines:
        began = time.monotonic()
        for number in range(20):
            live.ring(f"organization-{number}")
            live.nudge(hint, number)
        assert time.monotonic() - began < 1.0
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["broker_away"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "use", [lambda: live.ring("a"), lambda: live.nudge(hint, 1)], ids=["bell", "hint"]
)
def test_a_broker_that_hangs_costs_little(use, settings):
    """It takes connections, and answers nothing."""
    path = Path(urlsplit(settings.REDIS_URL).path)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as broker, capture_logs() as lines:
        broker.bind(str(path))
        broker.listen()
        began = time.monotonic()
        use()
        assert time.monotonic() - began < 4
        path.unlink()
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["broker_away"]


def test_after_a_pause_the_broker_is_tried_again(rung, clock, monkeypatch):
    def fail():
        raise ConnectionError

    with capture_logs() as lines:
        live.without_broker(fail)
        live.ring("a")
        assert rung == []  # not tried: it was away a moment ago
        clock.now += 6
        live.without_broker(fail)
        clock.now += 6
        live.ring("b")
        assert rung == ["live.b"]
        clock.now += 60
        live.without_broker(fail)
    assert [line["event"] for line in lines] == ["broker_away"] * 2  # one a minute
