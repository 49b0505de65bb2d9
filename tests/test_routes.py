"""Who may call what: every address of the API, for everybody who might. Add a line with a route."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts.models import ApiToken, Delivery, User
from accounts.webhooks import pause as pause_webhook
from config.base.actor import Actor
from tests.accounts.webhooking import make as make_webhook
from tests.calling import Caller
from tests.factories import (
    PASSWORD,
    ConnectionFactory,
    InviteFactory,
    MembershipFactory,
    UserFactory,
    issue_token,
)
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
# A token of an owner who was deactivated is worth what an expired one is, everywhere.
EVERYBODY = (*WHO, "deactivated")

PUBLIC = "200 200 200 200 200 200 200 200"
LIST = "401 200 200 200 200 200 200 401"
ONE = "401 404 200 200 200 200 200 401"
# The control plane of these tests is away: 502 means that it was asked.
ASK = "401 409 502 502 502 502 502 401"
BY_MEMBER = "401 404 403 200 200 200 403 401"
BY_ADMIN = "401 404 403 403 200 200 403 401"
GONE_BY_ADMIN = "401 404 403 403 204 204 403 401"
OWN = "401 200 200 200 200 200 403 401"
# Nobody else's business, not even a superuser's.
ONLY_OWN = "401 404 404 404 404 200 200 401"
GONE_OWN = "401 404 404 404 404 204 403 401"
SENT_BY_ADMIN = "401 404 403 403 202 202 403 401"
# A stranger may, in an organization of their own, and sees nothing of ours.
READ_BY_ADMINS = "401 200 403 403 200 200 403 401"
MADE_HERE_BY_ADMIN = "401 404 403 403 201 201 403 401"
BY_OWNER = "401 404 403 403 403 200 403 401"
ANYBODY_MAKES = "401 201 201 201 201 201 403 401"
# What a body names is unknown to a stranger, so they get a 400.
MADE_BY_ADMIN = "401 400 403 403 201 201 403 401"

TABLE = {
    "POST token": PUBLIC,
    "POST users": "201 201 201 201 201 201 201 201",
    "GET users/me": LIST,
    "PATCH users/me": OWN,
    "POST users/me/password": "401 204 204 204 204 204 403 401",
    "GET tokens": LIST,
    "POST tokens": "401 201 201 201 201 201 403 401",
    "GET tokens/{pk}": ONLY_OWN,
    "DELETE tokens/{pk}": GONE_OWN,
    "GET webhooks": READ_BY_ADMINS,
    "POST webhooks": MADE_BY_ADMIN,
    "GET webhooks/{pk}": BY_ADMIN,
    "PATCH webhooks/{pk}": BY_ADMIN,
    "DELETE webhooks/{pk}": GONE_BY_ADMIN,
    "POST webhooks/{pk}/rotate": BY_ADMIN,
    "POST webhooks/{pk}/pause": BY_ADMIN,
    "POST webhooks/{pk}/resume": BY_ADMIN,
    "POST webhooks/{pk}/test": SENT_BY_ADMIN,
    "GET webhooks/{webhook}/deliveries": BY_ADMIN,
    "GET webhooks/{webhook}/deliveries/{message}": BY_ADMIN,
    "POST webhooks/{webhook}/deliveries/{message}/replay": SENT_BY_ADMIN,
    "GET organizations": LIST,
    "POST organizations": ANYBODY_MAKES,
    "GET organizations/{pk}": ONE,
    "PATCH organizations/{pk}": BY_OWNER,
    # Moves are open there.
    "DELETE organizations/{pk}": "401 404 403 403 403 409 403 401",
    "POST organizations/{pk}/rotate": BY_ADMIN,
    # Of an organization that nobody of these is in.
    "POST organizations/{code}/join": OWN,
    "GET organizations/{organization}/members": ONE,
    "GET organizations/{organization}/members/{pk}": ONE,
    "PATCH organizations/{organization}/members/{pk}": BY_ADMIN,
    "DELETE organizations/{organization}/members/{pk}": GONE_BY_ADMIN,
    "GET organizations/{organization}/invites": BY_ADMIN,
    "POST organizations/{organization}/invites": MADE_HERE_BY_ADMIN,
    "GET organizations/{organization}/invites/{pk}": BY_ADMIN,
    "DELETE organizations/{organization}/invites/{pk}": GONE_BY_ADMIN,
    "GET activity": LIST,
    "GET activity/export": LIST,
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
        self.member = MembershipFactory.create(organization=organization)
        self.invite = InviteFactory.create(organization=organization)
        self.elsewhere = InviteFactory.create()
        self.webhook, self.paused = make_webhook(organization), make_webhook(organization)
        pause_webhook(self.paused, Actor.system())
        self.delivery = Delivery.objects.create(webhook=self.webhook, event="x", state="failed")
        self.callers = {
            "anonymous": Caller(),
            "stranger": Caller(MembershipFactory.create(role="owner").user),
            "read-only": Caller(self.owner, read_only=True),
            "expired": Caller(secret=self.expired()),
            "deactivated": Caller(secret=self.deactivated()),
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

    def deactivated(self) -> str:
        membership = MembershipFactory.create(organization=self.organization, role="owner")
        _, secret = issue_token(membership.user)
        User.objects.filter(pk=membership.user_id).update(is_active=False)
        return secret

    def address(self, route: str) -> str:
        """The route about a row of ours."""
        _, _, path = route.partition(" ")
        rows: dict[str, Any] = {
            "fallback-configs": self.config,
            "connections": self.spare,
            "pauses": self.pause,
            "moves": self.failed if path.endswith("retry") else self.planned,
            "sweeps": self.sweep,
            "tokens": self.owner.tokens.first(),
            "webhooks": self.paused if path.endswith("resume") else self.webhook,
        }
        rows |= {"organizations": self.organization}
        if "{organization}" in path:
            rows["organizations"] = self.member if "members" in path else self.invite
        row = rows.get(path.partition("/")[0])
        found = path.replace("{pk}", str(row.pk) if row else "").replace("{key}", "one")
        found = found.replace("{organization}", str(self.organization.pk))
        found = found.replace("{code}", self.elsewhere.code)
        found = found.replace("{webhook}", str(self.webhook.pk))
        found = found.replace("{message}", str(self.delivery.message_id))
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
            "POST users": {
                "email": "new@example.org",
                "username": "new",
                "password": "crane at dawn",
            },
            "POST organizations": {"name": "Another"},
            "PATCH organizations/{pk}": {"name": "Renamed"},
            "DELETE organizations/{pk}": {"name": self.organization.name},
            "PATCH organizations/{organization}/members/{pk}": {"role": "viewer"},
            "POST organizations/{organization}/invites": {"mostUses": 1},
            "PATCH users/me": {},
            "POST webhooks": {
                "organizationId": ours,
                "name": "Another",
                "url": "https://hooks.example.org",
                "events": ["*"],
            },
            "PATCH webhooks/{pk}": {"name": "Renamed"},
            "POST users/me/password": {"currentPassword": PASSWORD, "newPassword": "crane at dawn"},
            "POST tokens": {"name": "Another"},
        }.get(route, {})


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("route", TABLE)
def test_who_gets_which_answer(world, route):
    method, address, body = route.partition(" ")[0], world.address(route), world.body(route)
    found = {}
    for who in EVERYBODY:
        before = transaction.savepoint()  # each finds the world as it was
        found[who] = world.callers[who].send(method, address, None if method == "GET" else body)
        transaction.savepoint_rollback(before)
    codes = {who: answer.status_code for who, answer in found.items()}
    expected = dict(zip(WHO, map(int, TABLE[route].split()), strict=True))
    assert codes == {**expected, "deactivated": expected["expired"]}
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
        if line in (ONLY_OWN, GONE_OWN):
            continue
        before = transaction.savepoint()
        answer = root.send(route.partition(" ")[0], world.address(route), world.body(route))
        transaction.savepoint_rollback(before)
        assert answer.status_code == int(line.split()[WHO.index("owner")]), route
