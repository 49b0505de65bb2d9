"""The TrueFoundry HTTP API (contracts: `truefoundry-sdk` 0.6, and what production taught).

Every call has a timeout. Reads are retried on their own; writes never: a trigger retried can run
twice. Raises nothing of requests: `Unavailable` (no usable answer; a write may have happened) or
`Rejected` (understood and refused, repeating cannot help), with `Unauthorized` and `Missing`.
"""

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import quote

import requests
from urllib3.util.retry import Retry

from config.base import outbound
from fallback.outcomes import raise_for_status, unavailable
from fallback.replies import (
    ID,
    OVERLAP,
    PAGE,
    RUN_NAME,
    Answer,
    Application,
    Cluster,
    Deployment,
    JobRun,
    Listing,
    Missing,
    NotActive,
    Rejected,
    TrueFoundryError,
    Unauthorized,
    Unavailable,
    Unseen,
    Workspace,
    complete,
    data_of,
    page_of,
    status_of,
    to_application,
    to_cluster,
    to_deployment,
    to_job_run,
    to_workspace,
    with_body,
)

CONNECT_SECONDS, READ_SECONDS = 3.0, 10.0
MOST_BYTES = 32 * 2**20  # of an answer, unpacked; a page has 100 runs with their inputs
PIECE = 2**14  # before it is unpacked, which may make a thousand times as much of it
LARGEST_SKEW = timedelta(days=365 * 100)  # beyond it the calendar might end
STRIDE, PARALLEL_PAGES = PAGE - OVERLAP, 8

__all__ = [
    "Answer",
    "Application",
    "Cluster",
    "Deployment",
    "JobRun",
    "Listing",
    "Missing",
    "NotActive",
    "Rejected",
    "TrueFoundry",
    "TrueFoundryError",
    "Unauthorized",
    "Unavailable",
    "Unseen",
    "Workspace",
]


class TrueFoundry:
    """A client for one control plane. Safe to share between threads."""

    def __init__(
        self,
        base_url: str,
        token: str,
        assumed_user: str = "truefoundry",
        *,
        concurrency: int = 16,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
        read_retries: int = 2,
    ) -> None:
        self._base, self._assumed_user, self._timeout = base_url, assumed_user, timeout
        self._read_calls = 2 if read_retries else 1
        retry = Retry(
            total=read_retries,
            allowed_methods={"GET"},
            status_forcelist={429, 502, 503, 504},
            backoff_factor=0.2,
            backoff_max=5,
            respect_retry_after_header=True,
            retry_after_max=5,  # who shall wait longer is told so, and waits without a thread
            raise_on_status=False,
            redirect=False,
        )
        reads = outbound.adapter(concurrency + PARALLEL_PAGES, retry if read_retries else 0)
        self._reads = _session(reads)
        # Of their own: `Retry` asks for the method in some cases only, and a broken TLS record is
        # none of them. A trigger that arrived would be sent again.
        self._writes = _session(outbound.adapter(concurrency))
        self._usual_headers = {
            **requests.utils.default_headers(),
            "Authorization": f"Bearer {token}",
            "Accept": "application/json",
        }
        self._parallel = ThreadPoolExecutor(PARALLEL_PAGES, thread_name_prefix="pages")
        self._skew: timedelta | None = None
        self._told: tuple[datetime, float] | None = None  # the remote's time, and time.monotonic

    # Reading

    def user_info(self) -> dict[str, Any]:
        """Who the token belongs to. Older servers know another path."""
        try:
            return dict(self._get("/v1/x/users/info").body)
        except (Missing, Unavailable) as error:
            if error.status != 404:
                raise
            return dict(self._get("/v1/users/info").body)

    def clusters(self) -> list[Cluster]:
        return [to_cluster(item) for item in self._pages("/v1/clusters", {})]

    def cluster(self, cluster_id: str) -> Cluster:
        return to_cluster(self._get(f"/v1/clusters/{_segment(cluster_id)}").body["data"])

    def is_connected(self, cluster_id: str) -> bool:
        body = self._get(f"/v1/clusters/{_segment(cluster_id)}/is-connected").body
        return bool(body.get("data", body).get("isConnected"))

    def workspaces(self, cluster_id: str = "") -> list[Workspace]:
        params = {"clusterId": cluster_id} if cluster_id else {}
        return [to_workspace(item) for item in self._pages("/v1/workspaces", params)]

    def workspace(self, workspace_id: str) -> Workspace:
        return to_workspace(self._get(f"/v1/workspaces/{_segment(workspace_id)}").body["data"])

    def applications(self, workspace_id: str, name: str = "") -> list[Application]:
        params = {"workspaceId": workspace_id} | ({"applicationName": name} if name else {})
        found = [to_application(item) for item in self._pages("/v1/apps", params)]
        return [item for item in found if not name or item.name == name]

    def application(self, application_id: str) -> Application:
        return to_application(self._get(f"/v1/apps/{_segment(application_id)}").body["data"])

    def deployments(
        self, application_id: str, tenant_name: str, version: int | None = None
    ) -> list[Deployment]:
        """An application's deployments, newest first; one version of it where given."""
        params: dict[str, Any] = {} if version is None else {"version": version}
        path = f"/v1/apps/{_segment(application_id)}/deployments"
        headers = self._assumed(tenant_name)
        return [to_deployment(item) for item in self._pages(path, params, headers)]

    def job_run(self, application_id: str, run_name: str) -> JobRun:
        path = f"/v1/jobs/{_segment(application_id)}/runs/{_segment(run_name)}"
        answer = self._get(path)
        run = to_job_run(data_of(answer))
        if run.name != run_name:  # a cache's, or nonsense: no news of the one that was asked for
            call = "GET /v1/jobs/…/runs/…"
            raise Unavailable(f"{call}: the answer is of another run", call, answer.request_id)
        return run

    def runs_of(self, application_id: str, since: int = 0) -> list[JobRun]:
        """An application's runs, back to `since` (epoch milliseconds).

        With those of which the remote does not say when they were created.
        """
        path = f"/v1/jobs/{_segment(application_id)}/runs"

        def older(item: dict[str, Any]) -> bool:
            return 0 < to_job_run(item).created_at < since

        # Sorted by creation, it says, and not from which end: to sort by that is not to be had.
        def only_older_ones_follow(page: list[dict[str, Any]]) -> bool:
            first, last = to_job_run(page[0]), to_job_run(page[-1])
            return older(page[-1]) and first.created_at > last.created_at

        items = self._pages(path, {}, until=only_older_ones_follow)
        return [to_job_run(item) for item in items if not older(item)]

    def job_runs(self, cluster_id: str, workspace_id: str, statuses: list[str]) -> Listing:
        """Every run of a workspace in one of `statuses`, complete or an exception."""
        params = {"clusterId": cluster_id, "workspaceId": workspace_id, "status": statuses}
        runs = [to_job_run(item) for item in self._pages("/v1/x/job-runs", params)]
        return Listing(runs, self.remote_now(), self.skew)

    def run_statuses(
        self, cluster_id: str, workspace_id: str, statuses: list[str]
    ) -> dict[str, str]:
        """The status of every such run by its id, fast: several pages at a time.

        Unlike `job_runs` it may miss a run while pages shift: ask for that one by its name.
        """
        params = {"clusterId": cluster_id, "workspaceId": workspace_id, "status": statuses}
        found: dict[str, str] = {}
        offset, pages = 0, 1
        while True:
            offsets = range(offset, offset + pages * STRIDE, STRIDE)
            more, known = True, len(found)
            for items, follows in self._parallel.map(
                lambda at: self._page("/v1/x/job-runs", params, at), offsets
            ):
                found.update((str(item["id"]), status_of(item)) for item in items)
                more = more and follows and bool(items)
            if not more or len(found) == known:  # a remote may repeat itself for ever
                return found
            offset, pages = offset + pages * STRIDE, min(pages * 2, PARALLEL_PAGES)

    # Writing: never retried here

    def deploy(self, manifest: dict[str, Any], workspace_id: str, tenant_name: str) -> Answer:
        """Make the application, or a new version of it. `answer.body` is a `Deployment`.

        Not forced: that would cancel another version's rollout under way.
        """
        body = {
            "manifest": manifest,
            "workspaceId": workspace_id,
            "dryRun": False,
            "forceDeploy": False,
            "triggerOnDeploy": False,
        }
        headers = self._assumed(tenant_name)
        answer = self._call("PUT", "/v1/apps", json=body, headers=headers)
        deployment = to_deployment(data_of(answer))
        if not (ID.match(deployment.id) and ID.match(deployment.application_id)):
            call = "PUT /v1/apps"
            raise Unavailable(f"{call}: the answer names no deployment", call, answer.request_id)
        return with_body(answer, deployment)

    def trigger(
        self, deployment_id: str, run_input: dict[str, Any], alias: str, tenant_name: str
    ) -> Answer:
        """Start a run of just this deployment. `answer.body` is a `JobRun`.

        Raises NotActive where it has not rolled out: then nothing was started.
        """
        body = {
            "deploymentId": deployment_id,
            "input": run_input,
            "metadata": {"job_run_name_alias": alias},
        }
        headers = self._assumed(tenant_name)
        answer = self._call("POST", "/v1/jobs/trigger", json=body, headers=headers)
        run = to_job_run(data_of(answer))
        if not (RUN_NAME.match(run.name) and ID.match(run.id)):
            call = "POST /v1/jobs/trigger"
            raise Unavailable(f"{call}: the answer names no run", call, answer.request_id)
        return with_body(answer, run)

    def terminate(self, deployment_id: str, run_name: str, tenant_name: str) -> Answer:
        """Stop a run. A 404 or 417 is an answer, too: it has ended or is gone, so they say, and we
        may be repeating ourselves. Look at the run before you believe it."""
        params = {"deploymentId": deployment_id, "jobRunName": run_name}
        headers = self._assumed(tenant_name)
        try:
            return self._call("POST", "/v1/jobs/terminate", params=params, headers=headers)
        except Rejected as error:
            if error.status not in (404, 417):
                raise
            return Answer({}, error.request_id, 0, error.status)

    # The clock

    @property
    def skew(self) -> timedelta:
        """The remote's clock less ours, from the last answer; `Date` has whole seconds."""
        return self._skew or timedelta(0)

    def remote_now(self) -> datetime:
        """A lower bound, at most a second and a half too low, of the remote's clock now; ours
        where it tells none. It does not jump when our own is put right."""
        if self._told is None:
            return datetime.now(UTC)
        theirs, at = self._told
        return theirs + timedelta(seconds=time.monotonic() - at)

    @property
    def knows_the_clock(self) -> bool:
        """Whether an answer has told the remote's time."""
        return self._told is not None

    def close(self) -> None:
        self._parallel.shutdown(wait=False)
        self._reads.close()
        self._writes.close()

    # One call

    def _assumed(self, tenant_name: str) -> dict[str, str]:
        subject = f"serviceaccount/{tenant_name}/{self._assumed_user}/tfy-system"
        return {"x-tfy-assume-user": subject} if tenant_name else {}

    def _get(self, path: str, **kwargs: Any) -> Answer:
        return self._call("GET", path, **kwargs)

    def _call(self, method: Literal["GET", "PUT", "POST"], path: str, **kwargs: Any) -> Answer:
        request_id = str(uuid.uuid4())
        call = f"{method} {path}"
        headers = {**self._usual_headers, "X-Request-ID": request_id, **kwargs.pop("headers", {})}
        started = time.monotonic()
        http, seconds = self._writes, sum(self._timeout)
        if method == "GET":
            http, seconds = self._reads, seconds * self._read_calls
        try:
            with outbound.within(seconds):
                # Not by `http.request`: to merge it with a session's settings, of which we have
                # none, took a quarter of our part of a call.
                request = requests.Request(method, self._base + path, headers=headers, **kwargs)
                response = http.send(
                    request.prepare(), timeout=self._timeout, allow_redirects=False, stream=True
                )
                whole = _read(response)
        except requests.exceptions.InvalidJSONError:  # a NaN or the like: it was never sent
            raise Rejected(400, "JSON cannot carry the body", call, request_id) from None
        except (requests.RequestException, outbound.Refused) as error:
            raise unavailable(error, call, request_id) from None
        if whole is None:
            raise Unavailable(f"{call}: the answer is too long", call, request_id)
        self._note_clock(response)
        raise_for_status(response, call, request_id, kwargs.get("json") or {})
        try:
            body = response.json()
        except ValueError:
            raise Unavailable(f"{call}: the answer is no JSON", call, request_id) from None
        milliseconds = int((time.monotonic() - started) * 1000)
        return Answer(body, request_id, milliseconds, response.status_code)

    def _note_clock(self, response: requests.Response) -> None:
        try:
            theirs = parsedate_to_datetime(response.headers["Date"])
        except (KeyError, ValueError, TypeError):
            return
        if theirs.tzinfo is None:  # "-0000": a time in UTC that says nothing of its zone
            theirs = theirs.replace(tzinfo=UTC)
        now = datetime.now(UTC)
        self._skew = max(-LARGEST_SKEW, min(theirs - now, LARGEST_SKEW))
        self._told = (now + self._skew, time.monotonic())

    def _pages(
        self,
        path: str,
        params: dict[str, Any],
        headers: dict[str, str] | None = None,
        until: Callable[[list[dict[str, Any]]], bool] | None = None,
    ) -> list[dict[str, Any]]:
        return complete(lambda offset: self._page(path, params, offset, headers), until)

    def _page(
        self,
        path: str,
        params: dict[str, Any],
        offset: int,
        headers: dict[str, str] | None = None,
    ) -> tuple[list[dict[str, Any]], bool]:
        asked = params | {"limit": PAGE, "offset": offset}
        body = self._get(path, params=asked, headers=headers or {}).body
        return page_of(body, offset, path)


def _session(adapter: outbound.GuardedAdapter) -> requests.Session:
    http = requests.Session()
    http.trust_env = False  # no proxies, no .netrc: 40 % of a call's time otherwise
    for scheme in ("http://", "https://"):
        http.mount(scheme, adapter)
    return http


def _read(response: requests.Response) -> bytes | None:
    """The body, which `response` has from then on; None where it is more than anybody needs."""
    whole = bytearray()
    with response:
        for piece in response.iter_content(PIECE):
            whole += piece
            if len(whole) > MOST_BYTES:
                return None
    response._content = bytes(whole)
    return response._content


def _segment(text: str) -> str:
    return quote(text, safe="")
