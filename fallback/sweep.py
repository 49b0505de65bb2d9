"""One pass over an organization's sources: what is stuck, whose config it is, where it goes.

Plans moves and sends nothing that changes the remote. Two passes at once are harmless: a database
constraint holds that a run is moved once.
"""

import time
import uuid
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Prefetch
from django.utils import timezone

from accounts import activity
from accounts.models import Organization
from config.base import live
from config.base.actor import Actor
from config.base.secrets import Undecryptable
from config.base.showing import plain_duration
from fallback import connecting, match, naming, planning
from fallback.looking import Remotes
from fallback.match import Reason, SourceProblem
from fallback.models import Connection, ConnectionState, FallbackConfig, Mode, Pause, Sweep
from fallback.replies import is_whole
from fallback.truefoundry import (
    JobRun,
    Listing,
    Rejected,
    TrueFoundry,
    TrueFoundryError,
    Unauthorized,
    Unavailable,
)

log = structlog.get_logger(__name__)
LEASE = timedelta(seconds=120)
LISTING_SECONDS = 40.0  # for all sources together: a task may take 60
SAMPLES = 100  # runs named in a sweep's report, for each source


@dataclass(slots=True)
class Source:
    """A workspace that configs watch, and what this pass found there."""

    connection: Connection
    cluster_id: str
    workspace_id: str
    configs: dict[str, FallbackConfig] = field(default_factory=dict)  # by job id, '' is generic
    seen: int = 0
    stuck: int = 0
    planned: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    error: str = ""
    message: str = ""
    runs: list[dict[str, str]] = field(default_factory=list)

    @property
    def statuses(self) -> list[str]:
        return sorted({status for config in self.configs.values() for status in config.statuses})

    def skip(self, run: JobRun, reason: str, message: str = "") -> None:
        self.skipped[reason] += 1
        if reason != Reason.NOT_STUCK_YET:
            self.tell(run, reason, message)

    def tell(self, run: JobRun, reason: str, message: str) -> None:
        if len(self.runs) < SAMPLES:
            job = run.application_name or run.application_id
            told = {"run": run.name, "job": job, "reason": reason, "message": message}
            self.runs.append(told)

    def report(self) -> dict[str, Any]:
        return {
            "connection": str(self.connection),
            "clusterId": self.cluster_id,
            "workspaceId": self.workspace_id,
            "seen": self.seen,
            "stuck": self.stuck,
            "planned": self.planned,
            "skipped": dict(self.skipped),
            "error": self.error,
            "message": self.message,
            "runs": self.runs,
        }


@dataclass(slots=True)
class Candidate:
    """A stuck run with the config that applies to it."""

    run: JobRun
    config: FallbackConfig
    age: timedelta


class Pass:
    """One sweep of one organization under way."""

    def __init__(self, sweep: Sweep, actor: Actor) -> None:
        self.sweep, self.actor = sweep, actor
        self.organization, self.dry_run = sweep.organization, sweep.dry_run
        self.remotes = Remotes()
        self.connected: dict[tuple[uuid.UUID, str], bool] = {}
        self.room = settings.FALLBACK_MAX_MOVES_PER_SWEEP
        pauses = list(Pause.objects.active(timezone.now()))
        self.everything_paused = next(
            (p for p in pauses if not p.connection_id and not p.config_id), None
        )
        self.paused = {p.connection_id or p.config_id: p for p in pauses}

    def run(self) -> Sweep:
        sources, deadline = self._sources(), time.monotonic() + LISTING_SECONDS
        workers = min(max(1, len(sources)), settings.FALLBACK_CONCURRENCY)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="sweep")
        asked = [source for source in sources if not source.error]
        listings = [pool.submit(self._list, source) for source in asked]
        for source, listing in zip(asked, listings, strict=True):
            try:
                found = listing.result(timeout=max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                found = Unavailable(f"no complete listing within {LISTING_SECONDS:.0f} s")
            self._take(source, found)
        pool.shutdown(wait=False, cancel_futures=True)
        for client in self.remotes.clients.values():
            client.close()
        return self._finish(sources)

    def _sources(self) -> list[Source]:
        configs = (
            FallbackConfig.objects.filter(
                connection__in=Connection.objects.usable().filter(organization=self.organization)
            )
            .select_related("connection")
            .prefetch_related(Prefetch("destinations"))
        )
        found: dict[tuple[uuid.UUID, str, str], Source] = {}
        for config in configs:
            key = (config.connection_id, config.source_cluster_id, config.source_workspace_id)
            source = found.setdefault(key, Source(config.connection, key[1], key[2]))
            source.configs[config.source_job_id] = config
        sources = [s for s in found.values() if any(c.enabled for c in s.configs.values())]
        for source in sources:  # here, because clients are made by one thread only
            try:
                self.remotes.client(source.connection)
            except Undecryptable as error:
                source.error, source.message = SourceProblem.UNAUTHORIZED, f"{error}."
        return sources

    def _client(self, source: Source) -> TrueFoundry:
        return self.remotes.client(source.connection)

    def _list(self, source: Source) -> Listing | Exception:
        """In a thread of its own: no database here, and nothing raised."""
        try:
            return self._client(source).job_runs(
                source.cluster_id, source.workspace_id, source.statuses
            )
        except Exception as error:  # one source's failure never stops another
            return error

    def _take(self, source: Source, listing: Listing | Exception) -> None:
        try:
            if isinstance(listing, Exception):
                raise listing
            self._judge(source, listing)
            if not self.dry_run:
                connecting.mark(source.connection, ConnectionState.CONNECTED, "")
        except Unauthorized as error:
            source.error, source.message = SourceProblem.UNAUTHORIZED, str(error)
            if not self.dry_run:
                message = "The token is refused. Store a valid one."
                connecting.mark(source.connection, ConnectionState.UNAUTHORIZED, message)
        except Rejected as error:
            source.error, source.message = SourceProblem.REJECTED, str(error)
        except TrueFoundryError as error:
            source.error, source.message = SourceProblem.UNREACHABLE, str(error)
        except Exception as error:
            log.exception("sweep_fault", workspace=source.workspace_id)
            source.error, source.message = SourceProblem.FAULT, type(error).__name__

    def _judge(self, source: Source, listing: Listing) -> None:
        source.seen = len(listing.runs)
        if abs(listing.skew) > match.MAX_CLOCK_SKEW:
            seconds = int(listing.skew.total_seconds())
            source.error = SourceProblem.CLOCK_SKEW
            source.message = f"The remote's clock is {seconds} s off ours; 60 s are allowed."
            return
        candidates = list(self._stuck(source, listing))
        source.stuck = len(candidates)
        candidates.sort(key=lambda c: (c.run.created_at, c.run.id))
        candidates = planning.unknown_only(source, candidates, self.organization.pk)
        ready = [c for c in candidates if not self._skipped(source, c)]
        plans = planning.choose(source, ready, self._is_connected)
        for plan in plans[self.room :]:
            limit = settings.FALLBACK_MAX_MOVES_PER_SWEEP
            message = f"The sweep has planned {limit} moves, the most it may."
            source.skip(plan.run, Reason.CAPPED, message)
        plans = plans[: self.room]
        self.room -= len(plans)
        if self.dry_run:
            source.planned = len(plans)
            for plan in plans:
                source.tell(plan.run, "", f"Would move to {plan.place.workspace_fqn}.")
        elif plans:
            self._save_sweep()
            planning.write(source, plans, self.sweep, self.actor)

    def _stuck(self, source: Source, listing: Listing) -> Iterable[Candidate]:
        for run in listing.runs:
            key = match.config_key(run.application_id, source.configs)
            if key is None:
                source.skip(run, Reason.NO_CONFIG)
                continue
            config = source.configs[key]
            if run.status not in config.statuses:
                continue
            age = match.age_of(run.created_at, listing.remote_now)
            if age <= timedelta(minutes=config.stuck_threshold_minutes):
                source.skip(run, Reason.NOT_STUCK_YET)
            elif not is_whole(run):
                source.skip(run, Reason.INCOMPLETE_RUN, "The remote told too little of this run.")
            elif not naming.can_be_sent(run.command):
                message = "Its input holds NaN, an infinite number or half a character."
                source.skip(run, Reason.UNSUPPORTED_INPUT, message)
            else:
                yield Candidate(run, config, age)

    def _skipped(self, source: Source, candidate: Candidate) -> bool:
        """What the config, and those who paused it, say."""
        config, run = candidate.config, candidate.run
        pause = (
            self.everything_paused
            or self.paused.get(config.connection_id)
            or self.paused.get(config.pk)
        )
        if pause:
            source.skip(run, Reason.PAUSED, f"{pause.by_name}: {pause.reason}")
        elif not config.enabled:
            source.skip(run, Reason.DISABLED)
        elif config.mode == Mode.OBSERVE:
            there = ", ".join(str(place) for place in config.destinations.all())
            message = f"Stuck for {plain_duration(candidate.age)}; would move to {there}."
            source.skip(run, Reason.OBSERVED, message)
        else:
            return False
        return True

    def _is_connected(self, source: Source, cluster_id: str) -> bool:
        key = (source.connection.pk, cluster_id)
        if key not in self.connected:
            try:
                self.connected[key] = self._client(source).is_connected(cluster_id)
            except Unauthorized:
                raise
            except TrueFoundryError:
                self.connected[key] = False
        return self.connected[key]

    def _save_sweep(self) -> None:
        if self.sweep._state.adding:
            self.sweep.save(force_insert=True)

    def _finish(self, sources: list[Source]) -> Sweep:
        sweep = self.sweep
        sweep.seen = sum(source.seen for source in sources)
        sweep.stuck = sum(source.stuck for source in sources)
        sweep.planned = sum(source.planned for source in sources)
        sweep.errors = sum(1 for source in sources if source.error)
        sweep.skipped = dict(sum((source.skipped for source in sources), Counter[str]()))
        sweep.sources = [source.report() for source in sources]
        sweep.finished_at = timezone.now()
        sweep.quiet = not (sweep.planned or sweep.errors or sweep.by_person)
        if not (self.dry_run and sweep._state.adding):
            sweep = self._saved(sweep)
        return sweep

    def _saved(self, sweep: Sweep) -> Sweep:
        live.ring_on_commit(sweep.organization_id)
        last: Sweep | None = Sweep.objects.filter(organization=self.organization).first()
        if not (sweep.quiet and last and last.quiet):
            sweep.save()
            return sweep
        for name in ("seen", "stuck", "skipped", "sources", "finished_at"):
            setattr(last, name, getattr(sweep, name))
        last.passes += 1
        last.save()
        return last


def sweep(
    organization: Organization, actor: Actor, *, by_person: bool = False, dry_run: bool = False
) -> Sweep:
    """One pass; answers its row, which a dry run leaves unsaved. Raises nothing of a remote."""
    row = Sweep(
        organization=organization, by_person=by_person, by_name=actor.name[:100], dry_run=dry_run
    )
    return Pass(row, actor).run()


def request(organization: Organization, actor: Actor, *, dry_run: bool = False) -> Sweep:
    """Ask for a pass that a worker makes within seconds; answers the row that tracks it."""
    row = Sweep(
        organization=organization,
        by_person=True,
        by_name=actor.name[:100],
        dry_run=dry_run,
        next_attempt_at=timezone.now(),
    )
    with transaction.atomic():
        row.save(force_insert=True)
        activity.record(actor, "sweep.requested", row, organization.pk, {"dryRun": dry_run})
        live.ring_on_commit(organization.pk)
    return row


def run_requested() -> int:
    """Make the passes that people asked for; answers how many. Safe beside other workers."""
    token, count = Sweep.objects.filter(finished_at=None).claim(timezone.now(), LEASE)
    for row in Sweep.objects.filter(lease=token).select_related("organization"):
        row.lease = row.next_attempt_at = None
        Pass(row, Actor.system(row.by_name)).run()
    return count
