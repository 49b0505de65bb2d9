"""How things stand: what keeps automation from moving, what the last sweeps saw."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import CharField, Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Cast, Substr
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from accounts.models import Organization
from config.base.actor import Actor
from fallback.match import Reason
from fallback.models import Connection, FallbackConfig, Move, MoveState, Pause, Sweep
from fallback.models.move import DRIVEN, MoveQuerySet

WAITING_FOR_A_PERSON = [MoveState.NEEDS_ATTENTION, MoveState.AWAITING_APPROVAL]
LATELY = timedelta(hours=24)
MOST_ORGANIZATIONS = 50  # whose last sweeps one page shows


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Something that keeps moves from beginning: for the banner. `pause` where one can resume."""

    code: str
    title: str
    message: str
    tone: str = "warn"
    pause: Pause | None = None


def hindrances(reader: Actor, last: list[Sweep]) -> list[Hindrance]:
    """Why nothing, or not everything, is moved by itself; the most general first."""
    found = []
    if not settings.JOB_FALLBACK_ENABLED:
        message = "JOB_FALLBACK_ENABLED is off: sweeps happen only when somebody asks for one."
        found.append(Hindrance("Off", "Automation is off.", message))
    connections = Connection.objects.visible_to(reader)
    if not connections.usable().exists():
        found.append(_without_connection(connections))
    pauses = Pause.objects.visible_to(reader).active(timezone.now())
    pauses = pauses.select_related("connection", "config__connection")
    hidden = ("connection__token", "config__connection__token")
    found += [_paused(pause) for pause in pauses.defer(*hidden)[:20]]
    found += _capped(last)
    return found


def _without_connection(connections: QuerySet[Connection]) -> Hindrance:
    if connections.exists():
        message = (
            "Every connection is disabled, or lacks address or token, so no control plane is asked."
        )
        return Hindrance("NoToken", "No connection can be used.", message, "person")
    message = "Create one, with a token, so that stuck runs can be seen."
    return Hindrance("NoConnection", "There is no connection.", message, "person")


def _paused(pause: Pause) -> Hindrance:
    scope = pause.config or pause.connection
    what = f"{'Config' if pause.config_id else 'Connection'} {scope}" if scope else "Everything"
    told = f"{pause.by_name}: {pause.reason}"
    return Hindrance("Paused", f"{what} is paused.", told, "person", pause)


def _capped(last: list[Sweep]) -> list[Hindrance]:
    limit = settings.FALLBACK_MAX_MOVES_PER_SWEEP
    if limit == 0:
        message = "FALLBACK_MAX_MOVES_PER_SWEEP is 0, so sweeps plan no move."
        return [Hindrance("Capped", "Sweeps may move nothing.", message)]
    left = sum(sweep.skipped.get(Reason.CAPPED, 0) for sweep in last)
    if not left:
        return []
    message = f"It planned {limit:,} moves, the most it may, and left {left:,} to the next."
    return [Hindrance("Capped", "The last sweep was capped.", message)]


def last_sweeps(reader: Actor) -> list[Sweep]:
    """The last finished sweep of each organization, dry runs aside; the newest first."""
    newest = (
        Sweep.objects.filter(organization=OuterRef("pk"), finished_at__isnull=False, dry_run=False)
        .order_by("-created_at", "-id")
        .values("pk")[:1]
    )
    organizations = Organization.objects.visible_to(reader).order_by("name")
    ids = organizations.annotate(newest=Subquery(newest)).values_list("newest", flat=True)
    found = Sweep.objects.filter(pk__in=[pk for pk in ids[:MOST_ORGANIZATIONS] if pk])
    return sorted(found, key=lambda sweep: sweep.finished_at or sweep.created_at, reverse=True)


def next_sweep_at() -> datetime | None:
    """When the tick comes next, as far as beat has told; None where it sweeps nothing."""
    if not settings.JOB_FALLBACK_ENABLED:
        return None
    tick = (
        PeriodicTask.objects.filter(task="fallback.tasks.sweep_tick", enabled=True)
        .select_related("interval")
        .first()
    )
    if tick is None or tick.interval is None or tick.last_run_at is None:
        return None
    return max(tick.last_run_at + tick.interval.schedule.run_every, timezone.now())


def counted(reader: Actor) -> MoveQuerySet:
    """Moves to count: by organization also for who sees all, since the indexes begin with it."""
    moves: MoveQuerySet = Move.objects.visible_to(reader).order_by()
    if reader.sees_all:
        moves = moves.filter(organization__in=Organization.objects.alive().values("pk"))
    return moves


def waiting(reader: Actor) -> int:
    """How many moves need a person."""
    return counted(reader).filter(state__in=WAITING_FOR_A_PERSON).count()


def by_hour(reader: Actor, start: datetime) -> dict[tuple[str, str], int]:
    """Moves that succeeded or failed, by the hour in UTC ("2026-10-23 14") and the state."""
    found = (
        counted(reader)
        .filter(created_at__gte=start, state__in=[MoveState.SUCCEEDED, MoveState.FAILED])
        # Cut from the text: functions of dates are slow, or Python, on SQLite.
        .annotate(hour=Substr(Cast("created_at", CharField()), 1, 13))
        .values_list("hour", "state")
        .annotate(n=Count("pk"))
    )
    return {(hour, state): n for hour, state, n in found}


def figures(reader: Actor, last: list[Sweep]) -> dict[str, Any]:
    """The tiles of the overview. Counts of ended moves are of those begun in the last day."""
    moves = counted(reader)
    since = timezone.now() - LATELY
    ended = dict(moves.filter(created_at__gte=since).values_list("state").annotate(n=Count("pk")))
    open_now = dict(
        moves.filter(state__in=[*DRIVEN, *WAITING_FOR_A_PERSON])
        .values_list("state")
        .annotate(n=Count("pk"))
    )
    return {
        "person": sum(open_now.get(state, 0) for state in WAITING_FOR_A_PERSON),
        "moving": sum(open_now.get(state, 0) for state in DRIVEN),
        "moved": ended.get(MoveState.SUCCEEDED, 0),
        "failed": ended.get(MoveState.FAILED, 0),
        "stuck": sum(sweep.stuck for sweep in last),
        "left": sum(sum(left_alone(sweep).values()) for sweep in last),
    }


def left_alone(sweep: Sweep) -> dict[str, int]:
    """Stuck runs by the reason why they were not moved."""
    quiet = (Reason.NOT_STUCK_YET, Reason.NO_CONFIG)
    return {reason: n for reason, n in sweep.skipped.items() if reason not in quiet}


def stuck_runs(last: list[Sweep]) -> list[dict[str, Any]]:
    """Some of the runs that the last sweeps left alone, each with its reason and its source."""
    found = []
    for sweep in last:
        for source in sweep.sources:
            for run in source["runs"]:
                if run["reason"] and run["reason"] != Reason.NO_CONFIG:
                    found.append(run | {"source": source, "sweep": sweep})
    return found


def problems(last: list[Sweep]) -> list[dict[str, Any]]:
    """Sources that the last sweeps could not look at."""
    return [
        source | {"sweep": sweep} for sweep in last for source in sweep.sources if source["error"]
    ]


def workspace_names(reader: Actor, ids: set[str]) -> dict[str, str]:
    """Names of workspaces, as far as configs know them."""
    known = (
        FallbackConfig.objects.visible_to(reader)
        .filter(source_workspace_id__in=ids)
        .exclude(source_workspace_name="")
        .order_by()
        .values_list("source_workspace_id", "source_workspace_name")
        .distinct()
    )
    return dict(known)
