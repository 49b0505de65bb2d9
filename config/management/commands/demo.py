"""`manage.py demo`: all of Switchyard with a simulated control plane, on this machine."""

import os
import socket
import sys
from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from config import demo
from config.management.commands.up import hold_data_dir, standard_processes
from config.processes import Process, Supervisor

SIMULATOR_HOST = "127.0.0.1"
SIMULATOR_OFFSET = 100  # its port, counted from the site's; then the next free one


class Command(BaseCommand):
    help = (
        "Run Switchyard with a simulated control plane whose stuck runs are moved. Keeps its data "
        "in DATA_DIR/demo and touches nothing else; a second start goes on from there."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--sweep-seconds", type=int, default=10, help="between two looks (first start only)")
        add("--arrivals-per-minute", type=float, default=6, help="stuck runs (first start only)")
        add("--inside", action="store_true", help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["inside"]:
                self._run(options)
            else:
                self._step_inside()
        except KeyboardInterrupt:
            sys.exit(130)

    def _step_inside(self) -> None:
        """Become the demo: the same command, with the demo's environment and nobody else's."""
        data_dir = settings.DATA_DIR / "demo"
        port = free_port(settings.HOST, settings.PORT)
        if port != settings.PORT != 0:
            self.stdout.write(f"Port {settings.PORT} is taken, so this is on {port}.")
        self.stdout.flush()
        manage = str(settings.BASE_DIR / "manage.py")
        line = [sys.executable, manage, "demo", "--inside", *sys.argv[2:]]
        os.execve(sys.executable, line, demo.environment(os.environ, data_dir, port))

    def _run(self, options: dict[str, Any]) -> None:
        try:
            lock = hold_data_dir()
        except CommandError:
            raise CommandError(f"The demo is running already on {settings.DATA_DIR}.") from None
        with lock:
            notes = self._prepare(options)
            os.chdir(settings.BASE_DIR)
            Path(settings.STATIC_ROOT).mkdir(exist_ok=True)
            processes = standard_processes()
            processes.insert(1, simulator_process(notes))
            supervisor = Supervisor(processes)
            self.stdout.write(banner(notes))
            self.stdout.flush()
            connection.close()
            supervisor.run(demo.Watch(lambda line: supervisor.say(line, "moves"), notes.places))
            supervisor.say("all ended", "demo")

    def _prepare(self, options: dict[str, Any]) -> demo.Notes:
        notes = demo.Notes.load(settings.DATA_DIR / "demo.json")
        database = settings.DATA_DIR / "switchyard.sqlite3"
        if database.exists() and not notes.path.exists():
            raise CommandError(f"{settings.DATA_DIR} holds data that the demo has not made.")
        if notes.complete and not (database.exists() and state_file().exists()):
            raise CommandError(f"Parts are missing. Remove {settings.DATA_DIR} to begin anew.")
        if not notes.simulator_port:
            notes.simulator_port = free_port(SIMULATOR_HOST, settings.PORT + SIMULATOR_OFFSET)
            notes.save()
        elif free_port(SIMULATOR_HOST, notes.simulator_port) != notes.simulator_port:
            raise CommandError(
                f"Port {notes.simulator_port}, where the demo's control plane listens, is taken. "
                f"End what uses it, or remove {settings.DATA_DIR} to begin anew."
            )
        self.stdout.write(f"Preparing the demo in {settings.DATA_DIR} …")
        self.stdout.flush()
        call_command("migrate", verbosity=0)
        if not notes.complete:
            per_minute = options["arrivals_per_minute"]
            demo.fill(notes, state_file(), options["sweep_seconds"], per_minute)
        return notes


def state_file() -> Path:
    return Path(settings.DATA_DIR / "simulator.sqlite3")


def simulator_process(notes: demo.Notes) -> Process:
    options = {"host": SIMULATOR_HOST, "port": notes.simulator_port, "state": state_file()}
    line = [sys.executable, "manage.py", "truefoundry_simulator"]
    for name, value in options.items():
        line += [f"--{name}", str(value)]
    return Process("simulator", line)


def free_port(host: str, first: int) -> int:
    """`first` or the next free one after it; any where `first` is 0. Raises CommandError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise CommandError(f"HOST is {host!r}, which no address belongs to.") from None
    for port in range(first, min(first + 100, 65536)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address[0], port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CommandError(f"No port from {first} on is free on {host}. Set PORT to another.")


def banner(notes: demo.Notes) -> str:
    """Where to look, whom to sign in as, what to try."""
    people = "\n".join(
        f"    {demo.email_of(name):<18} {notes.passwords[name]:<16} {role}"
        for name, role in demo.PEOPLE.items()
    )
    data, python = (os.path.relpath(path) for path in (settings.DATA_DIR, sys.executable))
    return f"""
  Switchyard   http://{settings.HOST}:{settings.PORT}/

  Sign in as (demo passwords, made for this directory)
{people}

  What to watch
    On the cluster source-1 jobs wait for nodes that never come. A sweep finds them, and each
    is moved to spare-1 or spare-2, once. New ones keep arriving. Of source-2, one workspace is
    only observed, and one is paused. Below: a line for each move that ends, and a summary
    every {demo.SUMMARY_SECONDS:.0f} s.

  What to try
    kill -9 any of its processes: it comes back, and no job is lost or runs twice.
    DATA_DIR={data} {python} manage.py sweep --dry-run
    curl http://{SIMULATOR_HOST}:{notes.simulator_port}/_sim/verdict   (what became of each run)

  Ctrl-C ends it. The next start goes on from the same data.

"""
