"""Calls to addresses that people enter: which are refused, and that nothing goes out too late."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
import requests

from config.base import outbound

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Listener:
    """Takes one connection at a time and keeps what its first read brought."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/"
        self.first: list[bytes] = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                taken, _ = self.listening.accept()
                with taken, suppress(ConnectionError):  # one where nothing was sent is dropped
                    taken.settimeout(5)
                    self.first.append(taken.recv(65536))
                    taken.sendall(ANSWER)


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    with closing(found.listening):
        yield found


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", outbound.adapter())
        yield session


def test_headers_and_body_go_out_together(http, listener):
    assert http.post(listener.url, data=b"x" * 2000, timeout=5).text == "ok"
    assert listener.first[0].startswith(b"POST / HTTP/1.1\r\n")
    assert listener.first[0].endswith(b"\r\n\r\n" + b"x" * 2000)


def test_nothing_goes_out_too_late(http, listener):
    with pytest.raises(outbound.TooLate), outbound.not_after(time.monotonic() - 0.001):
        http.post(listener.url, data=b"late", timeout=5)
    assert http.post(listener.url, data=b"in time", timeout=5).text == "ok"
    assert [one for one in listener.first if one] == [listener.first[-1]]
    assert listener.first[-1].endswith(b"in time")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "::1",
        "10.1.2.3",
        "192.168.1.1",
        "169.254.169.254",
        "::ffff:127.0.0.1",
        *("::127.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::1"),  # IPv4 in IPv6
        *("64:ff9b:1::1", "fec0::1"),
        "fe80::1",
    ],
)
def test_private_addresses_are_refused(http, settings, host):
    settings.OUTBOUND_ALLOW_PRIVATE = False
    name = f"[{host}]" if ":" in host else host
    with pytest.raises(outbound.Refused, match="not a public address"):
        outbound.check_url(f"http://{name}/api")
    with pytest.raises(outbound.Refused):
        http.get(f"http://{name}:9/", timeout=2)


def test_a_public_address_behind_a_gateway_is_used(settings):
    settings.OUTBOUND_ALLOW_PRIVATE = False
    outbound.check_url("http://[64:ff9b::8.8.8.8]/api")
    settings.OUTBOUND_ALLOW_PRIVATE = True
    outbound.check_url("http://[::1]/api")


def test_a_name_is_resolved_once_for_check_and_call(http, settings, monkeypatch):
    """First public, then private: the address that was checked is the one that is called."""
    settings.OUTBOUND_ALLOW_PRIVATE = False
    answers, called = ["8.8.8.8", "127.0.0.1"], []

    def lookup(host, port, *args, **kwargs):
        assert host == "rebinding.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    def connect(address, *args, **kwargs):
        called.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    with pytest.raises(requests.ConnectionError):
        http.get("http://rebinding.example:81", timeout=1)
    with pytest.raises(outbound.Refused):  # asked anew, it is private
        http.get("http://rebinding.example:81", timeout=1)
    assert (called, answers) == ([("8.8.8.8", 81)], [])


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.org", "must begin with"),
        ("https://", "must begin with"),
        ("https://a:b@example.org", "user name and password"),
        ("https://example.org/?x=1", "must end with its path"),
        ("https://exa mple.org", "spaces"),
        ("https://[::1", "not a URL"),
        ("http://0.0.0.0", "public address|one host"),
        ("http://224.0.0.1", "public address|one host"),
    ],
)
def test_what_is_no_address_is_told(settings, url, words):
    settings.OUTBOUND_ALLOW_PRIVATE = False
    with pytest.raises(outbound.Refused, match=words):
        outbound.check_url(url)
