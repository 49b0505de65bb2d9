"""Whoever joins, is removed or sees an organization go hears of it at once on open sockets."""

import pytest
from asgiref.sync import sync_to_async

from accounts import belonging, joining, sockets
from accounts.models import Organization
from tests.config.test_sockets import ORIGIN, Ear, cookie_of, quick, ring, run, settled
from tests.factories import InviteFactory, MembershipFactory, UserFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("bells")]
__all__ = ["quick"]  # a fixture


@pytest.fixture(autouse=True)
def _only_when_told(monkeypatch):
    """Sockets do not look by themselves meanwhile."""
    monkeypatch.setattr(sockets, "RENEW_SECONDS", 1e6)


async def comes_to_hear(ear: Ear, home: Organization, wanted: bool) -> bool:
    """Whether bells are, or are not, heard within seconds: the consumer looks in its own time."""
    for _ in range(10):
        await ring(home)
        heard = not await ear.hears_nothing(0.5)
        while not await ear.hears_nothing(0.3):
            await ear.hears()  # and its echo
        if heard is wanted:
            return True
    return False


def test_who_joins_hears_of_the_organization_from_then_on(user):
    invite, cookie, actor = InviteFactory.create(), cookie_of(user), user.actor()

    async def test() -> None:
        async with Ear(cookie, ORIGIN) as ear:
            await settled()
            await ring(invite.organization)
            assert await ear.hears_nothing()
            await sync_to_async(joining.join)(invite.code, actor)
            assert await comes_to_hear(ear, invite.organization, True)

    run(test)


@pytest.mark.parametrize("how", ["removed", "left", "deleted"])
def test_who_is_out_hears_nothing_more(owner, how):
    member = MembershipFactory.create(organization=owner.organization, user=UserFactory.create())
    cookie, boss, own = cookie_of(member.user), owner.user.actor(), member.user.actor()
    home = owner.organization

    def end() -> None:
        if how == "removed":
            belonging.remove(member, boss)
        elif how == "left":
            belonging.leave(member, own)
        else:
            belonging.delete(home, boss, home.name)

    async def test() -> None:
        async with Ear(cookie, ORIGIN) as ear:
            await settled()
            assert await comes_to_hear(ear, home, True)
            await sync_to_async(end)()
            assert await comes_to_hear(ear, home, False)

    run(test)
