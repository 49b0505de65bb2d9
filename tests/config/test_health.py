"""Health, the doctor, and the ticks that migrating makes."""

import os
import signal
import subprocess
import tempfile
import time
import weakref
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from celery.signals import before_task_publish
from cryptography.fernet import Fernet
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import OperationalError
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from config import celery, health, heartbeats, valkey
from config.apps import TICKS, make_ticks
from config.base.cache import FailOpen
from tests.factories import ConnectionFactory


@pytest.fixture(autouse=True)
def as_if_just_started(monkeypatch):
    monkeypatch.setattr(FailOpen, "_away_until", 0.0)
    heartbeats._left.clear()


@pytest.fixture
def broker(settings):
    """A Valkey of its own, as `manage.py up` starts it."""
    with tempfile.TemporaryDirectory(prefix="swy-") as folder:
        socket, data_dir = Path(folder, "socket", "valkey.sock"), Path(folder, "data")
        lock = valkey.prepare(socket, data_dir)
        process = subprocess.Popen(
            valkey.command(socket, data_dir), stdout=subprocess.DEVNULL, pass_fds=[lock]
        )
        os.close(lock)
        settings.REDIS_URL = f"unix://{socket}"
        default = {**settings.CACHES["default"], "LOCATION": settings.REDIS_URL}
        settings.CACHES = {"default": default}
        try:
            deadline = time.monotonic() + 5
            while not health.broker_answers() and time.monotonic() < deadline:
                time.sleep(0.02)
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(timeout=10)


class TestHealth:
    def test_all_is_well(self, client, db, broker):
        for name in heartbeats.NAMES:
            heartbeats.leave(name)
        reply = client.get("/api/health")
        assert reply.status_code == 200
        assert reply.json() == {
            "status": "ok",
            "database": "ok",
            "broker": "ok",
            "worker": "ok",
            "beat": "ok",
            "heartbeats": {"worker": 0, "beat": 0},
        }
        assert "no-cache" in reply["Cache-Control"]

    def test_a_process_that_shows_no_life_is_told(self, client, db, broker):
        heartbeats.leave("beat")
        told = client.get("/api/health").json()
        assert (told["status"], told["worker"], told["beat"]) == ("degraded", "unknown", "ok")
        with time_machine.travel(timezone.now() + timedelta(minutes=5), tick=False):
            told = client.get("/api/v1/health/").json()
        assert (told["status"], told["beat"]) == ("degraded", "late")
        assert told["heartbeats"]["beat"] >= 299

    def test_without_the_broker_it_is_degraded(self, client, db):
        reply = client.get("/api/health/")
        assert reply.status_code == 200
        assert reply.json() == {
            "status": "degraded",
            "database": "ok",
            "broker": "error",
            "worker": "unknown",
            "beat": "unknown",
            "heartbeats": {"worker": None, "beat": None},
        }

    def test_a_broker_that_hangs_costs_little(self, client, db, broker):
        broker.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert client.get("/api/health").json()["broker"] == "error"
        assert time.monotonic() - began < 1.5

    def test_without_the_database_it_is_unavailable(self, client, monkeypatch):
        monkeypatch.setattr(health, "connection", Away())
        reply = client.get("/api/health")
        assert reply.status_code == 503
        told = reply.json()
        assert (told["status"], told["database"], told["broker"]) == ("error", "error", "error")
        assert "hunter2" not in reply.content.decode()

    def test_it_only_reads(self, client, db):
        for path in ("health", "health/live", "health/ready"):
            assert client.post(f"/api/{path}").status_code == 405


class TestReady:
    @pytest.fixture(autouse=True)
    def anew(self, monkeypatch):
        monkeypatch.setattr(health.Ready, "migrated", False)

    def test_with_all_migrations(self, client, db):
        assert client.get("/api/health/ready").json() == {"status": "ok"}
        assert health.Ready.migrated

    def test_not_without_one(self, client, db, monkeypatch):
        monkeypatch.setattr(health, "missing_migrations", lambda: 1)
        reply = client.get("/api/health/ready")
        assert (reply.status_code, reply.json()["reason"]) == (503, "MigrationsMissing")

    def test_not_without_the_database(self, client, monkeypatch):
        monkeypatch.setattr(health, "connection", Away())
        reply = client.get("/api/health/ready")
        assert (reply.status_code, reply.json()["reason"]) == (503, "DatabaseAway")

    def test_alive_whatever_is_away(self, client):
        assert client.get("/api/health/live").json() == {"status": "ok"}


class Away:
    def cursor(self):
        raise OperationalError("connection to 192.0.2.7 failed: password=hunter2")


class TestHeartbeats:
    def test_a_worker_leaves_one_with_each_task_and_beat_with_each_tick(self, monkeypatch):
        left: list[str] = []
        monkeypatch.setattr(heartbeats, "leave", left.append)
        celery.worker_lives(task_id="x")
        celery.beat_lives(sender="x")
        assert left == ["worker", "beat"]

    def test_only_beat_speaks_for_beat(self):
        assert celery.beat_lives not in live_receivers(before_task_publish)
        celery.watch_beat()
        try:
            assert celery.beat_lives in live_receivers(before_task_publish)
        finally:
            before_task_publish.disconnect(celery.beat_lives)

    def test_saying_it_often_costs_nothing(self, monkeypatch):
        said: list[str] = []
        monkeypatch.setattr(heartbeats, "cache", Recorder(said))
        for _ in range(5):
            heartbeats.leave("worker")
            heartbeats.leave("beat")
        assert said == ["heartbeat:worker", "heartbeat:beat"]


class Recorder:
    def __init__(self, said: list[str]) -> None:
        self.set = lambda key, *_: said.append(key)


def live_receivers(signal_: Any) -> list[Any]:
    return [receiver for _, reference in signal_.receivers if (receiver := alive(reference))]


def alive(reference: Any) -> Any:
    return reference() if isinstance(reference, weakref.ref) else reference


class TestFrontDoor:
    def test_it_asks_who_is_there(self, client, db):
        assert client.get("/").headers["Location"].startswith("/sign-in/")


class TestValkey:
    def test_it_listens_on_its_socket_alone_and_keeps_what_it_has(self, broker, settings):
        import redis

        with redis.Redis.from_url(settings.REDIS_URL, decode_responses=True) as client:
            config = client.config_get()
        assert (config["port"], config["appendonly"], config["save"]) == ("0", "yes", "")
        assert config["maxmemory-policy"] == "noeviction"

    def test_two_on_the_same_data_are_refused(self, tmp_path):
        lock = valkey.prepare(tmp_path / "socket" / "v.sock", tmp_path / "data")
        with pytest.raises(valkey.CannotStart, match="Another Valkey"):
            valkey.prepare(tmp_path / "socket" / "v.sock", tmp_path / "data")
        os.close(lock)

    def test_a_directory_that_others_may_enter_is_refused(self, tmp_path):
        (tmp_path / "socket").mkdir()
        (tmp_path / "socket").chmod(0o755)
        with pytest.raises(valkey.CannotStart, match="0700"):
            valkey.prepare(tmp_path / "socket" / "v.sock", tmp_path / "data")


class TestTicks:
    def test_migrating_has_made_them(self, db):
        rows = {row.name: row for row in PeriodicTask.objects.select_related("interval")}
        for name, task, seconds in TICKS:
            row = rows[name]
            assert (row.task, row.expire_seconds) == (task, seconds)
            assert (row.interval.every, row.interval.period) == (seconds, "seconds")

    def test_each_names_a_task_that_exists(self):
        from config.celery import app

        app.loader.import_default_modules()
        assert {task for _, task, _ in TICKS} <= set(app.tasks)

    def test_an_administrators_change_stays(self, db):
        slow = IntervalSchedule.objects.create(every=10, period="minutes")
        PeriodicTask.objects.filter(name="sweep").update(interval=slow, enabled=False)
        PeriodicTask.objects.filter(name="prune").delete()
        make_ticks(using="default")
        tick = PeriodicTask.objects.get(name="sweep")
        assert (tick.interval, tick.enabled) == (slow, False)
        assert PeriodicTask.objects.filter(name="prune").exists()


class TestDoctor:
    def examine(self) -> tuple[int, str]:
        out = StringIO()
        try:
            call_command("doctor", stdout=out, no_color=True)
        except SystemExit as stop:
            return int(stop.code or 0), out.getvalue()
        return 0, out.getvalue()

    def test_all_is_well(self, db, broker):
        status, out = self.examine()
        assert status == 0
        assert [line[:4].strip() for line in out.splitlines()] == ["ok"] * 7

    def test_a_broker_away_is_a_warning(self, db):
        status, out = self.examine()
        assert status == 0
        assert "warn  broker" in out
        assert "-> manage.py up starts the embedded one" in out

    def test_a_lost_key_is_a_failure_that_names_no_value(self, db, settings):
        ConnectionFactory.create(token="tfy-very-secret")
        settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        status, out = self.examine()
        assert status == 1
        assert "fail  keys       no key opens token of fallback.Connection" in out
        assert "very-secret" not in out

    def test_a_data_directory_that_cannot_be_written_is_a_failure(self, db, settings, tmp_path):
        (tmp_path / "file").touch()
        settings.DATA_DIR = tmp_path / "file"
        status, out = self.examine()
        assert status == 1
        assert "fail  data" in out

    def test_a_tick_switched_off_is_a_warning(self, db):
        PeriodicTask.objects.filter(name="sweep").update(enabled=False)
        assert "warn  ticks      switched off: sweep" in self.examine()[1]

    @pytest.mark.parametrize("name", [name for name, _, _ in TICKS])
    def test_a_tick_that_is_missing_is_a_failure(self, db, name):
        PeriodicTask.objects.filter(name=name).delete()
        status, out = self.examine()
        assert status == 1
        assert f"fail  ticks      missing: {name}\n" in out
        assert "-> manage.py migrate makes them" in out


def test_a_printed_key_is_usable(settings):
    out = StringIO()
    call_command("encryption_key", stdout=out)
    Fernet(out.getvalue().strip())
    assert out.getvalue().strip() not in django_settings.ENCRYPTION_KEYS
