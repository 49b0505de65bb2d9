"""`manage.py up`: every process of Switchyard on this machine."""

import errno
import fcntl
import os
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from config.processes import Process, Supervisor


def standard_processes() -> list[Process]:
    """What the Procfile lists, with this Python and these settings."""
    python = sys.executable
    celery = [python, "-m", "celery", "--quiet", "--app", "config"]
    alone = ["--without-gossip", "--without-mingle"]  # workers need not know of each other
    # In a container the worker is root, and knows it.
    as_root = {"PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges"}
    web = [python, "-m", "daphne", "--verbosity", "0", "--bind", settings.HOST]
    processes = [
        Process("web", [*web, "--port", str(settings.PORT), "config.asgi:application"]),
        Process("worker", [*celery, "worker", "--concurrency", "2", *alone], as_root),
        Process("beat", [*celery, "beat"]),
    ]
    if settings.REDIS_EMBEDDED:
        processes.insert(0, Process("valkey", [python, "-m", "config.valkey"]))
    return processes


def missing_migrations() -> int:
    """How many migrations the database lacks."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def ensure_port_free(host: str, port: int) -> None:
    """Raise CommandError where somebody listens on it already."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        raise CommandError(f"HOST is {host!r}, which no address belongs to.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} on {host} is taken. Set PORT to another, or end what uses it."
            ) from None
        raise CommandError(f"Cannot listen on {host}, port {port}: {error.strerror}.") from None


def hold_data_dir() -> IO[str]:
    """The lock that one `up` holds; two on the same data would fight over its Valkey."""
    Path(settings.DATA_DIR).mkdir(parents=True, exist_ok=True)
    lock = (settings.DATA_DIR / "up.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandError(f"`manage.py up` is already running on {settings.DATA_DIR}.") from None
    return lock


def run(processes: Sequence[Process], on_tick: Callable[[], None] | None = None) -> None:
    """Check what would fail for sure, then keep `processes` running until SIGINT or SIGTERM.

    `on_tick` is called about ten times a second.
    """
    try:
        missing = missing_migrations()
    except DatabaseError as error:
        raise CommandError(f"The database does not answer: {error}") from None
    if missing:
        raise CommandError(f"The database lacks {missing} migrations. Run: manage.py migrate")
    connection.close()
    if any(process.name == "web" for process in processes):
        ensure_port_free(settings.HOST, settings.PORT)
    with hold_data_dir():
        Path(settings.STATIC_ROOT).mkdir(exist_ok=True)  # whitenoise warns where it is missing
        os.chdir(settings.BASE_DIR)
        supervisor = Supervisor(processes)
        supervisor.say(", ".join(process.name for process in processes))
        if any(process.name == "web" for process in processes):
            supervisor.say(f"http://{settings.HOST}:{settings.PORT}/")
        supervisor.run(on_tick)
        supervisor.say("all ended")


class Command(BaseCommand):
    help = "Start web, worker, beat and the embedded Valkey, and keep them running."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--only", help="names, separated by commas, as in: web,worker")

    def handle(self, *args: Any, only: str | None, **options: Any) -> None:
        processes = standard_processes()
        if only is not None:
            wanted = {name.strip() for name in only.split(",")}
            known = {process.name for process in processes}
            if unknown := sorted(wanted - known):
                raise CommandError(
                    f"Unknown here: {', '.join(unknown)}. Known: {', '.join(sorted(known))}."
                )
            processes = [process for process in processes if process.name in wanted]
        run(processes)
