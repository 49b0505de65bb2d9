"""Which runs are stuck, which config is theirs, and where each may go: pure decisions."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum

STUCK_STATUSES = ["CREATED", "SCHEDULED"]
OPTIONAL_STATUSES = ["RUNNING"]  # only where somebody opts in
ENDING = {"TERMINATION_REQUESTED", "TERMINATING", "TERMINATED"}
ENDED = {"FINISHED", "FAILED", "TERMINATED"}
RECOVERED = {"RUNNING", "FINISHED"}
MAX_CLOCK_SKEW = timedelta(seconds=60)
LONGEST_BACKOFF = 300.0  # seconds


class Reason:
    """Why a run is left alone: the closed list of codes that a sweep reports."""

    NOT_STUCK_YET = "NotStuckYet"
    NO_CONFIG = "NoConfig"
    DISABLED = "ConfigDisabled"
    CONFIG_CHANGED = "ConfigChanged"
    NEEDS_REPAIR = "NeedsRepair"
    PAUSED = "Paused"
    CAPPED = "Capped"
    OBSERVED = "ObserveOnly"
    IN_PROGRESS = "InProgress"
    ALREADY_MOVED = "AlreadyMoved"
    OWNED_ELSEWHERE = "OwnedElsewhere"
    CANCELLED = "CancelledByPerson"
    COOLDOWN = "Cooldown"
    MAX_HOPS = "MaxHops"
    LOOP = "LoopDetected"
    NOT_CONNECTED = "DestinationNotConnected"
    DESTINATION_FULL = "DestinationFull"
    DESTINATION_OFF = "DestinationDisabled"
    NO_DESTINATION = "NoDestination"
    INCOMPLETE_RUN = "IncompleteRun"
    UNSUPPORTED_INPUT = "UnsupportedInput"
    REMOTE_CHANGED = "RemoteChanged"


class SourceProblem:
    """Why a whole source moved nothing."""

    CLOCK_SKEW = "ClockSkew"
    UNREACHABLE = "Unreachable"
    UNAUTHORIZED = "Unauthorized"
    REJECTED = "Rejected"
    FAULT = "InternalError"


@dataclass(frozen=True, slots=True)
class Place:
    """One destination of a config, in order of preference."""

    cluster_id: str
    workspace_id: str
    workspace_fqn: str
    enabled: bool = True
    limit: int | None = None  # open moves towards it, at most
    open_moves: int = 0


@dataclass(frozen=True, slots=True)
class Lineage:
    """What is known of a logical job that has been moved before."""

    id: str
    hops: int
    visited: frozenset[str]
    job_name: str
    last_finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Choice:
    """A destination, or the reason and sentence why there is none."""

    place: Place | None
    reason: str = ""
    message: str = ""


def age_of(created_at_ms: int, remote_now: datetime) -> timedelta:
    """How old a run is by the remote's own clock."""
    return remote_now - datetime.fromtimestamp(created_at_ms / 1000, UTC)


def config_key(application_id: str, keys: Iterable[str]) -> str | None:
    """The job id of the config that applies: the job's own before the generic one ('')."""
    known = set(keys)
    if application_id and application_id in known:
        return application_id
    return "" if "" in known else None


def choose(
    places: Iterable[Place],
    visited: frozenset[str],
    is_connected: Callable[[str], bool],
) -> Choice:
    """The first destination that is switched on, never visited, below its limit and connected.

    The reason of the last refusal is told, and a loop before all others: more capacity cures
    a full destination, but nothing cures a job that has been everywhere.
    """
    refused = Choice(None, Reason.NO_DESTINATION, "The config has no destination.")
    for place in places:
        name = place.workspace_fqn or place.workspace_id
        if place.workspace_id in visited:
            refused = Choice(None, Reason.LOOP, f"The job has already been in {name}.")
        elif not place.workspace_fqn:
            refused = Choice(None, Reason.NEEDS_REPAIR, f"{name} has no FQN: repair the config.")
        elif not place.enabled:
            refused = Choice(None, Reason.DESTINATION_OFF, f"{name} is switched off.")
        elif place.limit is not None and place.open_moves >= place.limit:
            numbers = f"{place.open_moves} of {place.limit} open moves"
            refused = Choice(None, Reason.DESTINATION_FULL, f"{name} has {numbers}.")
        elif not is_connected(place.cluster_id):
            refused = Choice(None, Reason.NOT_CONNECTED, f"The cluster of {name} is disconnected.")
        else:
            return Choice(place)
    return refused


@dataclass(frozen=True, slots=True)
class Edge:
    """A config as an arrow: from a workspace (one job of it, or all) to its destinations."""

    source: str
    job_id: str
    destinations: tuple[str, ...]


@dataclass(slots=True)
class _Graph:
    generic: dict[str, list[str]] = field(default_factory=dict)

    def path(self, start: Iterable[str], goal: str) -> list[str] | None:
        """The shortest way from `start` to `goal` along generic configs."""
        came: dict[str, str | None] = {node: None for node in start}
        queue = list(came)
        for node in queue:
            if node == goal:
                way: list[str] = []
                at: str | None = node
                while at is not None:
                    way.append(at)
                    at = came[at]
                return way[::-1]
            for following in self.generic.get(node, ()):
                if following not in came:
                    came[following] = node
                    queue.append(following)
        return None


def find_loop(edges: Iterable[Edge], new: Edge) -> list[str] | None:
    """The workspaces of a loop that `new` would close, first and last alike, or None.

    A moved job gets another id where it goes, so a config for one job can only begin a chain;
    what follows it are the generic ones.
    """
    known = [edge for edge in edges if (edge.source, edge.job_id) != (new.source, new.job_id)]
    graph = _Graph()
    for edge in [*known, new]:
        if not edge.job_id:
            graph.generic.setdefault(edge.source, []).extend(edge.destinations)
    starts = [new] if new.job_id else [new, *(edge for edge in known if edge.job_id)]
    for edge in starts:
        if way := graph.path(edge.destinations, edge.source):
            return [edge.source, *way]
    return None


def spelled_out(loop: list[str], names: Mapping[str, str]) -> str:
    """'a → b → a', by name where one is known."""
    return " → ".join(names.get(workspace) or workspace for workspace in loop)


class Verdict(Enum):
    """What a look at the source run means for its move."""

    GO = "go on"
    RECOVERED = "it started by itself"
    GONE = "it is gone or has ended"
    WAIT = "its status says nothing we know"


def verdict(status: str | None, stuck_statuses: Iterable[str]) -> Verdict:
    """`status` as the remote reports it now, None where it knows the run no more."""
    if status is None or status in ENDING or status == "FAILED":
        return Verdict.GONE
    if status in set(stuck_statuses):
        return Verdict.GO
    if status in RECOVERED:
        return Verdict.RECOVERED
    # CREATED or SCHEDULED again, though the config counts only the other: still not running.
    return Verdict.GO if status in STUCK_STATUSES else Verdict.WAIT


def backoff(attempts: int, retries: int, retry_seconds: float, retry_after: float | None) -> float:
    """Seconds until the next attempt: `retries` quick ones, then doubling up to 5 minutes."""
    slower = max(0, min(attempts - retries, 12))
    delay = min(max(retry_seconds, 0.5) * float(2**slower), LONGEST_BACKOFF)
    return max(delay, retry_after or 0.0)
