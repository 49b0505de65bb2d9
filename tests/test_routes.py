"""Who may call what: every address of the API, for everybody who might. Add a line with a route."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts.models import ApiToken
from tests.calling import Caller
from tests.factories import PASSWORD, ConnectionFactory, MembershipFactory, UserFactory, issue_token
from tests.fallback.factories import (
    FallbackConfigFactory,
    MoveFactory,
    PauseFactory,
    SweepFactory,
)

pytestmark = pytest.mark.django_db
METHODS = ("get", "post", "put", "patch", "delete")
# A stranger owns another organization; the last two tokens are an owner's.
WHO = ("anonymous", "stranger", "viewer", "member", "admin", "owner", "read-only", "expired")

PUBLIC = "200 200 200 200 200 200 200 200"
LIST = "401 200 200 200 200 200 200 401"
ONE = "401 404 200 200 200 200 200 401"
# The control plane of these tests is away: 502 means that it was asked.
ASK = "401 409 502 502 502 502 502 401"
BY_MEMBER = "401 404 403 200 200 200 403 401"
BY_ADMIN = "401 404 403 403 200 200 403 401"
GONE_BY_ADMIN = "401 404 403 403 204 204 403 401"
# What a body names is unknown to a stranger, so they get a 400.
MADE_BY_ADMIN = "401 400 403 403 201 201 403 401"

TABLE = {
    "POST token": PUBLIC,
    "GET users/me": LIST,
    "GET activity": LIST,
    "GET fallback-configs": LIST,
    "POST fallback-configs": MADE_BY_ADMIN,
    "GET fallback-configs/{pk}": ONE,
    "PUT fallback-configs/{pk}": BY_ADMIN,
    "PATCH fallback-configs/{pk}": BY_ADMIN,
    "DELETE fallback-configs/{pk}": GONE_BY_ADMIN,
    "POST fallback-configs/{pk}/repair": BY_ADMIN,
    "GET connections": LIST,
    "POST connections": MADE_BY_ADMIN,
    "GET connections/{pk}": ONE,
    "PUT connections/{pk}": BY_ADMIN,
    "PATCH connections/{pk}": BY_ADMIN,
    "DELETE connections/{pk}": GONE_BY_ADMIN,
    "POST connections/{pk}/test": BY_ADMIN,
    "POST connections/{pk}/enable": BY_ADMIN,
    "POST connections/{pk}/disable": BY_ADMIN,
    "GET pauses": LIST,
    "POST pauses": MADE_BY_ADMIN,
    "GET pauses/{pk}": ONE,
    "DELETE pauses/{pk}": GONE_BY_ADMIN,
    "GET moves": LIST,
    "GET moves/{pk}": ONE,
    "POST moves/{pk}/retry": BY_MEMBER,
    "POST moves/{pk}/cancel": BY_MEMBER,
    "GET sweeps": LIST,
    "POST sweeps": "401 400 403 202 202 202 403 401",
    "GET sweeps/{pk}": ONE,
    "GET external/clusters": ASK,
    "GET external/clusters/{key}": ASK,
    "GET external/workspaces": ASK,
    "GET external/workspaces/{key}": ASK,
    "GET external/user-info": ASK,
    "GET external/job-runs": ASK,
    "GET health": PUBLIC,
    "GET health/ready": PUBLIC,
    "GET health/live": PUBLIC,
    "GET schema": PUBLIC,
    "GET docs": PUBLIC,
    "GET .*": "404 404 404 404 404 404 404 404",
}


def routes(namespace: str) -> Iterator[tuple[str, set[str]]]:
    """Every address as the table writes it, with the methods that it knows."""
    for resolver in get_resolver().url_patterns:
        if isinstance(resolver, URLResolver) and resolver.namespace == namespace:
            for pattern in resolver.url_patterns:
                assert isinstance(pattern, URLPattern)
                regex = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", str(pattern.pattern))
                yield regex.strip("^$").removesuffix("/?"), methods(pattern.callback)


def methods(view: Any) -> set[str]:
    if actions := getattr(view, "actions", None):
        return {method.upper() for method in actions}
    cls = getattr(view, "cls", None)
    return {method.upper() for method in METHODS if hasattr(cls, method)} or {"GET"}


KNOWN = {f"{method} {path}" for path, known in routes("api") for method in known}


def test_every_route_is_in_the_table():
    assert set(TABLE) == KNOWN


def test_both_roots_have_the_same_routes():
    assert list(routes("api")) == list(routes("api-v1"))


class World:
    """An organization with one of everything, and everybody who might call."""

    def __init__(self) -> None:
        owner = MembershipFactory.create(role="owner")
        self.organization = organization = owner.organization
        self.owner = owner.user
        self.remote = ConnectionFactory.create(
            organization=organization, base_url="http://127.0.0.1:9/api/svc"
        )
        self.spare = ConnectionFactory.create(organization=organization, enabled=False)
        self.config = FallbackConfigFactory.create(connection=self.remote)
        self.pause = PauseFactory.create(connection=self.spare)
        self.planned = MoveFactory.create(connection=self.remote)
        self.failed = MoveFactory.create(connection=self.remote, state="Failed")
        self.sweep = SweepFactory.create(organization=organization)
        self.callers = {
            "anonymous": Caller(),
            "stranger": Caller(MembershipFactory.create(role="owner").user),
            "read-only": Caller(self.owner, read_only=True),
            "expired": Caller(secret=self.expired()),
        }
        for role in ("viewer", "member", "admin"):
            membership = MembershipFactory.create(organization=organization, role=role)
            self.callers[role] = Caller(membership.user)
        self.callers["owner"] = Caller(self.owner)

    def expired(self) -> str:
        token, secret = issue_token(self.owner)
        past = timezone.now() - timedelta(minutes=1)
        ApiToken.objects.filter(pk=token.pk).update(expires_at=past)
        return secret

    def address(self, route: str) -> str:
        """The route about a row of ours."""
        _, _, path = route.partition(" ")
        rows = {
            "fallback-configs": self.config,
            "connections": self.spare,
            "pauses": self.pause,
            "moves": self.failed if path.endswith("retry") else self.planned,
            "sweeps": self.sweep,
        }
        row = rows.get(path.partition("/")[0])
        found = path.replace("{pk}", str(row.pk) if row else "").replace("{key}", "one")
        found = found.replace(".*", "nothing/here")
        return f"{found}?clusterId=a&workspaceId=b" if path.endswith("job-runs") else found

    def body(self, route: str) -> Any:
        """What a caller who may would send."""
        source = {"clusterId": "one", "workspaceId": "a"}
        config = {"source": source, "destination": {"clusterId": "two", "workspaceId": "b"}}
        there = {"name": "Another", "baseUrl": "https://tfy.example.org", "token": "x"}
        ours = str(self.organization.pk)
        return {
            "POST token": {"username": self.owner.username, "password": PASSWORD},
            "POST fallback-configs": {**config, "connectionId": str(self.remote.pk)},
            "PUT fallback-configs/{pk}": config,
            "PATCH fallback-configs/{pk}": {"enabled": False},
            "POST connections": {**there, "organizationId": ours},
            "PUT connections/{pk}": there,
            "PATCH connections/{pk}": {"name": "Renamed"},
            "POST pauses": {"connectionId": str(self.remote.pk), "reason": "because"},
            "POST sweeps": {"organizationId": ours},
        }.get(route, {})


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("route", TABLE)
def test_who_gets_which_answer(world, route):
    method, address, body = route.partition(" ")[0], world.address(route), world.body(route)
    found = {}
    for who in WHO:
        before = transaction.savepoint()  # each finds the world as it was
        found[who] = world.callers[who].send(method, address, None if method == "GET" else body)
        transaction.savepoint_rollback(before)
    codes = {who: answer.status_code for who, answer in found.items()}
    assert codes == dict(zip(WHO, map(int, TABLE[route].split()), strict=True))
    for who, answer in found.items():
        if answer.status_code >= 400:
            assert answer.headers["Content-Type"] == "application/problem+json", who


@pytest.mark.parametrize("path", sorted({path for path, _ in routes("api")} - {".*"}))
def test_other_methods_are_405_for_who_is_signed_in_and_may_be_there(world, path):
    known = {route.partition(" ")[0] for route in TABLE if route.partition(" ")[2] == path}
    for method in {method.upper() for method in METHODS} - known | {"OPTIONS", "TRACE"}:
        answer = world.callers["owner"].send(method, world.address(f"{method} {path}"), {})
        assert answer.status_code == 405, method


def test_a_superuser_may_everything(world):
    root = Caller(UserFactory.create(is_superuser=True))
    for route, line in TABLE.items():
        before = transaction.savepoint()
        answer = root.send(route.partition(" ")[0], world.address(route), world.body(route))
        transaction.savepoint_rollback(before)
        assert answer.status_code == int(line.split()[WHO.index("owner")]), route
