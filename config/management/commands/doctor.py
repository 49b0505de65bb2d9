"""`manage.py doctor`: what is wrong with this installation, and what to do next."""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection
from django_celery_beat.models import PeriodicTask

from config.apps import TICKS
from config.base import leases
from config.base.secrets import Undecryptable, decrypt
from config.encrypted import encrypted_fields, stored_values
from config.health import broker_answers, database_answers
from config.management.commands.up import missing_migrations

SAMPLE = 1000  # encrypted values that are opened, of each field
OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True)
class Finding:
    subject: str
    level: str
    text: str
    next_step: str = ""


class Command(BaseCommand):
    help = "Check settings, database, broker, keys, data directory and clock. Exit 1: one failed."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        styles = {OK: self.style.SUCCESS, WARN: self.style.WARNING, FAIL: self.style.ERROR}
        failed = False
        for finding in findings():
            failed = failed or finding.level == FAIL
            level = styles[finding.level](f"{finding.level:<4}")
            self.stdout.write(f"{level}  {finding.subject:<10} {finding.text}")
            if finding.next_step:
                self.stdout.write(f"{'':<17}-> {finding.next_step}")
        if failed:
            sys.exit(1)


def findings() -> Iterator[Finding]:
    yield check_settings()
    yield check_data_dir()
    database = check_database()
    yield database
    yield check_broker()
    if database.level != FAIL:
        yield check_keys()
        yield check_clock()
        yield check_ticks()


def check_settings() -> Finding:
    found = checks.run_checks(include_deployment_checks=settings.PRODUCTION)
    messages = [message for message in found if not message.is_silenced()]
    serious = [message for message in messages if message.level >= checks.ERROR]
    if serious:
        return Finding("settings", FAIL, serious[0].msg, "manage.py check --deploy lists all")
    if messages and settings.PRODUCTION:
        text = f"{len(messages)} warnings, such as: {messages[0].msg}"
        return Finding("settings", WARN, text, "manage.py check --deploy lists all")
    if not settings.PRODUCTION:
        return Finding("settings", OK, "for development (PRODUCTION is not set)")
    return Finding("settings", OK, "for production")


def check_data_dir() -> Finding:
    directory = settings.DATA_DIR
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"x")
    except OSError as error:
        step = "set DATA_DIR to a directory that this user may write to"
        return Finding("data", FAIL, f"cannot write in {directory}: {error.strerror}", step)
    return Finding("data", OK, f"{directory} can be written to")


def check_database() -> Finding:
    if not database_answers():
        step = "start the database, or correct DATABASE_URL"
        return Finding("database", FAIL, f"{connection.vendor} does not answer", step)
    try:
        missing = missing_migrations()
    except DatabaseError as error:
        return Finding("database", FAIL, str(error), "look at the database's own log")
    if missing:
        return Finding("database", FAIL, f"{missing} migrations are missing", "manage.py migrate")
    if settings.PRODUCTION and connection.vendor == "sqlite":
        step = "set DATABASE_URL to a PostgreSQL for more than one machine"
        return Finding("database", WARN, "SQLite: one machine only", step)
    return Finding("database", OK, f"{connection.vendor}, all migrations applied")


def check_broker() -> Finding:
    if broker_answers():
        return Finding("broker", OK, "answers")
    if settings.REDIS_EMBEDDED:
        step = "manage.py up starts the embedded one"
    else:
        step = "start it, or correct REDIS_URL"
    text = "does not answer: nothing is lost, but pages and new work wait for the ticks"
    return Finding("broker", WARN, text, step)


def check_keys() -> Finding:
    opened = 0
    for model, name in encrypted_fields():
        for pk, stored in islice(stored_values(model, name), SAMPLE):
            try:
                decrypt(stored)
            except Undecryptable:
                text = f"no key opens {name} of {model._meta.label} {pk}"
                step = "add the key that it was stored with to the end of ENCRYPTION_KEYS"
                return Finding("keys", FAIL, text, step)
            opened += 1
    count = len(settings.ENCRYPTION_KEYS)
    text = f"{opened} secrets looked at, all opened by {count} key{'s'[: count > 1]}"
    return Finding("keys", OK, text)


def check_clock() -> Finding:
    try:
        leases.must_keep_time()
    except leases.ClockApart as error:
        return Finding("clock", FAIL, str(error), "let all machines follow one time server")
    return Finding("clock", OK, "agrees with the database's")


def check_ticks() -> Finding:
    names = {task: name for name, task, _ in TICKS}
    ticks = PeriodicTask.objects.filter(task__in=names).order_by("name")
    if missing := names.keys() - {tick.task for tick in ticks}:
        text = f"missing: {', '.join(sorted(names[task] for task in missing))}"
        return Finding("ticks", FAIL, text, "manage.py migrate makes them")
    if off := [tick.name for tick in ticks if not tick.enabled]:
        step = "enable them in the admin, under Periodic tasks"
        return Finding("ticks", WARN, f"switched off: {', '.join(off)}", step)
    return Finding("ticks", OK, f"{len(ticks)}, all enabled")
