"""Health, the doctor, and the ticks that migrating makes."""

import os
import signal
import subprocess
import tempfile
import time
from io import StringIO
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import OperationalError
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from config import health, valkey
from config.apps import TICKS, make_ticks
from tests.factories import ConnectionFactory


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
        reply = client.get("/api/health")
        assert reply.status_code == 200
        assert reply.json() == {"status": "ok", "database": "ok", "broker": "ok"}
        assert "no-cache" in reply["Cache-Control"]

    def test_without_the_broker_it_is_degraded(self, client, db):
        reply = client.get("/api/health/")
        assert reply.status_code == 200
        assert reply.json() == {"status": "degraded", "database": "ok", "broker": "error"}

    def test_a_broker_that_hangs_costs_little(self, client, db, broker):
        broker.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert client.get("/api/health").json()["broker"] == "error"
        assert time.monotonic() - began < 1.5

    def test_without_the_database_it_is_unavailable(self, client, monkeypatch):
        class Away:
            def cursor(self):
                raise OperationalError("connection to 192.0.2.7 failed: password=hunter2")

        monkeypatch.setattr(health, "connection", Away())
        reply = client.get("/api/health")
        assert reply.status_code == 503
        assert reply.json() == {"status": "error", "database": "error", "broker": "error"}

    def test_it_only_reads(self, client, db):
        assert client.post("/api/health").status_code == 405

    def test_the_front_door_leads_to_the_admin(self, client, db):
        assert client.get("/").headers["Location"] == "/admin/"


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


def test_a_printed_key_is_usable(settings):
    out = StringIO()
    call_command("encryption_key", stdout=out)
    Fernet(out.getvalue().strip())
    assert out.getvalue().strip() not in django_settings.ENCRYPTION_KEYS
