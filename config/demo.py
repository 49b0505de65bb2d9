"""The demo's data: a simulated control plane, people and configs; and what it tells meanwhile."""

import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.models import Count
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from accounts import activity
from accounts.models import Membership, Organization, User
from accounts.roles import Role
from config.base.actor import Actor
from fallback import configuring, pausing
from fallback.match import Reason
from fallback.models import (
    Connection,
    Destination,
    FallbackConfig,
    Mode,
    Move,
    MoveState,
    PurgeMode,
    Sweep,
)
from fallback.models.move import CLOSED, DRIVEN
from fallback.simulator.client import Simulator

ACTOR = Actor.system("demo")
ORGANIZATION = "Analytics"
PEOPLE = {"ada": Role.OWNER, "ben": Role.MEMBER, "cleo": Role.VIEWER}
# What the demo takes from its caller: of Switchyard's own variables only these last.
KEPT = {"COLORTERM", "HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TERM", "TMPDIR", "USER"}
KEPT |= {"VIRTUAL_ENV", "HOST", "LOG_FORMAT", "LOG_LEVEL"}
KEPT_PREFIXES = ("LC_", "PYTHON")
WORLD = {
    "sourceClusters": 2,
    "twoWorkspaces": True,
    "jobs": 4,
    "runsPerJob": 2,
    "healthyRuns": 3,
    "destinations": 2,
}
MANNERS = {"latencyMs": 20, "rolloutSeconds": 2, "runSeconds": 120}
LOOK_SECONDS, SUMMARY_SECONDS = 1.0, 30.0
OVERLAP = timedelta(seconds=60)  # a move may be committed after one that ended later


def environment(given: Mapping[str, str], data_dir: Path, port: int) -> dict[str, str]:
    """The demo's own settings, and nobody else's: another installation is none of its business."""
    kept = {n: v for n, v in given.items() if n in KEPT or n.startswith(KEPT_PREFIXES)}
    ours = {
        "ENV_FILE": "none",
        "DATA_DIR": str(data_dir),
        "PORT": str(port),
        "JOB_FALLBACK_ENABLED": "true",
    }
    return {"LOG_LEVEL": "WARNING"} | kept | ours  # what is told are the moves


@dataclass
class Notes:
    """What a second start must know of the first; kept in a file that its owner alone reads."""

    path: Path
    simulator_port: int = 0
    passwords: dict[str, str] = field(default_factory=dict)  # by name
    places: dict[str, str] = field(default_factory=dict)  # FQN by workspace id
    complete: bool = False

    @classmethod
    def load(cls, path: Path) -> "Notes":
        return cls(path, **json.loads(path.read_text())) if path.exists() else cls(path)

    def save(self) -> None:
        told = asdict(self)
        del told["path"]
        draft = self.path.with_name(f"{self.path.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(told, file, indent=2)
        draft.replace(self.path)


def fill(notes: Notes, state: Path, sweep_seconds: int, per_minute: float) -> None:
    """Make the world and the rows. Begins anew where an earlier try was broken off."""
    logging.getLogger("config.base.live").setLevel("ERROR")  # the broker is not up yet
    notes.passwords = notes.passwords or {n: f"demo-{secrets.token_hex(5)}" for n in PEOPLE}
    notes.save()
    with Simulator.start(port=notes.simulator_port, state=state) as simulator:
        simulator.reset()
        simulator.settings(**MANNERS)
        world = simulator.seed(**WORLD)
        moving = world["sources"][:2]
        for place in moving:
            simulator.arrivals(per_minute / len(moving), workspaceId=place["workspaceId"])
        organization = _people(notes.passwords)
        Connection.objects.all().delete()
        _configs(_connection(organization, simulator), world)
    _set_tick(sweep_seconds)
    places = world["sources"] + world["destinations"]
    notes.places = {place["workspaceId"]: place["fqn"] for place in places}
    notes.complete = True
    notes.save()


def email_of(name: str) -> str:
    return f"{name}@example.org"


def _people(passwords: dict[str, str]) -> Organization:
    owner = next(iter(PEOPLE))
    call_command(
        "bootstrap",
        email=email_of(owner),
        password=passwords[owner],
        organization=ORGANIZATION,
        stdout=StringIO(),
    )
    organization = Organization.objects.get(name=ORGANIZATION)
    for name, role in PEOPLE.items():
        if User.objects.filter(username=name).exists():
            continue
        user = User.objects.create_user(name, email_of(name), passwords[name])
        activity.record(ACTOR, "user.created", user, None)
        membership = Membership.objects.create(user=user, organization=organization, role=role)
        activity.record(ACTOR, "member.added", membership, organization.pk)
    return organization


def _connection(organization: Organization, simulator: Simulator) -> Connection:
    found = Connection(
        organization=organization,
        name="Simulated control plane",
        base_url=simulator.url,
        token=simulator.token,
    )
    found.full_clean()
    found.save(force_insert=True)
    activity.record(ACTOR, "connection.created", found, organization.pk)
    return found


def _configs(connection: Connection, world: dict[str, Any]) -> None:
    """One of each kind: generic, for one job, ending the source first, observed, paused."""
    busy, strict, observed, paused = world["sources"]
    near, far = world["destinations"]
    job = next(job for job in world["jobs"] if job["workspaceId"] == strict["workspaceId"])

    def save(source: dict[str, str], *places: dict[str, str], **more: Any) -> FallbackConfig:
        config = FallbackConfig(
            connection=connection,
            source_cluster_id=source["clusterId"],
            source_workspace_id=source["workspaceId"],
            created_by_name=next(iter(PEOPLE)),
            **more,
        )
        destinations = [
            Destination(cluster_id=place["clusterId"], workspace_id=place["workspaceId"])
            for place in places
        ]
        return configuring.save_config(config, destinations, ACTOR)

    save(busy, near, far)
    save(strict, far, purge_mode=PurgeMode.DIRECTLY)
    save(strict, near, source_job_id=job["id"], stuck_threshold_minutes=30)
    save(observed, near, mode=Mode.OBSERVE)
    pausing.pause(save(paused, near), ACTOR, "A new rack arrives; resume when it is in.")


def _set_tick(seconds: int) -> None:
    interval, _ = IntervalSchedule.objects.get_or_create(
        every=seconds, period=IntervalSchedule.SECONDS
    )
    tick = PeriodicTask.objects.get(name="sweep")
    tick.interval, tick.expire_seconds = interval, seconds
    tick.save()


class Watch:
    """Tells of each move that ends, and now and then how things stand. Call it often."""

    def __init__(self, say: Callable[[str], None], places: Mapping[str, str]) -> None:
        self._say, self._places = say, places
        self._began = self._last = timezone.now()
        self._told: dict[Any, datetime] = {}
        self._look_at = time.monotonic()
        self._sum_up_at = self._look_at + SUMMARY_SECONDS

    def __call__(self) -> None:
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        try:
            self._tell_of_moves()
            if now >= self._sum_up_at:
                self._sum_up_at = now + SUMMARY_SECONDS
                self._say(self._summary())
        except DatabaseError as error:
            self._say(f"the database does not answer: {error}")
            connection.close()

    def _tell_of_moves(self) -> None:
        over = Move.objects.filter(state__in=[*CLOSED, MoveState.NEEDS_ATTENTION])
        since = max(self._began, self._last - OVERLAP)
        for move in over.filter(updated_at__gt=since).order_by("updated_at"):
            key = (move.pk, move.state)
            if key not in self._told:
                self._say(self._line(move))
            self._told[key] = move.updated_at
            self._last = max(self._last, move.updated_at)
        old = self._last - 2 * OVERLAP
        self._told = {key: at for key, at in self._told.items() if at > old}

    def _line(self, move: Move) -> str:
        seconds = (move.updated_at - move.created_at).total_seconds()
        source = self._place(move.source_workspace_id)
        way = f"{source} → {self._place(move.destination_workspace_id)}"
        line = f"{move.updated_at:%H:%M:%S}  {move.job_name:<18} {way}  {move.state}"
        line += f" in {seconds:.1f} s"
        return f"{line}: {move.reason}. {move.message}" if move.reason else line

    def _place(self, workspace_id: str) -> str:
        return self._places.get(workspace_id, workspace_id)

    def _summary(self) -> str:
        counts = dict(Move.objects.order_by().values_list("state").annotate(Count("pk")))
        moving = sum(counts.get(state, 0) for state in DRIVEN)
        told = [
            f"{moving} moving",
            f"{counts.get(MoveState.SUCCEEDED, 0)} moved",
            f"{counts.get(MoveState.NEEDS_ATTENTION, 0)} need a person",
        ]
        sweep = Sweep.objects.filter(finished_at__isnull=False).first()
        if sweep is None:
            return ", ".join(["no sweep yet", *told])
        left = f"{sweep.skipped.get(Reason.OBSERVED, 0)} only observed"
        left += f", {sweep.skipped.get(Reason.PAUSED, 0)} paused"
        return ", ".join([f"{sweep.stuck} stuck ({left})", *told])
