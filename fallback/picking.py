"""What there is to choose from at a control plane: kept for a minute, ten seconds to ask.

Nothing here touches the database, so that several lists are asked for at once, in threads.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.utils import timezone

from config.base.problems import Conflict
from config.base.secrets import Undecryptable
from fallback import external, match
from fallback.looking import from_epoch_ms
from fallback.models import Connection
from fallback.truefoundry import TrueFoundryError, Unauthorized

KEPT_SECONDS = 60
MOST_CHOICES = 500
MOST_RUNS = 10
_pool = ThreadPoolExecutor(8, thread_name_prefix="picking")


@dataclass(frozen=True, slots=True)
class Offer:
    """A list to choose from, as `(id, label)`; `problem` says why there is none."""

    choices: list[tuple[str, str]] = field(default_factory=list)
    at: datetime | None = None
    problem: str = ""
    more: int = 0  # that are not listed

    @property
    def known(self) -> bool:
        return self.at is not None

    @property
    def ids(self) -> set[str]:
        return {choice for choice, _ in self.choices}


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """Without its input, which may hold secrets."""

    job: str
    name: str
    status: str
    created_at: datetime
    age: timedelta


@dataclass(frozen=True, slots=True)
class Waiting:
    """Runs that wait in a workspace: the oldest, and how many there are."""

    runs: list[WaitingRun] = field(default_factory=list)
    total: int = 0
    at: datetime | None = None
    problem: str = ""


Key = tuple[str, ...]


def offers(connection: Connection, keys: list[Key], *, ask: bool) -> dict[Key, Any]:
    """What each of `keys` offers: ("clusters",), ("workspaces", cluster), ("jobs", workspace) or
    ("waiting", cluster, workspace). From the cache, and from the remote where `ask`.
    """
    try:
        connection.secret  # noqa: B018  from the row, before threads want it
    except Undecryptable:
        problem = "Its stored token cannot be read with the keys of this installation."
        return {key: _empty(key, problem) for key in keys}
    found: dict[Key, Any] = {}
    asked: dict[Key, Future[Any]] = {}
    for key in dict.fromkeys(keys):
        kept = cache.get(_name(connection, key))
        if kept is not None:
            found[key] = kept
        elif ask and all(key):
            asked[key] = _pool.submit(_fetch, connection, key)
        else:
            found[key] = _empty(key)
    ends_at = time.monotonic() + external.SECONDS
    for key, future in asked.items():
        found[key] = _answer(connection, key, future, ends_at)
    return found


def _answer(connection: Connection, key: Key, future: Future[Any], ends_at: float) -> Any:
    try:
        answer = future.result(timeout=max(0.0, ends_at - time.monotonic()))
    except TimeoutError:
        return _empty(key, "The control plane did not answer in 10 s.")
    except Unauthorized:
        return _empty(key, "The control plane refuses the token.")
    except (TrueFoundryError, Conflict) as error:
        return _empty(key, f"{str(error).removesuffix('.')}.")
    cache.set(_name(connection, key), answer, KEPT_SECONDS)
    return answer


def _empty(key: Key, problem: str = "") -> Any:
    return Waiting(problem=problem) if key[0] == "waiting" else Offer(problem=problem)


def _name(connection: Connection, key: Key) -> str:
    """Another address or token is another list."""
    told = [str(connection.pk), connection.url, connection.secret, *key]
    return f"picking:{hashlib.sha256(repr(told).encode()).hexdigest()}"


def _fetch(connection: Connection, key: Key) -> Any:
    kind, *arguments = key
    client = external.caller_of(connection)
    try:
        return FETCHERS[kind](client, *arguments)
    finally:
        client.close()


def _offer(found: list[Any]) -> Offer:
    choices = sorted(((item.id, _label(item)) for item in found), key=lambda c: c[1].lower())
    return Offer(choices[:MOST_CHOICES], timezone.now(), more=max(0, len(choices) - MOST_CHOICES))


def _label(item: Any) -> str:
    return item.name or item.id


def _waiting(client: external.Caller, cluster_id: str, workspace_id: str) -> Waiting:
    listing = client.job_runs(cluster_id, workspace_id, match.STUCK_STATUSES)
    oldest = sorted(listing.runs, key=lambda run: run.created_at)
    runs = [
        WaitingRun(
            run.application_name or run.application_id,
            run.name,
            run.status,
            from_epoch_ms(run.created_at),
            match.age_of(run.created_at, listing.remote_now),
        )
        for run in oldest[:MOST_RUNS]
    ]
    return Waiting(runs, len(listing.runs), timezone.now())


FETCHERS: Mapping[str, Callable[..., Any]] = {
    "clusters": lambda client: _offer(client.clusters()),
    "workspaces": lambda client, cluster: _offer(client.workspaces(cluster)),
    "jobs": lambda client, workspace: _offer(client.applications(workspace)),
    "waiting": _waiting,
}
