"""The client against a real HTTP server: what it sends, retries and makes of answers."""

import gzip
import json
import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import time_machine
from pytest_django import Settings
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from fallback import match
from fallback.truefoundry import (
    Missing,
    NotActive,
    Rejected,
    TrueFoundry,
    Unauthorized,
    Unavailable,
)
from tests.fallback.simulating import serving


@pytest.fixture
def client(httpserver: HTTPServer) -> Iterator[TrueFoundry]:
    found = TrueFoundry(httpserver.url_for("/api/svc"), "t0ken", "robot", timeout=(1, 0.5))
    yield found
    found.close()


def runs(count: int) -> dict:
    data = [
        {"id": f"r{n}", "name": f"run-{n}", "status": "SCHEDULED", "createdAt": 1e12}
        for n in range(count)
    ]
    return {"data": data, "pagination": {"hasMore": False}}


def test_what_a_trigger_sends(client: TrueFoundry, httpserver: HTTPServer) -> None:
    answer = {"jobRunName": "r", "data": {"id": "1", "name": "r", "deploymentId": "d1"}}
    httpserver.expect_request("/api/svc/v1/jobs/trigger", method="POST").respond_with_json(answer)
    found = client.trigger("d1", {"params": {"a": 1}}, "alias", "acme")
    request, _ = httpserver.log[0]
    assert json.loads(request.data) == {
        "deploymentId": "d1",
        "input": {"params": {"a": 1}},
        "metadata": {"job_run_name_alias": "alias"},
    }
    assert request.headers["Authorization"] == "Bearer t0ken"
    assert request.headers["x-tfy-assume-user"] == "serviceaccount/acme/robot/tfy-system"
    assert request.headers["X-Request-ID"] == found.request_id
    assert found.body.name == "r"


def test_a_deployment_is_never_forced_nor_triggers(
    client: TrueFoundry, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/api/svc/v1/apps", method="PUT").respond_with_json(
        {"data": {"id": "d", "applicationId": "a", "version": 1.0, "manifest": {}}}
    )
    assert client.deploy({"name": "x"}, "w", "acme").body.version == 1
    body = json.loads(httpserver.log[0][0].data)
    assert body["forceDeploy"] is False
    assert body["triggerOnDeploy"] is False
    assert body["dryRun"] is False


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_reads_are_retried(client: TrueFoundry, httpserver: HTTPServer, status: int) -> None:
    path = "/api/svc/v1/x/job-runs"
    httpserver.expect_ordered_request(path).respond_with_data("", status=status)
    httpserver.expect_ordered_request(path).respond_with_json(runs(2))
    assert len(client.job_runs("c", "w", ["CREATED", "SCHEDULED"]).runs) == 2
    assert httpserver.log[0][0].args.getlist("status") == ["CREATED", "SCHEDULED"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_trigger_is_sent_once_whatever_comes_back(
    client: TrueFoundry, httpserver: HTTPServer, status: int
) -> None:
    httpserver.expect_request("/api/svc/v1/jobs/trigger").respond_with_data("", status=status)
    with pytest.raises(Unavailable) as caught:
        client.trigger("d", {}, "", "acme")
    assert len(httpserver.log) == 1
    assert caught.value.happened is (status != 429)


@pytest.mark.parametrize(
    ("header", "value", "least", "most"),
    [
        ("Retry-After", "7", 7, 7),
        ("Retry-After", "in a minute, as a date", 40, 61),
        ("x-ratelimit-reset", "in a minute, as a moment", 40, 61),
        ("x-ratelimit-reset", "9", 9, 9),
        ("Retry-After", "86400", 300, 300),
        ("Retry-After", "soon", None, None),
    ],
)
def test_how_long_to_wait(
    client: TrueFoundry,
    httpserver: HTTPServer,
    header: str,
    value: str,
    least: float | None,
    most: float | None,
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=60)
    if value == "in a minute, as a date":
        value = format_datetime(soon)
    elif value == "in a minute, as a moment":
        value = str(soon.timestamp())
    httpserver.expect_request("/api/svc/v1/jobs/terminate").respond_with_data(
        "", status=429, headers={header: value}
    )
    with pytest.raises(Unavailable) as caught:
        client.terminate("d", "r", "acme")
    found = caught.value.retry_after
    if least is None or most is None:
        assert found is None
    else:
        assert found is not None
        assert least <= found <= most


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "Active deployment not found for application", NotActive),
        (400, "bad input", Rejected),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Rejected),
        (404, "Not found", Missing),
        (422, "invalid", Rejected),
    ],
)
def test_what_a_refusal_means(
    client: TrueFoundry, httpserver: HTTPServer, status: int, message: str, kind: type[Rejected]
) -> None:
    httpserver.expect_request("/api/svc/v1/jobs/trigger").respond_with_json(
        {"statusCode": status, "message": message, "code": "X"}, status=status
    )
    with pytest.raises(Rejected) as caught:
        client.trigger("d", {}, "", "acme")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.detail, caught.value.code) == (status, message, "X")
    assert message not in str(caught.value)  # the remote's words may repeat what it was sent


@pytest.mark.parametrize("status", [404, 417])
def test_ended_already_is_an_answer(
    client: TrueFoundry, httpserver: HTTPServer, status: int
) -> None:
    httpserver.expect_request("/api/svc/v1/jobs/terminate").respond_with_json(
        {"statusCode": status, "message": "no such run"}, status=status
    )
    assert client.terminate("d", "r", "acme").status == status


@pytest.mark.parametrize("body", ["default backend - 404", "<html>404</html>", "{}", "[]", ""])
def test_a_gateways_404_says_nothing_of_a_run(
    client: TrueFoundry, httpserver: HTTPServer, body: str
) -> None:
    httpserver.expect_request(re.compile(".*")).respond_with_data(body, status=404)
    for call in (
        lambda: client.job_run("a", "r"),
        lambda: client.terminate("d", "r", "acme"),
        lambda: client.trigger("d", {}, "", "acme"),
    ):
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.value.happened


def test_empty_pages_that_always_promise_more(client: TrueFoundry, httpserver: HTTPServer) -> None:
    answer = {"data": [], "pagination": {"hasMore": True}}
    httpserver.expect_request("/api/svc/v1/x/job-runs").respond_with_json(answer)
    assert client.run_statuses("c", "w", ["CREATED"]) == {}


def test_a_page_that_always_comes_again(client: TrueFoundry, httpserver: HTTPServer) -> None:
    """As from a remote that takes no offset: a thread would ask for ever."""
    page = [{"id": f"run-{number}", "name": "a", "status": "CREATED"} for number in range(100)]
    answer = {"data": page, "pagination": {"hasMore": True}}
    httpserver.expect_request("/api/svc/v1/x/job-runs").respond_with_json(answer)
    assert len(client.run_statuses("c", "w", ["CREATED"])) == 100
    with pytest.raises(Unavailable, match="no end"):
        client.job_runs("c", "w", ["CREATED"])
    assert len(httpserver.log) < 150


@pytest.mark.parametrize("created", [None, "soon", "2026-01-01T00:00:00Z", 0, -1, 10**18, 1e9])
def test_a_run_without_a_time_may_be_any_triggers(
    client: TrueFoundry, httpserver: HTTPServer, created: object
) -> None:
    data = [
        {"id": "new", "name": "new", "createdAt": 2 * 10**12},
        {"id": "unknown", "name": "unknown", "createdAt": created},
        {"id": "old", "name": "old", "createdAt": 10**12},
    ]
    httpserver.expect_request("/api/svc/v1/jobs/a/runs").respond_with_json(
        {"data": data, "pagination": {"hasMore": False}}
    )
    assert [run.id for run in client.runs_of("a", since=15 * 10**11)] == ["new", "unknown"]


SORTABLE = {"startTime", "duration", "deploymentVersion", "triggeredBy", "status"}  # the SDK's


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_new_run_is_found_however_the_list_is_sorted(
    client: TrueFoundry, httpserver: HTTPServer, newest_first: bool
) -> None:
    """By creation date, says the SDK, and not from which end; by that nobody can ask to sort."""
    rows = [{"id": f"r{n}", "name": f"r{n}", "createdAt": 10**12 + n} for n in range(950)]
    rows = rows[::-1] if newest_first else rows

    def answer(request: Request) -> Response:
        if request.args.get("sortBy", "status") not in SORTABLE:
            return Response('{"statusCode": 422, "message": "sortBy"}', 422)
        offset = int(request.args["offset"])
        page = {"data": rows[offset : offset + 100], "pagination": {"total": len(rows)}}
        return Response(json.dumps(page))

    httpserver.expect_request("/api/svc/v1/jobs/a/runs").respond_with_handler(answer)
    found = {run.id for run in client.runs_of("a", since=10**12 + 940)}
    assert found == {f"r{n}" for n in range(940, 950)}
    assert len(httpserver.log) == (1 if newest_first else 11)


def test_a_redirect_is_not_followed(client: TrueFoundry, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/api/svc/v1/clusters/c").respond_with_data(
        "", status=302, headers={"Location": httpserver.url_for("/elsewhere")}
    )
    with pytest.raises(Unavailable):
        client.cluster("c")
    assert len(httpserver.log) == 1


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"data": 1}', b'{"data": {}}'])
def test_an_answer_that_makes_no_sense_may_have_happened(
    client: TrueFoundry, httpserver: HTTPServer, body: bytes
) -> None:
    httpserver.expect_request("/api/svc/v1/jobs/trigger").respond_with_data(body)
    with pytest.raises(Unavailable) as caught:
        client.trigger("d", {}, "", "acme")
    assert caught.value.happened


def test_a_slow_answer_is_no_answer(client: TrueFoundry, httpserver: HTTPServer) -> None:
    free = threading.Event()

    def slowly(request: Request) -> Response:
        free.wait(5)
        return Response("{}")

    httpserver.expect_request("/api/svc/v1/jobs/trigger").respond_with_handler(slowly)
    with pytest.raises(Unavailable) as caught:
        client.trigger("d", {}, "", "acme")
    free.set()
    assert caught.value.happened


def test_where_nobody_listens_nothing_happened() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = TrueFoundry(f"http://127.0.0.1:{port}/api/svc", "t0ken", read_retries=0)
    with pytest.raises(Unavailable) as caught:
        client.trigger("d", {}, "", "acme")
    assert not caught.value.happened
    assert str(port) not in str(caught.value)
    assert "t0ken" not in str(caught.value)
    client.close()


def test_an_address_that_may_not_be_called_is_not(settings: Settings) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    client = TrueFoundry("http://localhost:9/api/svc", "t0ken", read_retries=0)
    with pytest.raises(Unavailable, match="not a public address") as caught:
        client.user_info()
    assert not caught.value.happened
    client.close()


def test_the_remotes_clock_is_told_by_its_answers() -> None:
    with serving(clock_offset_seconds=300) as simulator:
        client = TrueFoundry(simulator.url, simulator.token)
        client.user_info()
        client.close()
    theirs = datetime.now(UTC) + timedelta(seconds=300)
    assert timedelta(seconds=297) < client.skew <= timedelta(seconds=300)
    # A lower bound: what is created from now on is never older than this.
    assert client.remote_now() <= theirs
    for minutes in (-10, 10):  # our own clock is put right, and theirs is not
        with time_machine.travel(timedelta(minutes=minutes), tick=True):
            assert timedelta(0) <= theirs - client.remote_now() < timedelta(seconds=3)


def test_a_clock_at_the_end_of_the_calendar_is_only_wrong() -> None:
    class Late(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("Date", "Fri, 31 Dec 9999 23:59:59 -1200")
            self.end_headers()
            self.wfile.write(b'{"data": [], "pagination": {"hasMore": false}}')

    with ThreadingHTTPServer(("127.0.0.1", 0), Late) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        client = TrueFoundry(f"http://127.0.0.1:{server.server_port}/api/svc", "t0ken")
        try:
            listing = client.job_runs("c", "w", ["CREATED"])
        finally:
            client.close()
            server.shutdown()
    assert listing.skew > timedelta(days=365)
    assert match.age_of(10**12, listing.remote_now) > timedelta(days=365)


def test_older_servers_know_users_by_another_path(
    client: TrueFoundry, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/api/svc/v1/x/users/info").respond_with_json({}, status=404)
    httpserver.expect_request("/api/svc/v1/users/info").respond_with_json({"id": "u"})
    assert client.user_info() == {"id": "u"}


def test_an_id_cannot_change_the_path(client: TrueFoundry, httpserver: HTTPServer) -> None:
    with pytest.raises(Unavailable):  # the server knows no such path and says 500
        client.cluster("../../admin")
    assert httpserver.log[0][0].environ["REQUEST_URI"] == "/api/svc/v1/clusters/..%2F..%2Fadmin"


def test_an_answer_without_an_end_is_no_answer(
    client: TrueFoundry, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kilobytes that unpack to what fills the memory."""
    monkeypatch.setattr("fallback.truefoundry.MOST_BYTES", 2**20)
    bomb = gzip.compress(b'{"data": "' + b" " * 2**24 + b'"}')
    httpserver.expect_request("/api/svc/v1/jobs/terminate").respond_with_data(
        bomb, headers={"Content-Encoding": "gzip"}
    )
    with pytest.raises(Unavailable, match="too long") as caught:
        client.terminate("d", "r", "t")
    assert caught.value.happened
