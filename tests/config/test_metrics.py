"""/metrics: figures from rows, for Prometheus and nobody else."""

from datetime import timedelta

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from config import heartbeats
from tests.factories import ConnectionFactory, MembershipFactory
from tests.fallback.factories import (
    FallbackConfigFactory,
    MoveFactory,
    PauseFactory,
    SweepFactory,
)

pytestmark = pytest.mark.django_db


def figures() -> dict[str, float]:
    answer = Client().get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_figures_are_those_of_the_rows():
    membership = MembershipFactory.create()
    remote = ConnectionFactory.create(organization=membership.organization)
    with time_machine.travel(timezone.now() - timedelta(minutes=1), tick=False):
        MoveFactory.create(connection=remote)
    for state in ("Succeeded", "Succeeded", "Failed", "NeedsAttention"):
        MoveFactory.create(connection=remote, state=state)
    FallbackConfigFactory.create(connection=remote)
    FallbackConfigFactory.create(connection=remote, mode="observe")
    FallbackConfigFactory.create(connection=remote, enabled=False)
    PauseFactory.create(connection=remote)
    SweepFactory.create(organization=membership.organization)
    SweepFactory.create(organization=membership.organization, finished_at=None)
    found = figures()
    assert found["switchyard_moves[Succeeded]"] == 2
    assert found["switchyard_moves[Planned]"] == 1
    assert found["switchyard_moves[Creating]"] == 0
    assert found["switchyard_moves_due"] == 1
    assert 60 <= found["switchyard_oldest_open_move_seconds"] < 70
    assert found["switchyard_configs[auto]"] == 1
    assert found["switchyard_configs[observe]"] == 1
    assert found["switchyard_configs[disabled]"] == 1
    assert found["switchyard_connections[unknown]"] == 1
    assert found["switchyard_pauses"] == 1
    assert found["switchyard_sweeps_waiting"] == 1
    assert found["switchyard_last_sweep_timestamp_seconds"] == pytest.approx(
        timezone.now().timestamp(), abs=10
    )
    assert found["switchyard_users"] == 1
    assert found["switchyard_organizations"] == 1


def test_an_empty_installation_has_figures_too():
    found = figures()
    assert found["switchyard_moves[Planned]"] == found["switchyard_oldest_open_move_seconds"] == 0
    assert "switchyard_last_sweep_timestamp_seconds" not in found


def test_how_many_rows_there_are_does_not_change_how_many_queries(django_assert_max_num_queries):
    for _ in range(20):
        MoveFactory.create()
    with django_assert_max_num_queries(12):
        figures()


def test_heartbeats(settings):
    backend = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "metrics"}}
    heartbeats._left.clear()
    heartbeats.leave("worker")
    assert figures()["switchyard_heartbeat_age_seconds[worker]"] < 5
    cache.clear()


class TestWhoMaySee:
    @pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.9.9.9"])
    def test_this_machine(self, address):
        assert Client(REMOTE_ADDR=address).get("/metrics").status_code == 200

    @pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "", "unix"])
    def test_no_other(self, address):
        answer = Client(REMOTE_ADDR=address).get("/metrics")
        assert answer.status_code == 401
        assert b"switchyard_" not in answer.content

    @pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
    def test_nor_one_behind_a_proxy_of_this_machine(self, header):
        assert Client().get("/metrics", headers={header: "192.0.2.1"}).status_code == 401

    def test_who_knows_the_token(self, settings):
        settings.METRICS_TOKEN = "right"
        away = Client(REMOTE_ADDR="192.0.2.1")
        for header, status in (
            ("Bearer right", 200),
            ("bearer right", 200),
            ("Bearer wrong", 401),
            ("Bearer ", 401),
            ("Basic right", 401),
            ("Bearer ü", 401),
        ):
            answer = away.get("/metrics", headers={"Authorization": header})
            assert answer.status_code == status, header

    def test_without_a_token_none_is_right(self):
        away = Client(REMOTE_ADDR="192.0.2.1")
        answer = away.get("/metrics", headers={"Authorization": "Bearer "})
        assert answer.status_code == 401

    def test_it_is_only_read(self):
        assert Client().post("/metrics").status_code == 405
