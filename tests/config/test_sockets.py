"""`/ws/live`: who may listen, what is heard, and how it closes."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisAway

from accounts import consumers, sockets
from accounts.models import ApiToken, Membership, User
from config.asgi import application
from config.base import live
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory, issue_token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("bells")]
ORIGIN = (b"origin", b"http://testserver")
HOST = (b"host", b"testserver")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(consumers, "AGAIN_SECONDS", 0.2)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


def cookie_of(user: User) -> tuple[bytes, bytes]:
    client = Client()
    client.force_login(user)
    name = django_settings.SESSION_COOKIE_NAME
    return (b"cookie", f"{name}={client.cookies[name].value}".encode())


class Ear:
    """A client that listens."""

    def __init__(
        self, *headers: tuple[bytes, bytes], path: str = "/ws/live", offer: list[str] | None = None
    ) -> None:
        self.socket = WebsocketCommunicator(application, path, [HOST, *headers], offer)

    async def __aenter__(self) -> "Ear":
        accepted, self.protocol = await self.socket.connect(timeout=5)
        assert accepted  # always: only then the close code is seen
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.socket.disconnect()

    async def closed(self) -> int:
        message = await self.socket.receive_output(timeout=5)
        assert message["type"] == "websocket.close"
        return int(message["code"])

    async def hears(self, timeout: float = 2) -> dict[str, Any]:
        found: dict[str, Any] = await self.socket.receive_json_from(timeout=timeout)
        return found

    async def hears_nothing(self, timeout: float = 0.3) -> bool:
        return bool(await self.socket.receive_nothing(timeout=timeout))


async def settled() -> None:
    """The consumer has looked up who it is and has joined its groups."""
    await asyncio.sleep(0.3)


async def ring(organization: Any) -> None:
    found = get_channel_layer()
    assert found is not None
    await found.group_send(live.group_of(organization.pk), {"type": "changed"})


class TestWho:
    def test_a_session_from_our_own_pages(self, user):
        cookie = cookie_of(user)

        async def test() -> None:
            async with Ear(cookie, ORIGIN) as ear:
                assert await ear.hears_nothing()

        run(test)

    def test_a_token_in_the_header_or_among_the_subprotocols(self, user):
        secret = issue_token(user)[1]
        offer = ["switchyard.v1", f"bearer.{secret}"]

        async def test() -> None:
            async with Ear((b"authorization", f"Bearer {secret}".encode())) as ear:
                assert await ear.hears_nothing() and ear.protocol is None
            async with Ear(offer=offer) as ear:
                assert await ear.hears_nothing() and ear.protocol == "switchyard.v1"
            # Cookies are no part of it, so another site may use the token that it was given.
            async with Ear((b"origin", b"https://elsewhere.example"), offer=offer) as ear:
                assert await ear.hears_nothing()

        run(test)

    def test_nobody_is_4401(self, user):
        expired, expired_secret = issue_token(user)
        ApiToken.objects.filter(pk=expired.pk).update(
            expires_at=timezone.now() - timedelta(seconds=1)
        )
        inactive = UserFactory.create()
        cookie = cookie_of(inactive)
        User.objects.filter(pk=inactive.pk).update(is_active=False)

        async def test() -> None:
            for headers in (
                [ORIGIN],
                [ORIGIN, (b"cookie", b"sessionid=nonsense")],
                [ORIGIN, cookie],
                [(b"authorization", b"Bearer nonsense")],
                [(b"authorization", f"Bearer {expired_secret}".encode())],
            ):
                async with Ear(*headers) as ear:
                    assert await ear.closed() == 4401, headers

        run(test)

    def test_who_brings_nothing_is_not_signed_in(self):
        async def test() -> None:
            async with Ear() as ear:
                assert await ear.closed() == 4401

        run(test)

    def test_a_session_without_our_origin_is_4403(self, user):
        cookie = cookie_of(user)

        async def test() -> None:
            for headers in (
                [cookie],
                [cookie, (b"origin", b"https://elsewhere.example")],
                [cookie, (b"origin", b"null")],
                [cookie, (b"origin", b"http://testserver.elsewhere.example")],
                [cookie, (b"authorization", b"Basic x")],
            ):
                async with Ear(*headers) as ear:
                    assert await ear.closed() == 4403, headers

        run(test)

    def test_a_trusted_origin_counts_as_ours(self, user, settings):
        settings.CSRF_TRUSTED_ORIGINS = ["https://*.example.org", "https://yard.example.com"]
        cookie = cookie_of(user)

        async def test() -> None:
            for origin in (b"https://a.example.org", b"https://yard.example.com"):
                async with Ear(cookie, (b"origin", origin)) as ear:
                    assert await ear.hears_nothing(), origin
            async with Ear(cookie, (b"origin", b"http://yard.example.com")) as ear:
                assert await ear.closed() == 4403

        run(test)

    def test_what_is_not_there_is_4404(self, owner):
        cookie = cookie_of(owner.user)
        foreign = OrganizationFactory.create()

        async def test() -> None:
            for path in (
                "/ws/nope",
                "/",
                f"/ws/live?organization={foreign.slug}",
                f"/ws/live?organization={foreign.pk}",
                "/ws/live?organization=nope",
            ):
                async with Ear(cookie, ORIGIN, path=path) as ear:
                    assert await ear.closed() == 4404, path

        run(test)


class TestBells:
    def test_members_hear_and_strangers_do_not(self, owner):
        cookie, stranger = cookie_of(owner.user), cookie_of(UserFactory.create())

        async def test() -> None:
            async with Ear(cookie, ORIGIN) as ear, Ear(stranger, ORIGIN) as other:
                await settled()
                await ring(owner.organization)
                message = await ear.hears()
                assert (message["seq"], message["type"], message["data"]) == (1, "changed", {})
                assert message["ts"].endswith("Z")
                assert await other.hears_nothing(0.5)

        run(test)

    def test_it_is_told_again_so_that_swallowed_bells_are_not_missed(self, owner):
        cookie = cookie_of(owner.user)

        async def test() -> None:
            async with Ear(cookie, ORIGIN) as ear:
                await settled()
                for _ in range(50):
                    await ring(owner.organization)
                heard = [await ear.hears() for _ in range(3)]
                assert [message["seq"] for message in heard] == [1, 2, 3]
                assert await ear.hears_nothing(0.5)

        run(test)

    def test_one_organization_alone(self, owner):
        other = MembershipFactory.create(user=owner.user).organization
        cookie = cookie_of(owner.user)

        async def test() -> None:
            for name in (str(owner.organization_id), owner.organization.slug):
                async with Ear(cookie, ORIGIN, path=f"/ws/live?organization={name}") as ear:
                    await settled()
                    await ring(other)
                    assert await ear.hears_nothing()
                    await ring(owner.organization)
                    assert await ear.hears()

        run(test)

    def test_what_clients_say_means_nothing(self, owner):
        cookie = cookie_of(owner.user)

        async def test() -> None:
            async with Ear(cookie, ORIGIN) as ear:
                await settled()
                for text in ("{}", "nonsense", "[" * 10_000):
                    await ear.socket.send_to(text_data=text)
                await ear.socket.send_to(bytes_data=b"\xff")
                await ring(owner.organization)
                assert await ear.hears()

        run(test)

    def test_a_change_in_the_database_is_heard(self, owner, monkeypatch):
        monkeypatch.setattr(live, "_rung", {})
        cookie = cookie_of(owner.user)

        async def test() -> None:
            async with Ear(cookie, ORIGIN) as ear:
                await settled()
                await sync_to_async(live.ring_on_commit)(owner.organization_id)
                assert (await ear.hears())["type"] == "changed"

        run(test)


class TestLater:
    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch):
        monkeypatch.setattr(sockets, "RENEW_SECONDS", 0.2)

    def test_rights_are_looked_up_again(self, owner):
        cookie = cookie_of(owner.user)
        other = OrganizationFactory.create()

        async def test() -> None:
            async with Ear(cookie, ORIGIN) as ear:
                await settled()
                await Membership.objects.filter(pk=owner.pk).adelete()
                await Membership.objects.acreate(user=owner.user, organization=other)
                await asyncio.sleep(0.6)
                await ring(owner.organization)
                assert await ear.hears_nothing()
                await ring(other)
                assert await ear.hears()

        run(test)

    def test_a_revoked_token_and_a_session_that_ended_are_4401(self, owner):
        token, secret = issue_token(owner.user)
        cookie = cookie_of(owner.user)

        async def test() -> None:
            bearer = (b"authorization", f"Bearer {secret}".encode())
            async with Ear(bearer) as ear, Ear(cookie, ORIGIN) as page:
                await settled()
                await ApiToken.objects.filter(pk=token.pk).aupdate(revoked_at=timezone.now())
                assert await ear.closed() == 4401
                owner.user.set_password("another")
                await owner.user.asave()
                assert await page.closed() == 4401

        run(test)


def test_with_the_broker_away_the_client_is_told_to_come_again(owner, monkeypatch):
    cookie = cookie_of(owner.user)

    async def fail(*_: Any) -> None:
        raise RedisAway

    async def test() -> None:
        layer = get_channel_layer()
        monkeypatch.setattr(layer, "group_add", fail)
        async with Ear(cookie, ORIGIN) as ear:
            assert await ear.closed() == 1013

    run(test)
