"""What the API answers to mistakes, bugs and nonsense; request ids; times."""

import contextlib
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from cryptography.fernet import Fernet
from django.core.handlers.asgi import ASGIHandler
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError, ValidationError
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from config.base.logs import redact_event
from config.base.parsing import DEEPEST, JSONParser
from config.base.problems import flat, pascal
from fallback.models import Move
from tests.calling import Caller, Stream, problem, results
from tests.factories import MembershipFactory
from tests.fallback.factories import (
    MoveFactory,
)

pytestmark = pytest.mark.django_db
LISTS = ["moves", "sweeps", "fallback-configs", "connections", "pauses", "activity"]


class TestProblems:
    def test_400(self, caller):
        told = problem(caller.post("fallback-configs", {}), 400, "Invalid")
        assert told["errors"] == {"source": ["This field is required."]}
        assert told["detail"].startswith("source: This field is required")

    def test_401(self, db):
        answer = Caller().get("moves")
        problem(answer, 401, "NotAuthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_403(self, organization):
        viewer = MembershipFactory.create(organization=organization, role="viewer")
        told = problem(Caller(viewer.user).post("sweeps", {}), 403, "RoleTooLow")
        assert told["detail"] == "This needs the role member."

    def test_406(self, caller):
        answer = caller.client.get(
            "/api/moves", headers=caller.headers | {"Accept": "application/xml"}
        )
        problem(answer, 406, "NotAcceptable")

    def test_409(self, caller, remote):
        move = MoveFactory.create(connection=remote, state="Succeeded")
        problem(caller.post(f"moves/{move.pk}/retry", {}), 409, "WrongState")

    def test_413(self, caller):
        body = {"reason": "x" * 3_000_000}
        problem(caller.post("pauses", body), 413, "TooLarge")

    def test_415(self, caller):
        answer = caller.client.generic(
            "POST", "/api/pauses", b"<a/>", content_type="text/xml", headers=caller.headers
        )
        problem(answer, 415, "UnsupportedMediaType")

    def test_a_bug_is_told_without_a_trace(self, owner, monkeypatch):
        def broken(*_: Any) -> None:
            raise RuntimeError("hunter2")

        monkeypatch.setattr("fallback.api.moves.Moves.get_queryset", broken)
        caller = Caller(owner.user)
        caller.client = Client(raise_request_exception=False)
        answer = caller.get("moves")
        problem(answer, 500, "InternalError")
        assert b"hunter2" not in answer.content

    def test_in_tests_a_bug_is_raised(self, caller, monkeypatch):
        monkeypatch.setattr("fallback.api.moves.Moves.get_queryset", lambda _: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            caller.get("moves")

    def test_a_database_that_is_away(self, owner, monkeypatch):
        def away(*_: Any) -> None:
            raise OperationalError("connection to 192.0.2.7 failed")

        monkeypatch.setattr("fallback.api.moves.Moves.get_queryset", away)
        caller = Caller(owner.user)
        caller.client = Client(raise_request_exception=False)
        answer = caller.get("moves")
        problem(answer, 503, "DatabaseAway")
        assert answer.headers["Retry-After"] == "5"
        assert b"192.0.2.7" not in answer.content

    def test_a_secret_that_no_key_opens(self, caller, remote, settings):
        settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        assert len(results(caller.get("connections"))) == 1
        problem(caller.get("external/clusters"), 409, "Undecryptable")

    @pytest.mark.parametrize("path", ["/api/moves", "/api/nothing"])
    def test_a_host_that_is_not_ours(self, db, settings, path):
        settings.ALLOWED_HOSTS = ["switchyard.example.org"]
        answer = Client().get(path, headers={"Host": "evil.example.org"})
        problem(answer, 400, "BadRequest")

    def test_flat_errors(self):
        assert flat({"a_b": {"c_d": ["x"], "body": ["y"]}, "e": [{}, {"f": ["z"]}]}) == {
            "aB.cD": ["x"],
            "aB": ["y"],
            "e.1.f": ["z"],
        }
        assert flat(["x"]) == {"body": ["x"]}

    def test_codes_are_camel_case(self):
        assert [pascal(code) for code in ("not_found", "error", "TokenExpired")] == [
            "NotFound",
            "Error",
            "TokenExpired",
        ]


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ("", "Invalid"),
            ("{", "ParseError"),
            ("null", "Invalid"),
            ("[]", "Invalid"),
            ('"text"', "Invalid"),
            ("1e999", "ParseError"),
            ('{"a": NaN}', "ParseError"),
            ('{"a": 1' + "0" * 5000 + "}", "ParseError"),
            ("[" * 100_000, "ParseError"),
            ('{"a":' * 500 + "1" + "}" * 500, "ParseError"),
            ('{"reason": "a\\u0000b"}', "Invalid"),
            ('{"reason": "\\ud800"}', "Invalid"),
            ('{"\\u0000": 1}', "Invalid"),
            ('{"\\ud800": 1}', "Invalid"),
            (b"\xff\xfe{}", "ParseError"),
            (b'{"reason": "\xff"}', "ParseError"),
        ],
    )
    def test_nonsense_is_a_400(self, caller, body, code):
        raw = body if isinstance(body, bytes) else body.encode()
        answer = caller.client.generic(
            "POST", "/api/pauses", raw, content_type="application/json", headers=caller.headers
        )
        problem(answer, 400, code)

    def test_an_unknown_field_is_named(self, caller):
        told = problem(caller.post("sweeps", {"dryrun": True}), 400, "Invalid")
        assert "Known here: dryRun, organizationId" in told["errors"]["dryrun"][0]

    def test_a_byte_order_mark_does_no_harm(self):
        assert JSONParser().parse(Stream(b"\xef\xbb\xbf{}")) == {}

    def test_depth(self):
        def nested(levels: int) -> bytes:
            return b'{"a":' * levels + b"1" + b"}" * levels

        JSONParser().parse(Stream(nested(DEEPEST)))
        with pytest.raises(ParseError):
            JSONParser().parse(Stream(nested(DEEPEST + 1)))

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    )
    def test_any_document_is_parsed_or_refused(self, document):
        with contextlib.suppress(ParseError, ValidationError):
            JSONParser().parse(Stream(json.dumps(document).encode()))

    @pytest.mark.parametrize(
        ("body", "field"),
        [(b"{", None), (b'{"password": "x"}', "username"), (b'{"username": "x"}', "password")],
    )
    def test_one_that_comes_in_chunks_is_read(self, body, field):
        """As daphne hands it over: without a length."""

        async def ask() -> Any:
            headers = [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
            scope = {"type": "http", "method": "POST", "path": "/api/token", "headers": headers}
            wire = ApplicationCommunicator(ASGIHandler(), scope | {"query_string": b""})
            await wire.send_input({"type": "http.request", "body": body})
            await wire.receive_output(5)
            return json.loads((await wire.receive_output(5))["body"])

        told = async_to_sync(ask)()
        assert list(told.get("errors", {None: ""})) == [field]


class TestRequestIds:
    def test_one_is_taken(self, caller, owner):
        body = {"reason": "why", "connectionId": None}
        answer = caller.post("pauses", body, **{"X-Request-ID": "abc-123"})
        assert answer.headers["X-Request-ID"] == "abc-123"

    @pytest.mark.parametrize("given", ["", "a b", "x" * 65, "-x", "ü", "a\tb"])
    def test_or_made(self, db, given):
        answer = Client().get("/api/health/live", headers={"X-Request-ID": given})
        assert uuid.UUID(answer.headers["X-Request-ID"])

    def test_the_log_says_who_asked(self, caller, owner):
        with capture_logs([merge_contextvars, redact_event]) as lines:
            caller.send("GET", "moves", None, **{"X-Request-ID": "abc-123"})
        (line,) = [line for line in lines if line["event"] == "request_finished"]
        (token,) = owner.user.tokens.all()
        told = (line["request_id"], line["user_id"], line["token_id"])
        assert told == ("abc-123", str(owner.user.pk), str(token.pk))

    def test_an_activity_holds_it(self, caller, remote):
        body = {"reason": "why", "connectionId": str(remote.pk)}
        assert caller.post("pauses", body, **{"X-Request-ID": "abc-123"}).status_code == 201
        (row,) = results(caller.get("activity", requestId="abc-123"))
        assert (row["verb"], row["actorKind"]) == ("fallback.paused", "token")


class TestTimes:
    def test_they_are_utc_whatever_the_readers_zone_is(self, caller, remote):
        MoveFactory.create(connection=remote)
        caller.client.cookies["zone"] = "Asia/Tokyo"
        (row,) = results(caller.get("moves"))
        assert row["createdAt"].endswith("Z")
        at = Move.objects.get().created_at
        assert row["createdAt"][:19] == at.isoformat()[:19]
        assert abs(timezone.now() - at) < timedelta(minutes=1)
