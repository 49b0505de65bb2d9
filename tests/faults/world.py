"""An installation of Switchyard with a database of its own, and the simulator that it talks to."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from accounts.models import Organization
from config.base.actor import Actor
from fallback import configuring
from fallback.models import Connection, Destination, FallbackConfig, Move, Relocation
from fallback.simulator.client import Simulator
from tests.faults import nursery

Json = dict[str, Any]
ROOT = nursery.ROOT
ACTOR = Actor.system("test")
FIELDS = {field.name for field in FallbackConfig._meta.fields}
# Whatever the verdict finds besides the outcome of each stuck run.
WRONGS = ("strays", "healthyTouched", "recoveredKilled", "manifestChanges", "litter")


def environment(data_dir: Path) -> dict[str, str]:
    """What processes of an installation start with; the keys are this process's, so both read."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "DATA_DIR": str(data_dir),
        "ENV_FILE": "none",
        "LOG_LEVEL": "INFO",
        "OUTBOUND_ALLOW_PRIVATE": "true",
        "PYTHONUNBUFFERED": "1",
        "SECRET_KEY": settings.SECRET_KEY,
        # A second attempt soon: what is tested is that there is one, not how patient it is.
        "JOB_FALLBACK_TRIGGER_RETRY_DELAY_MS": "200",
    }


@dataclass(frozen=True)
class Ended:
    """What a process left behind; `code` is negative where a signal ended it."""

    code: int
    out: str
    err: str

    @property
    def figures(self) -> Json:
        """The object that `sweep --json` printed."""
        assert self.out.startswith("{"), f"exit {self.code}\n{self.out}\n{self.err}"
        found: Json = json.loads(self.out)
        return found


class Running:
    """A process under way."""

    def __init__(self, process: ForkServerProcess, out: Path, err: Path) -> None:
        self._process, self._out, self._err = process, out, err
        assert process.pid is not None
        self.pid: int = process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> Ended:
        """kill -9."""
        self._process.kill()
        return self.wait()

    def wait(self, seconds: float = 120) -> Ended:
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            raise AssertionError(f"no end in {seconds} s\n{self._err.read_text()}")
        return Ended(self._process.exitcode, self._out.read_text(), self._err.read_text())


class Daemon:
    """A worker, a beat or a Valkey: a process group that runs until it is killed."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self._command, self._env, self._log = command, env, log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=_die_with_parent,
            )

    @property
    def runs(self) -> bool:
        return self._popen.poll() is None

    def kill(self) -> None:
        """kill -9, with its children."""
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(nursery.PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_for(check: Callable[[], Any], seconds: float = 20, every: float = 0.01) -> Any:
    """What `check` answers once it is something."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every)
    return found


class Installation:
    """A Switchyard; this process sees its rows, and starts its processes."""

    def __init__(self, simulator: Simulator, home: Path, env: dict[str, str]) -> None:
        self.sim, self.home, self.env = simulator, home, env
        self._started = 0
        self._earlier = max((row["seq"] for row in simulator.log()), default=0)
        self._begun: list[Running | Daemon] = []

    # What is there

    def connection(self, organization: str = "Acme", url: str = "", **fields: Any) -> Connection:
        """An organization's connection to the simulator, made where it is missing."""
        owner, _ = Organization.objects.get_or_create(name=organization)
        found = Connection(
            organization=owner,
            name=fields.pop("name", "Simulator"),
            base_url=url or self.sim.url,
            token=self.sim.token,
            **fields,
        )
        if existing := Connection.objects.filter(organization=owner, name=found.name).first():
            return existing
        found.full_clean()
        found.save()
        return found

    def config(
        self, source: Json, *destinations: Json, connection: Connection | None = None, **fields: Any
    ) -> FallbackConfig:
        """A config as a person would save it."""
        config = FallbackConfig(
            connection=connection or self.connection(),
            source_cluster_id=source["clusterId"],
            source_workspace_id=source["workspaceId"],
            **fields,
        )
        places = [
            Destination(cluster_id=place["clusterId"], workspace_id=place["workspaceId"])
            for place in destinations
        ]
        return configuring.save_config(config, places, ACTOR)

    def seed(self, connection: Connection | None = None, **wish: Any) -> Json:
        """Stuck runs at the simulator, and a config for each of their workspaces.

        The simulator's wishes are in camelCase; the config's fields are the model's.
        """
        config = {name: wish.pop(name) for name in FIELDS & wish.keys()}
        seeded = self.sim.seed(**{"destinations": 1, **wish})
        for source in seeded["sources"]:
            self.config(source, *seeded["destinations"], connection=connection, **config)
        return seeded

    def ticks(self, seconds: float) -> None:
        """Let beat's ticks come that often."""
        microseconds = int(seconds * 1_000_000)
        interval, _ = IntervalSchedule.objects.get_or_create(
            every=microseconds, period="microseconds"
        )
        PeriodicTask.objects.filter(task__endswith="_tick").update(interval=interval)

    # What is done

    def begin(self, *arguments: str, module: str = "manage", **env: str) -> Running:
        """Start `manage.py ARGUMENTS`, or another module's main()."""
        out, err = self._files(arguments[0] if module == "manage" else module)
        process = nursery.start(module, arguments, self.env | env, out, err)
        self._begun.append(found := Running(process, out, err))
        return found

    def manage(self, *arguments: str, **env: str) -> Ended:
        return self.begin(*arguments, **env).wait()

    def begin_sweep(self, *arguments: str, timeout: float = 60, **env: str) -> Running:
        limit = ("--timeout", str(timeout))
        return self.begin("sweep", "--wait", "--json", *limit, *arguments, **env)

    def sweep(self, *arguments: str, timeout: float = 60, **env: str) -> Json:
        """`manage.py sweep --wait --json` to its end; what it printed."""
        return self.begin_sweep(*arguments, timeout=timeout, **env).wait().figures

    def sweep_until(self, state: str) -> None:
        """A sweep that is killed once all moves are in this state, as `states` tells it."""
        process = self.begin_sweep()
        wait_for(lambda: set(self.states()) == {state})
        process.kill()
        self.expire_leases()

    def command_line(self, *command: str, **env: str) -> "subprocess.Popen[str]":
        """A process from nothing, as a shell would start it: `python COMMAND`."""
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def daemon(self, name: str, *command: str, **env: str) -> Daemon:
        """`python -m COMMAND` until it is killed or the test ends."""
        log, _ = self._files(name)
        found = Daemon([sys.executable, "-m", *command], self.env | env, log)
        self._begun.append(found)
        return found

    def end(self) -> None:
        """Nothing that was begun outlives the test."""
        for process in self._begun:
            process.kill()

    # What came of it

    def verdict(self) -> dict[str, int]:
        """How many stuck runs ended how, and how much is wrong besides, told only where it is."""
        found = self.sim.verdict()
        return found["totals"] | {name: len(found[name]) for name in WRONGS if found[name]}

    def outcomes(self) -> dict[str, str]:
        """What became of each stuck run, by its name."""
        return {run["name"]: run["outcome"] for run in self.sim.verdict()["runs"]}

    def moves(self, **where: Any) -> QuerySet[Move]:
        return Move.objects.filter(**where)

    def states(self) -> dict[str, int]:
        """How many moves are in which state, with the reason where there is one."""
        found: dict[str, int] = {}
        for state, reason in Move.objects.values_list("state", "reason"):
            key = f"{state} {reason}".strip()
            found[key] = found.get(key, 0) + 1
        return found

    def calls(self, name: str) -> list[Json]:
        """The simulator's log of one kind of call that changes something."""
        return [row for row in self.sim.log(self._earlier) if row["call"] == name]

    def words(self) -> str:
        """All that processes of this installation have printed or logged."""
        return "\n".join(path.read_text() for path in sorted(self.home.glob("*.log")))

    # Time

    def expire_leases(self) -> None:
        """As if the two minutes of a dead process's lease were over. Nobody may be alive."""
        now = timezone.now()
        for rows in (Move.objects.all(), Relocation.objects.all()):
            rows.filter(lease__isnull=False).update(next_attempt_at=now)

    def hurry(self) -> None:
        """As if the time until each next attempt were over."""
        Move.objects.open().filter(next_attempt_at__isnull=False).update(
            next_attempt_at=timezone.now()
        )

    def settle(self) -> None:
        """As if what was lost had been lost a minute ago: by now it has arrived, or never will."""
        lost = timezone.now() - timedelta(minutes=1)
        for name in ("trigger_lost_at", "terminate_lost_at"):
            Move.objects.exclude(**{name: None}).update(**{name: lost})
        self.hurry()

    def _files(self, name: str) -> tuple[Path, Path]:
        self._started += 1
        stem = f"{self._started:03d}-{name.rpartition('.')[2]}"
        return self.home / f"{stem}.out.log", self.home / f"{stem}.err.log"
