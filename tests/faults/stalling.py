"""A proxy before the simulator that takes one call's headers, and its body when it is told to."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

SMALL = 4096  # bytes that wait on our side; the rest stays in the caller's kernel


@dataclass
class Stalled:
    url: str = ""
    arrived: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)


class Narrow(ThreadingHTTPServer):
    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        super().server_bind()


@contextmanager
def proxy(upstream: str, path: str) -> Iterator[Stalled]:
    """The first call whose path ends with `path` stands still until `go_on`; `over` is its end."""
    stalled = Stalled()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def carry(self) -> None:
            stands = self.path.endswith(path) and not stalled.arrived.is_set()
            if stands:
                stalled.arrived.set()
                stalled.go_on.wait(60)
            try:
                with suppress(ConnectionError):
                    self.pass_on()
            finally:
                if stands:
                    stalled.over.set()

        def pass_on(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:
                return
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            with requests.Session() as http:
                http.trust_env = False
                url = f"{upstream}{self.path}"
                answer = http.request(self.command, url, data=body, headers=headers, timeout=10)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_PUT = do_POST = carry

        def log_message(self, *_: object) -> None:
            pass

    server = Narrow(("127.0.0.1", 0), Handler)
    stalled.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield stalled
    finally:
        stalled.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
