"""Invites: who makes them, who gets in by them, and how they end."""

import io
import logging
import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import joining, live
from accounts.models import Activity, Invite, Membership, Organization, User
from config.base.actor import Actor
from config.base.problems import Conflict
from config.base.redaction import keyed_hash, without_codes
from tests.factories import (
    InviteFactory,
    MembershipFactory,
    OrganizationFactory,
    UserFactory,
    issue_token,
)

pytestmark = pytest.mark.django_db


def actor_of(organization: Organization, role: str) -> Actor:
    return MembershipFactory.create(organization=organization, role=role).user.actor()


def verbs() -> list[str]:
    return list(Activity.objects.order_by("id").values_list("verb", flat=True))


class TestJoining:
    def test_a_use_is_counted_and_the_role_is_the_invites(self, user, organization):
        invite = InviteFactory.create(organization=organization, role="admin", most_uses=2)
        made = joining.join(invite.code, user.actor())
        assert (made.user, made.organization, made.role) == (user, organization, "admin")
        invite.refresh_from_db()
        assert invite.uses == 1
        found = Activity.objects.get()
        assert (found.verb, found.organization_id) == ("member.joined", organization.pk)
        assert found.change["role"] == "admin"
        assert invite.code not in str(found.change) + found.object_name

    def test_who_is_a_member_already_uses_nothing_up(self, owner):
        invite = InviteFactory.create(organization=owner.organization, most_uses=1)
        with pytest.raises(Conflict) as caught:
            joining.join(invite.code, owner.user.actor())
        assert caught.value.code == "AlreadyMember"
        invite.refresh_from_db()
        owner.refresh_from_db()
        assert (invite.uses, owner.role) == (0, "owner")

    @pytest.mark.parametrize(
        "code", ["", "nope", "x" * 10_000, "\ud800".encode("utf-8", "replace").decode()]
    )
    def test_an_unknown_code(self, user, code):
        with pytest.raises(joining.Unknown):
            joining.join(code, user.actor())

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"revoked_at": timedelta(0)}, "InviteRevoked"),
            ({"expires_at": timedelta(seconds=-1)}, "InviteExpired"),
            ({"most_uses": 3, "uses": 3}, "InviteUsedUp"),
        ],
    )
    def test_one_that_is_over(self, user, fields, code):
        fields = {
            name: timezone.now() + value if isinstance(value, timedelta) else value
            for name, value in fields.items()
        }
        invite = InviteFactory.create(**fields)
        with pytest.raises(joining.Unusable) as caught:
            joining.join(invite.code, user.actor())
        assert caught.value.code == code
        assert not Membership.objects.exists()

    def test_a_deleted_organization_is_unknown(self, user, organization):
        invite = InviteFactory.create(organization=organization)
        Organization.objects.update(deleted_at=timezone.now())
        with pytest.raises(joining.Unknown):
            joining.join(invite.code, user.actor())

    def test_open_sockets_of_the_one_who_joined_hear_of_it(self, user, monkeypatch):
        told: list[Any] = []
        monkeypatch.setattr(live, "rights_changed", told.append)
        joining.join(InviteFactory.create().code, user.actor())
        assert told == [user.pk]


class TestInvites:
    def test_one_is_made_with_a_code_that_is_stored_encrypted(self, organization):
        actor = actor_of(organization, "admin")
        until = timezone.now() + timedelta(days=1)
        made = joining.invite(organization, actor, "viewer", until, 5)
        assert len(made.code) == 32 and made.code_hash == keyed_hash(made.code)
        with connection.cursor() as cursor:
            cursor.execute("SELECT code FROM accounts_invite")
            assert made.code not in str(cursor.fetchall())
        assert joining.find(made.code) == made
        assert made.code not in str(list(Activity.objects.values()))
        assert verbs() == ["invite.created"]

    @pytest.mark.parametrize(("role", "highest"), [("admin", "admin"), ("owner", "owner")])
    def test_nobody_invites_above_their_own_role(self, organization, role, highest):
        actor = actor_of(organization, role)
        for wanted in ("viewer", "member", "admin", "owner"):
            if wanted == "owner" and highest == "admin":
                with pytest.raises(PermissionDenied):
                    joining.invite(organization, actor, wanted)
            else:
                assert joining.invite(organization, actor, wanted).role == wanted

    @pytest.mark.parametrize(
        ("role", "days", "uses", "field"),
        [
            ("king", None, None, "role"),
            ("member", -1, None, "expires_at"),
            ("member", None, 0, "most_uses"),
            ("member", None, 10**9, "most_uses"),
        ],
    )
    def test_a_mistake_names_its_field(self, organization, role, days, uses, field):
        until = timezone.now() + timedelta(days=days) if days else None
        with pytest.raises(ValidationError) as caught:
            joining.invite(organization, actor_of(organization, "owner"), role, until, uses)
        assert list(caught.value.message_dict) == [field]
        assert not Invite.objects.exists()

    def test_a_revoked_one_stays_so(self, organization):
        actor, invite = actor_of(organization, "admin"), InviteFactory.create()
        joining.revoke(invite, actor, "no more")
        assert joining.state_of(Invite.objects.get()) == "revoked"
        with pytest.raises(Conflict):
            joining.revoke(invite, actor)
        assert Activity.objects.get().reason == "no more"


class TestStanding:
    def test_it_is_made_where_there_is_none_and_stays(self, organization):
        other = OrganizationFactory.create()
        found = joining.standing([organization.pk])
        again = joining.standing([organization.pk, other.pk])
        assert again[organization.pk].code == found[organization.pk].code
        assert again[other.pk].code != found[organization.pk].code
        assert Invite.objects.count() == 2

    def test_all_of_a_list_cost_one_query(self, organization, django_assert_num_queries):
        ids = [OrganizationFactory.create().pk for _ in range(20)]
        joining.standing(ids)
        with django_assert_num_queries(1):
            joining.standing(ids)
        with django_assert_num_queries(0):
            joining.standing([])

    def test_rotating_ends_the_one_before(self, organization):
        actor, user = actor_of(organization, "admin"), UserFactory.create()
        before = joining.standing([organization.pk])[organization.pk]
        after = joining.rotate(organization, actor, "it leaked")
        assert joining.standing([organization.pk])[organization.pk] == after
        with pytest.raises(joining.Unusable):
            joining.join(before.code, user.actor())
        assert joining.join(after.code, user.actor()).role == "member"
        assert verbs() == ["invite.rotated", "member.joined"]
        told = str(list(Activity.objects.values()))
        assert before.code not in told and after.code not in told

    def test_it_is_rotated_not_revoked(self, organization):
        invite = joining.standing([organization.pk])[organization.pk]
        with pytest.raises(Conflict) as caught:
            joining.revoke(invite, actor_of(organization, "owner"))
        assert caught.value.code == "StandingInvite"


def test_a_person_may_be_in_several(user: User):
    for _ in range(2):
        joining.join(InviteFactory.create().code, user.actor())
    assert Membership.objects.filter(user=user).count() == 2


class TestLogs:
    """A code lets somebody in: no line of a log may hold one."""

    @pytest.fixture
    def lines(self) -> Iterator[io.StringIO]:
        """What the process writes to standard error, as it is configured to."""
        handler = logging.getLogger().handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        root, found = logging.getLogger(), io.StringIO()
        level, before = root.level, handler.setStream(found)
        root.setLevel("INFO")
        yield found
        root.setLevel(level)
        handler.setStream(before)

    @pytest.mark.parametrize(
        "address",
        [
            "/join/{}/",
            "/join/{}",
            "/api/organizations/{}/join",
            "/api/v1/organizations/{}/join/?a=b",
            "/sign-in/?next=/join/{}/",
            "/sign-up/?next=%2Fjoin%2F{}%2F",
            "/sign-up/?next=%252Fjoin%252F{}%252F",
            "/join//{}/",
            "/JOIN/{}/",
        ],
    )
    @pytest.mark.parametrize("known", [True, False])
    def test_a_request_is_told_without_its_code(self, user, lines, address, known):
        code = InviteFactory.create().code if known else secrets.token_urlsafe(24)
        for client in (Client(), Client()):
            client.get(address.format(code))
            client.post(address.format(code))
            client.force_login(user)
        told = lines.getvalue()
        assert told.count("request_started") == 4 and "•••" in told
        assert code not in told

    @pytest.mark.parametrize(
        "address",
        ["/api/moves?token={}", "/ws/live?access_token={}", "/sign-in/?next=/%3Fkey%3D{}"],
    )
    def test_a_token_in_an_address_is_not_told(self, user, lines, address):
        _, secret = issue_token(user)
        Client().get(address.format(secret), headers={"X-Request-ID": secret})
        assert "swy_•••" in lines.getvalue() and secret not in lines.getvalue()

    def test_other_addresses_stay_as_they_are(self):
        for text in (
            "/organizations/6f1d2c3b-4a59-4e7f-8c6d-9b0a1f2e3d4c/",
            "/api/organizations/6f1d2c3b-4a59-4e7f-8c6d-9b0a1f2e3d4c/members",
            "join us / join them",
        ):
            assert without_codes(text) == text
