"""What hurts asks why: the API takes a reason, and pages do, required where others are affected."""

from typing import Any

import pytest
from django.urls import reverse

from accounts.models import Activity, Membership
from config.api import description
from tests.accounts.browsing import signed_in
from tests.accounts.webhooking import make
from tests.calling import Caller, problem
from tests.factories import ConnectionFactory, InviteFactory, MembershipFactory, issue_token
from tests.fallback.factories import FallbackConfigFactory, MoveFactory, PauseFactory

pytestmark = pytest.mark.django_db
REQUIRED = 'name="reason" maxlength="500" required'


def addresses(owner: Membership) -> dict[str, str]:
    """What is ended, and by which call."""
    home = owner.organization
    below = f"organizations/{home.pk}"
    remote = ConnectionFactory.create(organization=home)
    config = FallbackConfigFactory.create(connection=ConnectionFactory.create(organization=home))
    move = MoveFactory.create(connection=config.connection)
    member = MembershipFactory.create(organization=home)
    return {
        "member.removed": f"DELETE {below}/members/{member.pk}",
        "invite.revoked": f"DELETE {below}/invites/{InviteFactory.create(organization=home).pk}",
        "invite.rotated": f"POST {below}/rotate",
        "token.revoked": f"DELETE tokens/{issue_token(owner.user)[0].pk}",
        "webhook.deleted": f"DELETE webhooks/{make(home).pk}",
        "connection.deleted": f"DELETE connections/{remote.pk}",
        "move.cancelled": f"POST moves/{move.pk}/cancel",
        "config.deleted": f"DELETE fallback-configs/{config.pk}",
        "fallback.resumed": f"DELETE pauses/{PauseFactory.create(connection=config.connection).pk}",
    }


def test_each_call_that_ends_something_takes_a_reason(owner):
    caller = Caller(owner.user)
    for verb, call in addresses(owner).items():
        method, _, path = call.partition(" ")
        problem(caller.send(method, path, {"reason": ["why"]}), 400, "Invalid")
        answer = caller.send(method, path, {"reason": "It leaked"})
        assert answer.status_code == (204 if method == "DELETE" else 200), call
        assert Activity.objects.get(verb=verb).reason == "It leaked", verb


def test_each_delete_says_so():
    told: list[Any] = [
        methods["delete"].get("requestBody")
        for methods in description()["paths"].values()
        if "delete" in methods
    ]
    assert all(told) and len(told) == 8


def test_pages_ask_where_others_are_affected(owner):
    home = owner.organization
    member = MembershipFactory.create(organization=home)
    invite = InviteFactory.create(organization=home)
    client = signed_in(owner.user)
    for name, key in (
        ("member", member.pk),
        ("invite-revoke", invite.pk),
        ("organization", home.pk),
    ):
        page = client.get(reverse(name, args=[key])).content.decode()
        assert REQUIRED in " ".join(page.split()), name
    signed_in(owner.user)
    client.post(reverse("sessions-end-others"), {"reason": "A lost phone"})
    assert Activity.objects.get(verb="session.others_ended").reason == "A lost phone"
