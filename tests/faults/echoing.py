"""A proxy before the simulator that refuses some calls and repeats what it was sent."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

Answer = tuple[int, bytes]
Echo = Callable[[str], Answer]


def refusing(status: int) -> Echo:
    """The vendor's error, the request in its message."""
    return lambda body: (status, error(status, f"cannot take {body}", body))


def cutting(status: int, secret: str, keep: int) -> Echo:
    """The secret some times over, and once where a message of 500 characters breaks off."""
    often = f"{secret} " * 3
    message = often + "." * (500 - len(often) - keep) + secret
    return lambda body: (status, error(status, message))


def nonsense(body: str) -> Answer:
    return 200, f"<html>{body}</html>".encode()


def always(answer: object) -> Echo:
    return lambda body: (200, json.dumps(answer).encode())


def error(status: int, message: str, code: str = "") -> bytes:
    return json.dumps({"statusCode": status, "message": message, "code": code}).encode()


@contextmanager
def proxy(upstream: str, echoes: dict[tuple[str, str], Echo]) -> Iterator[str]:
    """`echoes`: what answers a call whose path ends and whose body or query has such a text.

    Each answers once, then the call goes through. Yields the proxy's address.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def carry(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, answer = self.echoed(body.decode()) or self.passed_on(body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def echoed(self, body: str) -> Answer | None:
            path, _, query = self.path.partition("?")
            for (end, text), echo in list(echoes.items()):
                if path.endswith(end) and text in body + query:
                    del echoes[end, text]
                    return echo(body or query)
            return None

        def passed_on(self, body: bytes) -> Answer:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host",)}
            with requests.Session() as http:
                http.trust_env = False
                url = f"{upstream}{self.path}"
                answer = http.request(self.command, url, data=body, headers=headers, timeout=10)
            return answer.status_code, answer.content

        do_GET = do_PUT = do_POST = carry

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
