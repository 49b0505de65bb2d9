"""What tests of webhooks share: webhooks, sealed activities, and a receiver that misbehaves."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.utils import timezone

from accounts import delivering, webhooks
from accounts.models import Activity, Chain, Delivery, Organization, Webhook
from config.base.actor import Actor
from tests.factories import OrganizationFactory

ADA = Actor(name="ada")
FAR = "https://hooks.example.org/in"  # is never called


def make(
    organization: Organization | None = None, url: str = FAR, events: Any = None, **more: Any
) -> Webhook:
    """A webhook as somebody would create it."""
    count = Webhook.objects.count()
    fields = {"name": more.pop("name", f"Hook {count + 1}"), "url": url}
    fields["events"] = ["*"] if events is None else events
    kind = more.pop("kind", "webhook")
    webhook, _ = webhooks.create(
        ADA, organization or OrganizationFactory.create(), kind, fields, **more
    )
    return webhook


def seal(organization: Organization, *verbs: str, **fields: Any) -> list[Activity]:
    """Activities that have their place in the organization's chain."""
    chain, _ = Chain.objects.get_or_create(organization_id=organization.pk)
    made = []
    for verb in verbs:
        chain.position += 1
        given = {
            "organization_id": organization.pk,
            "actor_kind": "user",
            "actor_name": "ada",
            "object_kind": "move",
            "object_id": "1f3c",
            "object_name": "nightly",
            "request_id": "req-1",
        } | fields
        made.append(Activity(verb=verb, position=chain.position, **given))
    Activity.objects.bulk_create(made)
    chain.save(update_fields=["position"])
    return made


def deliver(seconds: float = 5.0) -> list[Delivery]:
    """One tick; answers all deliveries, oldest first."""
    delivering.fan_out()
    delivering.deliver(seconds)
    return list(Delivery.objects.order_by("created_at", "pk"))


def hurry() -> None:
    """As if the time until each next attempt were over."""
    waiting = Delivery.objects.filter(state="pending")
    waiting.update(next_attempt_at=timezone.now())


def age(hours: float) -> None:
    """As if the deliveries had been made that long ago."""
    at = timezone.now() - timedelta(hours=hours)
    Delivery.objects.update(created_at=at)


class Receiver:
    """A real HTTP server. `plan` says what it answers: a status, "hang" or a function."""

    def __init__(self) -> None:
        self.plan: list[Any] = []
        self.usual: Any = 200
        self.headers: dict[str, str] = {}
        self.body = b"thanks"
        self.calls: list[dict[str, Any]] = []
        self.acknowledged: list[str] = []
        self.slow = 0.0
        self.at_once = self.peak = 0
        self.lock = threading.Lock()
        self.released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/in"

    def answer(self, handler: Any) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
        call = {"headers": dict(handler.headers), "body": body, "path": handler.path}
        with self.lock:
            self.calls.append(call)
            act = self.plan.pop(0) if self.plan else self.usual
            self.at_once += 1
            self.peak = max(self.peak, self.at_once)
        try:
            time.sleep(self.slow)
            self._act(handler, act)
        finally:
            with self.lock:
                self.at_once -= 1

    def _act(self, handler: Any, act: Any) -> None:
        if act == "hang":
            self.released.wait(30)
            return
        if callable(act):
            act(handler)
            return
        try:
            handler.send_response(act)
            for name, value in {"Content-Length": str(len(self.body)), **self.headers}.items():
                handler.send_header(name, value)
            if 200 <= act < 300:
                with self.lock:
                    self.acknowledged.append(handler.headers["webhook-id"])
            handler.end_headers()
            handler.wfile.write(self.body)
        except OSError:
            pass  # the caller has gone

    def bodies(self) -> list[Any]:
        return [json.loads(call["body"]) for call in self.calls]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


def wait_for(check: Callable[[], Any], seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found
