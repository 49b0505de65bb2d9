"""Where others are affected, pages and admin do nothing without a reason: not by HTML alone."""

from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from accounts.models import Activity, Membership
from tests.accounts.browsing import signed_in
from tests.accounts.webhooking import make
from tests.administering import act, as_superuser, url
from tests.factories import ConnectionFactory, InviteFactory, MembershipFactory, issue_token
from tests.fallback.factories import FallbackConfigFactory, MoveFactory
from tests.fallback.pages import told

pytestmark = pytest.mark.django_db
WHY = "It leaked"
PAGES = {
    "organization-delete": "organization.deleted",
    "organization-rotate": "invite.rotated",
    "member-remove": "member.removed",
    "invite-revoke": "invite.revoked",
    "webhook-delete": "webhook.deleted",
    "connection-delete": "connection.deleted",
    "config-delete": "config.deleted",
    "move-cancel": "move.cancelled",
    "pause": "fallback.paused",
}
ACTIONS = {
    "invite": ("revoke", "invite.revoked"),
    "token": ("revoke", "token.revoked"),
    "member": ("delete_rows", "member.removed"),
    "user": ("deactivate", "user.deactivated"),
    "webhook": ("delete_rows", "webhook.deleted"),
    "connection": ("delete_rows", "connection.deleted"),
    "config": ("delete_rows", "config.deleted"),
    "move": ("cancel", "move.cancelled"),
}


class World:
    """One of everything that somebody may end."""

    def __init__(self, owner: Membership) -> None:
        home, self.owner = owner.organization, owner
        member = MembershipFactory.create(organization=home)
        config = FallbackConfigFactory.create(connection__organization=home)
        self.rows: dict[str, Model] = {
            "organization": home,
            "member": member,
            "user": member.user,
            "invite": InviteFactory.create(organization=home),
            "token": issue_token(member.user)[0],
            "webhook": make(home),
            "connection": ConnectionFactory.create(organization=home),
            "config": config,
            "move": MoveFactory.create(connection=config.connection),
        }

    def sent(self, page: str) -> tuple[str, dict[str, str]]:
        """The address of a page that does something, and all that its form sends but why."""
        if page == "pause":
            return reverse(page), {"scope": f"config:{self.rows['config'].pk}"}
        row = self.rows[page.partition("-")[0]]
        return reverse(page, args=[row.pk]), {"confirm": str(row)}


@pytest.fixture
def world(owner: Membership) -> World:
    return World(owner)


def reasons(verb: str) -> list[str]:
    return list(Activity.objects.filter(verb=verb).values_list("reason", flat=True))


@pytest.mark.parametrize("page", PAGES)
def test_a_page(world: World, page: str) -> None:
    client, (address, sent) = signed_in(world.owner.user), world.sent(page)
    if page == "organization-delete":
        world.rows["move"].delete()
    for reason in ({}, {"reason": ""}, {"reason": " \n"}):
        response = client.post(address, sent | reason, follow=True)
        assert "Give a reason: others will read it." in told(response)[0]
        assert reasons(PAGES[page]) == []
    client.post(address, sent | {"reason": WHY})
    assert reasons(PAGES[page]) == [WHY]


@pytest.mark.parametrize("kind", ACTIONS)
def test_an_action_of_the_admin(world: World, client: Client, kind: str) -> None:
    (action, verb), root = ACTIONS[kind], as_superuser(client)
    for reason in ("", " \n"):
        response = act(root, action, world.rows[kind], reason=reason)
        assert list(response.context["form"].errors) == ["reason"]
        assert reasons(verb) == []
    act(root, action, world.rows[kind], reason=WHY)
    assert reasons(verb) == [WHY]


def test_rotating_a_join_code_in_the_admin(world: World, client: Client) -> None:
    root, home = as_superuser(client), world.rows["organization"]
    page = url(type(home), "rotate_code", home.pk)
    response: Any = root.post(page, {"answered": "1", "reason": ""})
    assert list(response.context["form"].errors) == ["reason"]
    root.post(page, {"answered": "1", "reason": WHY})
    assert reasons("invite.rotated") == [WHY]
