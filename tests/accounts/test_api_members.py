"""Members and invites through the API, and that nothing foreign is in reach."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts import joining
from accounts.models import Activity, Invite, Membership, Organization
from tests.calling import NOBODYS, Caller, problem, results
from tests.factories import (
    PASSWORD,
    InviteFactory,
    MembershipFactory,
    OrganizationFactory,
    issue_token,
)

pytestmark = pytest.mark.django_db


def caller_of(organization: Organization, role: str, **token: Any) -> Caller:
    found = MembershipFactory.create(organization=organization, role=role)
    return Caller(found.user, **token)


class TestInvites:
    def test_made_listed_and_revoked(self, organization):
        admin = caller_of(organization, "admin")
        path = f"organizations/{organization.pk}/invites"
        until = (timezone.now() + timedelta(days=1)).isoformat()
        made = admin.post(path, {"role": "viewer", "expiresAt": until, "mostUses": 3}).json()
        assert (made["role"], made["mostUses"], made["uses"]) == ("viewer", 3, 0)
        assert (made["state"], made["standing"]) == ("usable", False)
        assert joining.find(made["code"]).role == "viewer"
        assert admin.get(f"{path}/{made['id']}").json() == made
        found = results(admin.get(path, standing="false"))
        assert found == [made]
        assert len(results(admin.get(path))) == 2  # and the standing one
        assert admin.delete(f"{path}/{made['id']}").status_code == 204
        assert admin.get(f"{path}/{made['id']}").json()["state"] == "revoked"
        problem(admin.delete(f"{path}/{made['id']}"), 409, "InviteRevoked")
        standing = results(admin.get(path, standing="true"))[0]
        problem(admin.delete(f"{path}/{standing['id']}"), 409, "StandingInvite")

    def test_nobody_sees_or_makes_what_is_above_them(self, organization):
        owner, admin = caller_of(organization, "owner"), caller_of(organization, "admin")
        path = f"organizations/{organization.pk}/invites"
        made = owner.post(path, {"role": "owner"}).json()
        assert made["code"]
        assert admin.get(f"{path}/{made['id']}").json()["code"] is None
        assert made["code"] not in admin.get(path).content.decode()
        problem(admin.post(path, {"role": "owner"}), 403, "RoleTooLow")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"role": "king"}, "role"),
            ({"expiresAt": "2001-01-01T00:00:00Z"}, "expiresAt"),
            ({"expiresAt": "soon"}, "expiresAt"),
            ({"mostUses": 0}, "mostUses"),
            ({"mostUses": 10**12}, "mostUses"),
            ({"uses": 1}, "uses"),
        ],
    )
    def test_a_mistake_names_its_field(self, organization, body, field):
        admin = caller_of(organization, "admin")
        answer = admin.post(f"organizations/{organization.pk}/invites", body)
        assert list(problem(answer, 400, "Invalid")["errors"]) == [field]

    def test_a_code_is_stored_in_no_way_that_can_be_read(self, organization):
        admin = caller_of(organization, "admin")
        code = admin.get(f"organizations/{organization.pk}").json()["inviteCode"]
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM accounts_invite")
            assert code not in str(cursor.fetchall())
        assert Invite.objects.get().code == code


class TestMembers:
    def test_listed(self, organization):
        MembershipFactory.create_batch(3, organization=organization)
        viewer = caller_of(organization, "viewer")
        assert viewer.user
        path = f"organizations/{organization.pk}/members"
        assert len(results(viewer.get(path))) == 4
        (me,) = results(viewer.get(path, role="viewer"))
        assert me["user"] == {
            "id": str(viewer.user.pk),
            "username": viewer.user.username,
            "email": viewer.user.email,
            "isActive": True,
        }
        assert results(viewer.get(path, userId=viewer.user.pk)) == [me]
        assert results(viewer.get(path, search=viewer.user.email)) == [me]
        problem(viewer.get(path, color="red"), 400, "Invalid")

    def test_the_list_costs_the_same_however_long(self, owner, django_assert_max_num_queries):
        caller = Caller(owner.user)
        MembershipFactory.create_batch(20, organization=owner.organization)
        with django_assert_max_num_queries(10):
            assert len(results(caller.get(f"organizations/{owner.organization_id}/members"))) == 21

    def test_a_role_is_changed(self, owner):
        found = MembershipFactory.create(organization=owner.organization)
        path = f"organizations/{owner.organization_id}/members/{found.pk}"
        caller = Caller(owner.user)
        answer = caller.patch(path, {"role": "admin", "reason": "promoted"})
        assert answer.json()["role"] == "admin"
        assert Activity.objects.get(verb="member.changed").reason == "promoted"
        assert list(problem(caller.patch(path, {"role": "king"}), 400, "Invalid")["errors"]) == [
            "role"
        ]

    def test_an_admin_neither_touches_nor_makes_owners(self, owner):
        admin = caller_of(owner.organization, "admin")
        path = f"organizations/{owner.organization_id}/members"
        problem(admin.patch(f"{path}/{owner.pk}", {"role": "viewer"}), 403, "RoleTooLow")
        problem(admin.delete(f"{path}/{owner.pk}"), 403, "RoleTooLow")
        assert admin.user
        mine = results(admin.get(path, userId=admin.user.pk))[0]["id"]
        problem(admin.patch(f"{path}/{mine}", {"role": "owner"}), 403, "RoleTooLow")

    def test_the_last_owner_stays(self, owner):
        caller = Caller(owner.user)
        path = f"organizations/{owner.organization_id}/members/{owner.pk}"
        problem(caller.patch(path, {"role": "admin"}), 409, "LastOwner")
        problem(caller.delete(path), 409, "LastOwner")

    @pytest.mark.parametrize("role", ["viewer", "member", "admin"])
    def test_one_leaves_by_oneself(self, organization, role):
        found = MembershipFactory.create(organization=organization, role=role)
        path = f"organizations/{organization.pk}/members/{found.pk}"
        problem(Caller(found.user, read_only=True).delete(path), 403, "ReadOnlyToken")
        assert Caller(found.user).delete(path).status_code == 204
        assert Activity.objects.get(refused=False).verb == "member.left"

    def test_and_removes_others_as_an_admin(self, organization):
        found = MembershipFactory.create(organization=organization)
        path = f"organizations/{organization.pk}/members/{found.pk}"
        problem(caller_of(organization, "member").delete(path), 403, "RoleTooLow")
        assert caller_of(organization, "admin").delete(path).status_code == 204
        assert not Membership.objects.filter(pk=found.pk).exists()


class TestForeign:
    """A foreign id is as unknown as a random one, wherever it stands."""

    @pytest.mark.parametrize("kind", ["members", "invites"])
    def test_in_an_address(self, owner, kind):
        foreign = MembershipFactory.create(role="owner")
        row = (
            foreign
            if kind == "members"
            else InviteFactory.create(organization=foreign.organization)
        )
        caller, home = Caller(owner.user), owner.organization_id
        answers = []
        for path in (
            f"organizations/{foreign.organization_id}/{kind}",
            f"organizations/{foreign.organization_id}/{kind}/{row.pk}",
            f"organizations/{home}/{kind}/{row.pk}",
            f"organizations/{NOBODYS}/{kind}",
            f"organizations/{home}/{kind}/{NOBODYS}",
            f"organizations/nonsense/{kind}",
            f"organizations/{home}/{kind}/nonsense",
        ):
            answers.append(problem(caller.get(path), 404, "NotFound"))
        assert all(answer == answers[0] for answer in answers)

    def test_in_a_filter(self, owner):
        foreign = MembershipFactory.create()
        caller, path = Caller(owner.user), f"organizations/{owner.organization_id}/members"
        assert results(caller.get(path, userId=foreign.user_id)) == []
        assert results(caller.get(path, userId=NOBODYS)) == []
        told = [
            caller.get("organizations", organization=key).json()
            for key in (str(foreign.organization_id), NOBODYS, foreign.organization.slug)
        ]
        assert told[0] == told[1] == told[2]

    def test_a_stranger_with_any_role_learns_nothing(self, owner):
        stranger = caller_of(OrganizationFactory.create(), "viewer")
        for pk in (owner.organization_id, NOBODYS):
            problem(stranger.get(f"organizations/{pk}"), 404, "NotFound")
            problem(stranger.get(f"organizations/{pk}/invites"), 404, "NotFound")
            problem(stranger.post(f"organizations/{pk}/invites", {}), 404, "NotFound")
            problem(stranger.patch(f"organizations/{pk}", {"name": "x"}), 404, "NotFound")


def test_a_membership_that_was_ended_is_ended_for_tokens_at_once(owner):
    found = MembershipFactory.create(organization=owner.organization)
    _, secret = issue_token(found.user)
    mine = Caller(secret=secret)
    path = f"organizations/{owner.organization_id}"
    assert mine.get(path).status_code == 200
    assert Caller(owner.user).delete(f"{path}/members/{found.pk}").status_code == 204
    problem(mine.get(path), 404, "NotFound")
    assert found.user.check_password(PASSWORD)
