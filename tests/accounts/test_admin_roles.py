"""Roles as the admin's page of a person gives them."""

from typing import Any

import pytest

from accounts.models import Activity, Membership, User
from tests.administering import messages, url
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db


def form(user: User, *members: Membership) -> dict[str, Any]:
    """What the page of `user` sends, unchanged."""
    count = str(len(members))
    data = {"username": user.username, "email": user.email}
    data |= {"memberships-TOTAL_FORMS": count, "memberships-INITIAL_FORMS": count}
    for number, member in enumerate(members):
        row = {"id": member.pk, "organization": member.organization_id, "role": member.role}
        data |= {f"memberships-{number}-{name}": str(value) for name, value in row.items()}
    return data


def test_a_role_elsewhere_is_not_given_here(root):
    member = MembershipFactory.create()
    other = OrganizationFactory.create()
    data = form(member.user, member)
    data |= {"memberships-0-organization": str(other.pk), "memberships-0-role": "owner"}
    page = root.post(url(User, "change", member.user_id), data, follow=True)
    assert "A membership stays where it is" in messages(page)[0]
    member.refresh_from_db()
    assert member.role == "member" and not Activity.objects.exists()


def test_who_is_no_superuser_any_more_is_told_to_their_sockets(root, monkeypatch):
    told: list[Any] = []
    monkeypatch.setattr("accounts.live.rights_changed", told.append)
    user = UserFactory.create(is_superuser=True, is_staff=True)
    root.post(url(User, "change", user.pk), form(user))
    user.refresh_from_db()
    assert (user.is_superuser, told) == (False, [user.pk])
