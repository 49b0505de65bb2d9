"""Headers on every answer, and ids of others, which are as unknown as random ones."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse

from config.api import description
from config.pages import DOCS, LOOSE, STRICT
from tests.administering import as_superuser
from tests.calling import NOBODYS, Caller
from tests.factories import PASSWORD, UserFactory
from tests.test_routes import TABLE, World

pytestmark = pytest.mark.django_db
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def fits(answer: Any, policy: str = STRICT) -> None:
    for name, value in ALWAYS.items():
        assert answer.headers[name] == value, name
    assert answer.headers["Content-Security-Policy"] == policy
    assert "frame-ancestors 'none'" in policy
    assert "camera=()" in answer.headers["Permissions-Policy"]
    kept = answer.headers["Cache-Control"]
    assert "no-store" in kept or ("private" in kept and "no-cache" in kept), kept
    assert "Server" not in answer.headers and "X-Powered-By" not in answer.headers


class TestHeaders:
    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/", 200),
            ("/moves/", 200),
            ("/moves/rows/", 200),
            ("/moves", 301),
            ("/theme/", 405),
            ("/nope/", 404),
            (f"/moves/{NOBODYS}/", 404),
            ("/moves/?search=%00", 400),
            ("/api/moves", 200),
            ("/api/moves?colour=red", 400),
            ("/api/nope", 404),
            ("/api/health", 200),
            ("/api/schema", 200),
            ("/metrics", 200),
        ],
    )
    def test_pages_programs_and_refusals(self, client, path, status):
        answer = as_superuser(client).get(path)
        assert answer.status_code == status
        fits(answer)

    @pytest.mark.parametrize(
        ("path", "status"),
        [("/", 302), ("/sign-in/", 200), ("/api/moves", 401), ("/api/token", 405), ("/moves", 301)],
    )
    def test_what_anybody_gets(self, path, status):
        answer = Client().get(path)
        assert answer.status_code == status
        fits(answer)

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/admin/", 200),
            ("/admin/accounts/user/", 200),
            ("/admin/nope/", 404),
            ("/admin/logout/", 405),
        ],
    )
    def test_what_needs_inline_scripts_has_a_policy_of_its_own(self, client, path, status):
        answer = as_superuser(client).get(path)
        assert answer.status_code == status
        fits(answer, LOOSE)

    @pytest.mark.parametrize("path", ["/api/docs", "/api/v1/docs", "/api/docs/"])
    def test_the_documentation_inlines_nothing_but_images(self, path):
        assert "unsafe" not in DOCS and "http" not in DOCS
        answer = Client().get(path)
        fits(answer, DOCS)
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=", answer.content.decode())
        assert len(re.findall(r"<script", answer.content.decode())) == 2
        assert answer.content.decode().count('<script src="/static/') == 2

    def test_a_loose_path_lends_its_policy_to_nobody(self, client):
        for path in ("/adminx/", "/api/docsx", "/api/v1/docs/../moves", "/x/admin/"):
            assert as_superuser_once(client).get(path).headers["Content-Security-Policy"] == STRICT

    def test_files_may_be_kept_and_nothing_else_of_theirs_is_loose(self):
        for path in ("/static/img/switchyard.svg", "/static/css/nope.css"):
            answer = Client().get(path)
            for name, value in ALWAYS.items():
                assert answer.headers[name] == value, name
            assert answer.headers["Content-Security-Policy"] == STRICT
            kept = answer.headers["Cache-Control"]
            assert ("private" in kept) == (answer.status_code == 404)
            answer.close()

    def test_failures(self, client, monkeypatch):
        monkeypatch.setattr("fallback.outlook.last_sweeps", lambda *_: 1 // 0)
        monkeypatch.setattr("fallback.api.moves.Moves.get_queryset", lambda *_: 1 // 0)
        root = as_superuser(client)
        root.raise_request_exception = False
        for path in ("/", "/api/moves"):
            answer = root.get(path)
            assert answer.status_code == 500
            fits(answer)

    def test_refusals_before_any_view(self, settings):
        fits(Client().post("/pause/", b"x" * 3_000_000, "text/plain"))
        fits(Client().post("/api/pauses", b"x" * 3_000_000, "text/plain"))
        fits(Client(enforce_csrf_checks=True).post("/theme/", {}))
        settings.ALLOWED_HOSTS = ["switchyard.example.org"]
        for path in ("/", "/api/moves"):
            answer = Client().get(path, headers={"Host": "evil.example"})
            assert answer.status_code == 400
            fits(answer)

    def test_a_redirect_to_https(self, settings):
        settings.SECURE_SSL_REDIRECT = True
        answer = Client().get("/moves/")
        assert answer.status_code == 301
        fits(answer)

    def test_https_is_for_good_only_over_https(self, settings):
        settings.SECURE_HSTS_SECONDS = 3600
        assert "Strict-Transport-Security" not in Client().get("/sign-in/").headers
        told = Client().get("/sign-in/", secure=True).headers["Strict-Transport-Security"]
        assert told == "max-age=3600"

    def test_what_holds_a_secret_is_kept_by_nobody(self, user):
        sent = {"username": user.username, "password": PASSWORD}
        answer = Caller().post("token", sent)
        assert "no-store" in answer.headers["Cache-Control"]

    def test_cookies(self, user):
        client = Client()
        client.post("/sign-in/", {"username": user.username, "password": PASSWORD})
        cookie = client.cookies["sessionid"]
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")

    def test_another_site_gets_no_leave_to_read(self, client):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        for path in ("/api/moves", "/api/token", "/"):
            for answer in (
                client.options(path, headers=headers),
                client.get(path, headers=headers),
            ):
                assert not [name for name in answer.headers if name.startswith("Access-Control")]


def as_superuser_once(client: Client) -> Client:
    client.force_login(UserFactory.create(is_superuser=True, is_staff=True))
    return client


# Foreign ids


@pytest.fixture
def ours() -> World:
    return World()


@pytest.fixture
def theirs() -> World:
    return World()


def ids_of(world: World) -> dict[str, str]:
    """Every row that has an id, by the name that the world has for it."""
    rows = {name: row for name, row in vars(world).items() if hasattr(row, "pk")}
    return {name: str(row.pk) for name, row in rows.items() if UUID.fullmatch(str(row.pk))}


def told(answer: Any) -> tuple[int, str]:
    """Status and body, whatever id was asked for."""
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer.status_code, UUID.sub("ID", content.decode())


def parameters() -> Iterator[tuple[str, str]]:
    """Each parameter of a list that takes an id: the route and the name."""
    for path, methods in description()["paths"].items():
        for parameter in methods.get("get", {}).get("parameters", []):
            shape = parameter["schema"]
            shape = shape.get("items", shape)
            named = parameter["name"].endswith("Id") or parameter["name"] == "organization"
            if parameter["in"] == "query" and (shape.get("format") == "uuid" or named):
                yield path.removeprefix("/api/"), parameter["name"]


def fields(shape: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each field of a body that takes an id of ours."""
    if "$ref" in shape:
        shape = description()["components"]["schemas"][shape["$ref"].rpartition("/")[2]]
    for name, inner in shape.get("properties", {}).items():
        if inner.get("format") == "uuid":
            yield (*above, name)
        elif "$ref" in inner or "properties" in inner:
            yield from fields(inner, (*above, name))


def bodies() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each field of a body that takes an id: the route as the table has it, and the path."""
    routes = {spelled(route): route for route in TABLE}
    for path, methods in description()["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            for found in fields(content.get("application/json", {}).get("schema", {})):
                yield routes[spelled(f"{method.upper()} {path.removeprefix('/api/')}")], found


def spelled(route: str) -> str:
    """Whatever the parts of its path are called."""
    return re.sub(r"\{\w+\}", "{}", route)


class TestForeignIds:
    def test_there_are_some_to_try(self):
        assert len(list(parameters())) > 10
        found = {(route, path[-1]) for route, path in bodies()}
        assert {("POST pauses", "connectionId"), ("POST sweeps", "organizationId")} <= found

    def test_in_filters(self, ours, theirs):
        owner = ours.callers["owner"]
        for path, name in parameters():
            address = re.sub(r"\{\w+\}", str(ours.webhook.pk), path)
            address = address if "webhooks" in path else re.sub(r"\{\w+\}", ours_id(ours), path)
            random = told(owner.get(address, **{name: NOBODYS}))
            for kind, foreign in ids_of(theirs).items():
                assert told(owner.get(address, **{name: foreign})) == random, (path, name, kind)

    def test_in_filters_our_own_do_count(self, ours):
        owner = ours.callers["owner"]
        assert owner.get("moves", connectionId=str(ours.remote.pk)).json()["count"] == 2
        assert owner.get("moves", connectionId=NOBODYS).json()["count"] == 0

    def test_in_bodies(self, ours, theirs):
        owner = ours.callers["owner"]
        for route, path in bodies():
            random = self.sent(owner, ours, route, path, NOBODYS)
            assert random[0] >= 400, (route, path, "a random id was taken")
            for kind, foreign in ids_of(theirs).items():
                found = self.sent(owner, ours, route, path, foreign)
                assert found == random, (route, path, kind)

    def sent(
        self, owner: Caller, world: World, route: str, path: tuple[str, ...], value: str
    ) -> tuple[int, str]:
        body = json.loads(json.dumps(world.body(route)))
        inner = body
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
        before = transaction.savepoint()
        answer = owner.send(route.partition(" ")[0], world.address(route), body)
        transaction.savepoint_rollback(before)
        return told(answer)

    def test_in_addresses(self, ours, theirs):
        owner = ours.callers["owner"]
        for route in TABLE:
            method, address = route.partition(" ")[0], theirs.address(route)
            if not UUID.search(address) or "{code}" in route:
                continue
            body = ours.body(route)
            unknown = self.asked(owner, method, UUID.sub(NOBODYS, address), body)
            assert unknown[0] == 404, (route, unknown)
            assert self.asked(owner, method, address, body) == unknown, route
            if len(UUID.findall(address)) > 1:  # theirs below ours
                first = UUID.search(ours.address(route))
                assert first
                random = UUID.sub(first[0], UUID.sub(NOBODYS, address), count=1)
                mixed = UUID.sub(first[0], address, count=1)
                found = self.asked(owner, method, mixed, body)
                assert found == self.asked(owner, method, random, body), (route, mixed)
                assert found[0] == 404, (route, mixed)

    def asked(self, owner: Caller, method: str, address: str, body: Any) -> tuple[int, str]:
        before = transaction.savepoint()
        answer = owner.send(method, address, None if method == "GET" else body)
        transaction.savepoint_rollback(before)
        return told(answer)

    def test_on_pages(self, ours, theirs):
        client = Client()
        client.force_login(ours.owner)
        for name in ("moves", "configs", "sweeps", "connections", "activity", "overview"):
            for value in (theirs.organization.slug, str(theirs.organization.pk)):
                answer = client.get(reverse(name), {"organization": value})
                assert answer.status_code == 404, (name, value)
        for kind, row in (
            ("move", theirs.planned),
            ("config", theirs.config),
            ("connection", theirs.remote),
            ("sweep", theirs.sweep),
        ):
            found = client.get(reverse(kind, args=[row.pk]))
            random = client.get(reverse(kind, args=[NOBODYS]))
            assert (found.status_code, random.status_code) == (404, 404), kind


def ours_id(world: World) -> str:
    return str(world.organization.pk)
