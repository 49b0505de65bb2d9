"""What only a real server sees: lengths that lie, chunks without end, clients that go away."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

ROOT = Path(__file__).parents[2]
MOST = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
PASSWORD = "correct horse battery"
SLOW_SECONDS = 1.5


class Web:
    """A migrated installation with an owner, and daphne before it."""

    def __init__(self) -> None:
        self.data_dir = Path(tempfile.mkdtemp(prefix="swy-wire-"))
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        self.environment = kept | {"DATA_DIR": str(self.data_dir)}
        self.manage("migrate", "--verbosity", "0")
        owner = ("--email", "ada@example.org", "--password", PASSWORD)
        self.manage("bootstrap", *owner, "--organization", "Acme")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        daphne = ["-b", "127.0.0.1", "-p", str(self.port), "config.asgi:application"]
        self.log = (self.data_dir / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "daphne", *daphne],
            cwd=ROOT,
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
        )
        self.wait()
        sent = {"username": "ada@example.org", "password": PASSWORD}
        self.token = self.call("/api/token", sent)[1]["accessToken"]

    def manage(self, *arguments: str) -> None:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr

    def wait(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/health/live", timeout=2)
                return
            time.sleep(0.1)
        raise AssertionError((self.data_dir / "log").read_text())

    def call(self, path: str, body: Any, **headers: str) -> tuple[int, Any, HTTPResponse]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        told = {"Content-Type": "application/json"}
        if hasattr(self, "token"):
            told["Authorization"] = f"Bearer {self.token}"
        connection.request("POST", path, json.dumps(body), told | headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, json.loads(content), response

    def raw(self, head: str, *pieces: bytes, end: bool = False) -> bytes:
        """All that comes back for these bytes; `end` says that no more will come."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as wire:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                wire.sendall(head.replace("\n", "\r\n").encode("latin-1"))
                for piece in pieces:
                    wire.sendall(piece)
            if end:
                wire.shutdown(socket.SHUT_WR)
            found = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := wire.recv(65536):
                    found += piece
            return found

    def post(self, path: str, kind: str, *more: str) -> str:
        """The head of a request that ends with its answer."""
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close"]
        lines += [f"Content-Type: {kind}", f"Authorization: Bearer {self.token}", *more, "\n"]
        return "\n".join(lines)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.data_dir, ignore_errors=True)


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    found = Web()
    try:
        yield found
    finally:
        found.end()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 65536 + 1):
        yield b"10000\r\n" + b"x" * 65536 + b"\r\n"
    yield b"0\r\n\r\n"


JSON, FORM = "application/json", "application/x-www-form-urlencoded"


@pytest.mark.parametrize(("path", "kind"), [("/api/pauses", JSON), ("/pause/", FORM)])
def test_too_much_with_and_without_a_length(web, path, kind):
    told = web.raw(web.post(path, kind, f"Content-Length: {MOST + 1_000_000}"), b"x" * MOST * 2)
    assert status(told) == 413
    told = web.raw(web.post(path, kind, "Transfer-Encoding: chunked"), *chunks(MOST + 1_000_000))
    assert status(told) == 413


def test_chunks_are_read_to_their_end(web):
    head = web.post("/api/pauses", JSON, "Transfer-Encoding: chunked")
    told = web.raw(head, b'a\r\n{"reason":\r\n', b'4\r\n "x"\r\n', b"0\r\n\r\n")
    assert (status(told), b"ParseError" in told) == (400, True)  # no brace at its end
    told = web.raw(head, b'b\r\n{"colour":1\r\n', b"1\r\n}\r\n", b"0\r\n\r\n")
    assert (status(told), b'"colour"' in told) == (400, True)


@pytest.mark.parametrize("length", ["abc", "-1", "1, 2", "0x10"])
def test_a_length_that_is_none(web, length):
    assert status(web.raw(web.post("/api/pauses", JSON, f"Content-Length: {length}"), b"{}")) == 400


def test_a_length_that_is_too_large_waits_for_nobody(web):
    """Who says that no more comes is let go; the others go on meanwhile."""
    began = time.monotonic()
    told = web.raw(web.post("/api/pauses", JSON, "Content-Length: 100"), b"{}", end=True)
    assert told == b""
    assert time.monotonic() - began < 10
    assert web.call("/api/pauses", [])[0] == 400


def test_a_length_that_is_too_small_ends_the_body_there(web):
    told = web.raw(web.post("/api/pauses", JSON, "Content-Length: 5"), b'{"reason": "x"}')
    assert (status(told), b"ParseError" in told) == (400, True)


def test_a_length_and_chunks_at_once(web):
    head = web.post("/api/pauses", JSON, "Content-Length: 2", "Transfer-Encoding: chunked")
    assert status(web.raw(head, b"2\r\n{}\r\n0\r\n\r\n")) == 400


@pytest.mark.parametrize("path", ["/api/moves?a=\xff", "/\xff", "/api/moves?a=%ff", "/moves/%00"])
def test_an_address_that_is_none(web, path):
    head = f"GET {path} HTTP/1.1\nHost: localhost\nConnection: close\n"
    head += f"Authorization: Bearer {web.token}\n\n"
    assert status(web.raw(head)) == 400


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/api/moves", "/api/nope", "/static/css/nope.css", "/static/js/live.js"]
)
def test_each_answer_has_the_headers(web, path):
    told = web.raw(f"GET {path} HTTP/1.1\nHost: localhost\nConnection: close\n\n").lower()
    for name in ("content-security-policy", "x-content-type-options", "referrer-policy"):
        assert f"\r\n{name}: ".encode() in told, name


class Slow(BaseHTTPRequestHandler):
    """A control plane that takes its time."""

    def do_GET(self) -> None:
        time.sleep(SLOW_SECONDS)
        with contextlib.suppress(OSError):
            self.send_error(503)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_who_went_away_gets_the_answer_later(web, slow):
    """What `Idempotency-Key` is for: the client hung up, and the request went on."""
    there = {"name": "Slow", "baseUrl": slow, "token": "x"}
    status_made, made, _ = web.call("/api/connections", there)
    assert status_made == 201
    path, key = f"/api/connections/{made['id']}/test", {"Idempotency-Key": "once"}
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as wire:
        head = web.post(path, JSON, "Content-Length: 2", "Idempotency-Key: once")
        wire.sendall(head.replace("\n", "\r\n").encode() + b"{}")
        time.sleep(SLOW_SECONDS / 3)
    found, told, response = web.call(path, {}, **key)
    assert (found, told["code"]) == (409, "RequestInProgress")
    deadline = time.monotonic() + 20
    while found == 409 and time.monotonic() < deadline:
        time.sleep(0.2)
        found, told, response = web.call(path, {}, **key)
    assert (found, response.headers["Idempotency-Replayed"]) == (200, "true")
    assert told["works"] is False
