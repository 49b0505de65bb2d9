"""What a TrueFoundry answers, as small typed objects, and complete lists from shifting pages."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

PAGE, OVERLAP = 100, 10
# Epoch milliseconds from 2001 to 2286: all else is no time, or one in another unit.
EARLIEST, LATEST = 10**12, 10**13
ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
RUN_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}\Z")
TENANT = re.compile(r"^[!-.0-~]{0,200}\Z")  # as a part, between slashes, of what a header can carry


class TrueFoundryError(Exception):
    """Base of all that this module raises. `str()` is fit for people and holds no secret."""

    status: int | None = None

    def __init__(self, message: str, call: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.call, self.request_id = call, request_id


class Unavailable(TrueFoundryError):
    """No usable answer. A write may have taken effect unless `happened` is False."""

    def __init__(
        self,
        message: str,
        call: str = "",
        request_id: str = "",
        *,
        happened: bool = True,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, call, request_id)
        self.happened, self.retry_after, self.status = happened, retry_after, status


class Unseen(Unavailable):
    """Neither the run that was asked for nor its workspace is shown to us."""


class Rejected(TrueFoundryError):
    """Understood and refused. `status` is the HTTP status, `detail` the remote's own words."""

    def __init__(
        self, status: int, detail: str, call: str = "", request_id: str = "", code: str = ""
    ) -> None:
        super().__init__(f"{call}: HTTP {status}", call, request_id)
        self.status: int = status
        self.detail, self.code = detail, code


class Unauthorized(Rejected):
    """401: the token is refused."""


class Missing(Rejected):
    """404."""


class NotActive(Rejected):
    """The deployment has not rolled out yet; nothing was started."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the body, the request's id and how long it took (milliseconds)."""

    body: Any
    request_id: str
    milliseconds: int
    status: int


@dataclass(frozen=True, slots=True)
class Cluster:
    id: str
    name: str
    fqn: str


@dataclass(frozen=True, slots=True)
class Workspace:
    id: str
    name: str
    fqn: str
    cluster_id: str
    tenant_name: str


@dataclass(frozen=True, slots=True)
class JobRun:
    """A run as the remote reported it. `created_at` is epoch milliseconds, by its clock; 0 where
    it does not say."""

    id: str
    name: str
    status: str
    created_at: int
    application_id: str
    application_name: str
    deployment_id: str
    version: str
    command: str
    tenant_name: str


@dataclass(frozen=True, slots=True)
class Application:
    """`last_deployment_status` is '' where another deployment's is shown."""

    id: str
    name: str
    workspace_id: str
    last_version: int
    active_deployment_id: str
    last_deployment_id: str
    last_deployment_status: str


@dataclass(frozen=True, slots=True)
class Deployment:
    id: str
    application_id: str
    version: int
    status: str
    manifest: dict[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Job runs, newest first, and the remote's clock when the listing began."""

    runs: list[JobRun]
    remote_now: datetime
    skew: timedelta  # the remote's clock less ours


Fetch = Callable[[int], tuple[list[dict[str, Any]], bool]]


def complete(
    fetch: Fetch, until: Callable[[list[dict[str, Any]]], bool] | None = None
) -> list[dict[str, Any]]:
    """All items of a list that shifts while it is read: none missed, none twice.

    `fetch(offset)` answers one page and whether more follow; each item has an `id`. Every page is
    asked for with an overlap: a page that holds an item seen before continues the list without
    a gap, whatever came or went before it. One that holds none may have skipped some, so we step
    back until it does. Reading ends early after a page that satisfies `until`.
    Raises Unavailable where the list will not hold still, or has no end.
    """
    found: dict[str, dict[str, Any]] = {}
    offset = steps_back = nothing_new = 0
    while True:
        items, more = fetch(offset)
        if offset and not any(item["id"] in found for item in items):
            steps_back += 1
            if steps_back > 100:
                raise Unavailable("the list changes faster than it can be read")
            offset = max(0, offset - PAGE // 2)
            continue
        known = len(found)
        found.update((item["id"], item) for item in items)
        nothing_new += len(found) == known
        if nothing_new > 100:
            raise Unavailable("the list has no end")
        if not more or not items or (until and until(items)):
            return list(found.values())
        offset += max(1, len(items) - OVERLAP)


def page_of(body: Any, offset: int, path: str) -> tuple[list[dict[str, Any]], bool]:
    try:
        items, pagination = body["data"], body.get("pagination") or {}
        ids = [item["id"] for item in items]
    except (KeyError, TypeError, AttributeError):
        raise Unavailable(f"GET {path}: the answer is not a list") from None
    if "hasMore" in pagination:
        return items, bool(pagination["hasMore"])
    total = pagination.get("total")
    return items, offset + len(ids) < total if isinstance(total, int) else len(ids) >= PAGE


def data_of(answer: Answer) -> Any:
    body = answer.body
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, dict):
        raise Unavailable("the answer holds no data", request_id=answer.request_id)
    return data


def with_body(answer: Answer, body: Any) -> Answer:
    return Answer(body, answer.request_id, answer.milliseconds, answer.status)


def storable(text: str) -> str:
    """`text` with question marks for what no database stores: half a character (JSON can carry a
    lone surrogate, and JavaScript leaves one where it cuts a text), and NUL, for PostgreSQL."""
    return text.encode(errors="replace").decode().replace("\0", "?")


def _text(item: dict[str, Any], name: str) -> str:
    """'' for what is no text or number, or cannot be stored."""
    value = item.get(name)
    text = str(value) if isinstance(value, str | int | float) else ""
    return text if storable(text) == text else ""


def status_of(item: dict[str, Any]) -> str:
    """Of a run."""
    return _text(item, "status")


def _whole(item: dict[str, Any], name: str) -> int:
    try:
        return int(float(item.get(name) or 0))
    except (TypeError, ValueError, OverflowError):
        return 0


def _moment(item: dict[str, Any], name: str) -> int:
    """Epoch milliseconds, or 0 for what is none."""
    found = _whole(item, name)
    return found if EARLIEST <= found < LATEST else 0


def _name(item: dict[str, Any]) -> str:
    """Of a cluster or workspace: the vendor's SDK knows it as the end of the FQN only."""
    return _text(item, "name") or _text(item, "fqn").rpartition(":")[2]


def to_cluster(item: dict[str, Any]) -> Cluster:
    return Cluster(_text(item, "id"), _name(item), _text(item, "fqn"))


def to_workspace(item: dict[str, Any]) -> Workspace:
    return Workspace(
        id=_text(item, "id"),
        name=_name(item),
        fqn=_text(item, "fqn"),
        cluster_id=_text(item, "clusterId"),
        tenant_name=_text(item, "tenantName"),
    )


def to_job_run(item: dict[str, Any]) -> JobRun:
    return JobRun(
        id=_text(item, "id"),
        name=_text(item, "name"),
        status=status_of(item),
        created_at=_moment(item, "createdAt"),
        application_id=_text(item, "applicationId"),
        application_name=_text(item, "applicationName"),
        deployment_id=_text(item, "deploymentId"),
        version=_text(item, "deploymentVersion"),
        command=str(item.get("command") or ""),  # to the letter: it is stored encrypted
        tenant_name=_text(item, "tenantName"),
    )


def is_whole(run: JobRun) -> bool:
    """Whether the remote told enough of a run, in a form that can be right, to act on it."""
    ids = (run.id, run.application_id, run.deployment_id)
    return (
        all(ID.match(text) for text in ids)
        and bool(RUN_NAME.match(run.name))
        and 0 < len(run.version) <= 32
        and run.created_at > 0
        and bool(TENANT.match(run.tenant_name))
    )


def to_application(item: dict[str, Any]) -> Application:
    deployment = item.get("deployment") or {}
    last = _text(item, "lastDeploymentId") or _text(deployment, "id")
    # The deployment that is shown may be the active one, while the last still rolls out.
    shown = _text(deployment, "id") in ("", last)
    status = deployment.get("currentStatus") or {} if shown else {}
    return Application(
        id=_text(item, "id"),
        name=_text(item, "name"),
        workspace_id=_text(item, "workspaceId"),
        last_version=_whole(item, "lastVersion"),
        active_deployment_id=_text(item, "activeDeploymentId"),
        last_deployment_id=last,
        last_deployment_status=_text(status, "status"),
    )


def to_deployment(item: dict[str, Any]) -> Deployment:
    status = item.get("currentStatus") or {}
    return Deployment(
        id=_text(item, "id"),
        application_id=_text(item, "applicationId"),
        version=_whole(item, "version"),
        status=_text(status, "status"),
        manifest=item.get("manifest") or {},
        created_at=_text(item, "createdAt"),
    )
