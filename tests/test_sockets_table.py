"""Who may listen where: every WebSocket, for everybody who might. Add a line with a socket."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import ApiToken, User
from config.asgi import sockets
from tests.config.test_sockets import ORIGIN, Ear, cookie_of, run
from tests.factories import MembershipFactory, UserFactory, issue_token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("bells")]
# A stranger owns another organization; of the last three each once could.
WHO = (
    *("anonymous", "stranger", "viewer", "member", "admin", "owner", "read-only", "superuser"),
    *("expired", "revoked", "deactivated"),
)
OPEN = "open"

# By the pattern of the route: the address that is tried, and how it ends.
TABLE = {
    "ws/live": ("/ws/live", f"4401 {'open ' * 7} 4401 4401 4401"),
    "ws/live/": ("/ws/live/", f"4401 {'open ' * 7} 4401 4401 4401"),
    "": ("/ws/nope", "4404 " * 11),
}
# With what an address asks for: an organization that a stranger is not in.
ASKING = {
    "/ws/live?organization={slug}": f"4401 4404 {'open ' * 6} 4401 4401 4401",
    "/ws/live?organization={pk}": f"4401 4404 {'open ' * 6} 4401 4401 4401",
    "/ws/live?organization=nobodys": f"4401 {'4404 ' * 7} 4401 4401 4401",
    "/ws/live?organization=%00": f"4401 {'4404 ' * 7} 4401 4401 4401",
    "/ws/live?organization={slug}&colour=red": f"4401 4404 {'open ' * 6} 4401 4401 4401",
}


def test_every_socket_is_in_the_table():
    assert set(TABLE) == {str(route.pattern) for route in sockets.routes}


class World:
    def __init__(self) -> None:
        owner = MembershipFactory.create(role="owner")
        self.organization = organization = owner.organization
        self.people: dict[str, User] = {
            "stranger": MembershipFactory.create(role="owner").user,
            "owner": owner.user,
            "read-only": owner.user,
            "expired": owner.user,
            "revoked": owner.user,
            "superuser": UserFactory.create(is_superuser=True),
            "deactivated": MembershipFactory.create(organization=organization, role="owner").user,
        }
        for role in ("viewer", "member", "admin"):
            membership = MembershipFactory.create(organization=organization, role=role)
            self.people[role] = membership.user
        self.secrets = {who: self.secret(who, user) for who, user in self.people.items()}
        self.cookies = {who: cookie_of(user) for who, user in self.people.items()}
        self.people["deactivated"].is_active = False
        self.people["deactivated"].save(update_fields=["is_active"])

    def secret(self, who: str, user: User) -> str:
        token, secret = issue_token(user, read_only=who == "read-only")
        past = timezone.now() - timedelta(minutes=1)
        gone = {"expired": {"expires_at": past}, "revoked": {"revoked_at": past}}.get(who)
        if gone:
            ApiToken.objects.filter(pk=token.pk).update(**gone)
        return secret

    def address(self, text: str) -> str:
        return text.format(slug=self.organization.slug, pk=self.organization.pk)


async def ending(expected: str, path: str, *headers: Any, offer: list[str] | None = None) -> str:
    """How it is closed, or 'open'. What is expected tells how long to wait and nothing else."""
    async with Ear(*headers, path=path, offer=offer) as ear:
        if await ear.hears_nothing(0.5 if expected == OPEN else 5):
            return OPEN
        return str(await ear.closed())


def endings(jobs: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}

    async def all_together() -> None:
        found.update(zip(jobs, await asyncio.gather(*jobs.values()), strict=True))

    run(all_together)
    return found


@pytest.mark.parametrize("path", [*(path for path, _ in TABLE.values()), *ASKING])
def test_with_a_token(path):
    world = World()
    line = dict(TABLE.values()).get(path) or ASKING[path]
    address = world.address(path)
    expected = dict(zip(WHO, line.split(), strict=True))
    in_header, among_protocols = {}, {}
    for who, told in expected.items():
        secret = world.secrets.get(who)
        header = [(b"authorization", f"Bearer {secret}".encode())] if secret else [ORIGIN]
        offer = ["switchyard.v1", f"bearer.{secret}"] if secret else ["switchyard.v1"]
        in_header[who] = ending(told, address, *header)
        among_protocols[who] = ending(told, address, ORIGIN, offer=offer)
    assert endings(in_header) == expected
    assert endings(among_protocols) == expected


@pytest.mark.parametrize("path", [*(path for path, _ in TABLE.values()), *ASKING])
def test_with_a_session_of_our_pages(path):
    world = World()
    line = dict(TABLE.values()).get(path) or ASKING[path]
    expected = dict(zip(WHO, line.split(), strict=True))
    for who in ("read-only", "expired", "revoked"):
        del expected[who]  # what tokens are
    ours, theirs = {}, {}
    elsewhere = (b"origin", b"https://evil.example")
    for who, told in expected.items():
        cookie = [world.cookies[who]] if who in world.cookies else []
        ours[who] = ending(told, world.address(path), ORIGIN, *cookie)
        theirs[who] = ending("4403", world.address(path), elsewhere, *cookie)
    assert endings(ours) == expected
    # From elsewhere nobody's session counts.
    wherever = "4404" if path == "/ws/nope" else "4403"
    assert set(endings(theirs).values()) == {wherever}


@pytest.mark.parametrize("value", [b'"aaaaaaaa\\000"', b"\xff" * 20, b"x" * 5000, b""])
def test_a_cookie_that_is_none_is_nobodys(value):
    cookie = (b"cookie", b"sessionid=" + value)
    assert endings({"x": ending("4401", "/ws/live", ORIGIN, cookie)}) == {"x": "4401"}
