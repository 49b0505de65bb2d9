"""Looks at a remote in bulk: one listing serves all the moves that need it now."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from fallback.driving import Call, Journey, Shared
from fallback.models import Connection, Move, Relocation
from fallback.truefoundry import Application, Missing, TrueFoundry, Unseen

SOURCE_SECONDS = 3.0  # how old a listing of a source may be when a move relies on it
EXISTING_SECONDS = 30.0  # who else has a name with our digest in it does not change that fast
READY_SECONDS = 0.5
RETRIED = "Retried"  # the reason of a move whose runs a person has just seen to


@dataclass(slots=True)
class Remotes:
    """Clients and listings of one process; used by the driver's thread only."""

    clients: dict[Any, TrueFoundry] = field(default_factory=dict)
    listings: dict[Any, tuple[float, Any]] = field(default_factory=dict)
    begun: dict[Any, float] = field(default_factory=dict)  # fetches under way

    def client(self, connection: Connection) -> TrueFoundry:
        """One client for a connection as it is now: another token or address is another client."""
        key = (connection.pk, connection.url, connection.secret, connection.assumed_user)
        if key not in self.clients:
            self.clients[key] = client_of(connection)
        return self.clients[key]

    def listing(self, key: Any, seconds: float, fetch: Callable[[], Any]) -> Journey:
        """`fetch()`, or its last result where that began at most `seconds` ago."""
        at, found = self.listings.get(key, (0.0, None))
        age = time.monotonic() - at
        if found is None or age > seconds:
            if time.monotonic() - self.begun.get(key, math.inf) > seconds:
                # One is under way that began too long ago: it holds nothing up but the next one.
                yield Shared(key, lambda: self._fetched(key, fetch))
            return (yield Shared(key, lambda: self._fetched(key, fetch)))
        if age > seconds / 2:  # still good; the next one is fetched while others use it
            yield Shared(key, lambda: self._fetched(key, fetch), wait=False)
        return found

    def _fetched(self, key: Any, fetch: Callable[[], Any]) -> Journey:
        at = self.begun[key] = time.monotonic()
        try:
            found = yield Call(fetch)
        finally:
            del self.begun[key]
        self.listings[key] = (at, found)
        return found

    def source_status(self, move: Move, connection: Connection) -> Journey:
        """The source run's status now, or None where the remote knows it no more."""
        client, statuses = self.client(connection), sorted(move.statuses)
        key = (
            "source",
            move.connection_id,
            move.source_cluster_id,
            move.source_workspace_id,
            *statuses,
        )

        def fetch() -> dict[str, str]:
            return client.run_statuses(move.source_cluster_id, move.source_workspace_id, statuses)

        seen = yield from self.listing(key, SOURCE_SECONDS, fetch)
        if move.source_run_id in seen:
            return seen[move.source_run_id]
        return (
            yield from self.run_status(
                move,
                connection,
                move.source_workspace_id,
                move.source_application_id,
                move.source_run_name,
            )
        )

    def run_status(
        self,
        move: Move,
        connection: Connection,
        workspace_id: str,
        application_id: str,
        run_name: str,
    ) -> Journey:
        """A run's status by its own address, or None where the remote knows it no more.

        A token that has lost its rights gets a 404, too, as does one of another tenant; so it is
        believed where the run's workspace is shown still. Raises Unseen where it is not, unless a
        person has seen to the run.
        """
        client = self.client(connection)
        try:
            run = yield Call(lambda: client.job_run(application_id, run_name))
        except Missing as gone:
            call, request_id = gone.call, gone.request_id
        else:
            return run.status
        if move.reason != RETRIED:
            try:
                yield Call(lambda: client.workspace(workspace_id))
            except Missing:
                message = f"The remote shows neither {run_name} nor its workspace."
                raise Unseen(message, call, request_id, status=404) from None
        return None

    def applications(self, relocation: Relocation, *, ready: bool) -> Journey:
        """The destination's applications by name; fresh where a rollout is waited for."""
        client = self.client(relocation.connection)
        workspace_id = relocation.destination_workspace_id

        def fetch() -> dict[str, Application]:
            return {found.name: found for found in client.applications(workspace_id)}

        key = ("ready" if ready else "existing", relocation.connection_id, workspace_id)
        seconds = READY_SECONDS if ready else EXISTING_SECONDS
        return (yield from self.listing(key, seconds, fetch))

    def forget_ready(self, relocation: Relocation) -> None:
        """A listing from before a deployment was made knows nothing of it."""
        key = ("ready", relocation.connection_id, relocation.destination_workspace_id)
        self.listings.pop(key, None)


def client_of(connection: Connection) -> TrueFoundry:
    return TrueFoundry(
        connection.url,
        connection.secret,
        connection.assumed_user,
        concurrency=settings.FALLBACK_CONCURRENCY,
    )


def hurried_client_of(connection: Connection) -> TrueFoundry:
    """For somebody who waits before a page: no retries, and 8 s a call at most."""
    return TrueFoundry(
        connection.url,
        connection.secret,
        connection.assumed_user,
        timeout=(3.0, 5.0),
        read_retries=0,
    )


def epoch_ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1000)


def from_epoch_ms(milliseconds: int) -> datetime:
    """The moment; out of range (a remote's nonsense) gives the nearest that can be told."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return datetime(1970, 1, 1, tzinfo=UTC)
