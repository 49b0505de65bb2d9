"""Signing up, organizations and joining them through the API."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from accounts.models import Activity, Organization, User
from tests.calling import NOBODYS, Caller, problem, results
from tests.factories import (
    InviteFactory,
    MembershipFactory,
    OrganizationFactory,
    UserFactory,
)
from tests.fallback.factories import MoveFactory

pytestmark = pytest.mark.django_db
ADA = {"email": "ada@example.org", "username": "ada", "password": "crane at dawn"}


def caller_of(organization: Organization, role: str, **token: Any) -> Caller:
    found = MembershipFactory.create(organization=organization, role=role)
    return Caller(found.user, **token)


def make(name: str = "Analytics") -> tuple[Caller, Any]:
    """An organization's owner, and what was told when it was made."""
    caller = Caller(UserFactory.create())
    answer = caller.post("organizations", {"name": name})
    assert answer.status_code == 201, answer.content
    return caller, answer.json()


class TestSigningUp:
    def test_then_signing_in_and_making_an_organization(self):
        answer = Caller().post("users", ADA)
        assert answer.status_code == 201
        assert answer.json().keys() == {"id", "username", "email", "createdAt"}
        assert ADA["password"] not in answer.content.decode()
        assert User.objects.get().password != ADA["password"]
        signed_in = Caller().post("token", {"username": "ada", "password": ADA["password"]}).json()
        caller = Caller(secret=signed_in["accessToken"])
        assert caller.post("organizations", {"name": "Analytics"}).status_code == 201
        told = Activity.objects.get(verb="account.signed_up")
        assert (told.actor_name, told.organization_id) == ("ada", None)
        assert ADA["password"] not in str(list(Activity.objects.values()))

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"email": "ADA@Example.org"}, "EmailTaken"),
            ({"username": "ADA"}, "UsernameTaken"),
        ],
    )
    def test_what_is_taken_in_any_case(self, changes, code):
        UserFactory.create(email="ada@example.org", username="ada")
        new = {"email": "b@example.org", "username": "bob", "password": "crane at dawn"}
        problem(Caller().post("users", new | changes), 409, code)
        assert User.objects.count() == 1

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"password": "short"}, "password"),
            ({"password": "12345678901"}, "password"),
            ({"password": "ada@example.org"}, "password"),
            ({"password": "x" * 1001}, "password"),
            ({"password": ""}, "password"),
            ({"email": "nobody"}, "email"),
            ({"email": f"{'a' * 250}@example.org"}, "email"),
            ({"username": "white space"}, "username"),
            ({"username": "a@b"}, "username"),
            ({"username": "🚀"}, "username"),
            ({"username": ""}, "username"),
            ({"isSuperuser": True}, "isSuperuser"),
        ],
    )
    def test_a_mistake_names_its_field(self, changes, field):
        answer = Caller().post("users", ADA | changes)
        assert list(problem(answer, 400, "Invalid")["errors"]) == [field]
        assert not User.objects.exists()

    def test_closed(self, settings):
        settings.SIGNUP = "closed"
        code = InviteFactory.create().code
        for body in (ADA, ADA | {"inviteCode": code}):
            found = problem(Caller().post("users", body), 403, "SignUpNotOpen")
            assert (
                found["detail"] == "Nobody can sign up here. Ask an administrator for an account."
            )
        assert not User.objects.exists()

    def test_by_invite(self, settings):
        settings.SIGNUP = "invite"
        over = InviteFactory.create(expires_at=timezone.now() - timedelta(seconds=1))
        for code in ("", "nope", over.code):
            problem(Caller().post("users", ADA | {"inviteCode": code}), 403, "SignUpNotOpen")
        problem(Caller().post("users", ADA), 403, "SignUpNotOpen")
        invite = InviteFactory.create(most_uses=1)
        assert Caller().post("users", ADA | {"inviteCode": invite.code}).status_code == 201
        ada = Caller(User.objects.get())
        bob = {"email": "bob@example.org", "username": "bob", "inviteCode": invite.code}
        found = problem(Caller().post("users", ADA | bob), 403, "SignUpNotOpen")
        assert found["detail"].startswith("As many have signed up by this invite as may join")
        assert ada.post(f"organizations/{invite.code}/join").status_code == 200

    def test_an_invite_without_a_limit_and_one_that_is_not_needed(self, settings):
        limited, free = InviteFactory.create(most_uses=1), InviteFactory.create()
        for signup, invite in (("invite", free), ("open", limited)):
            settings.SIGNUP = signup
            for number in range(2):
                name = f"{signup}{number}"
                body = ADA | {"email": f"{name}@example.org", "username": name}
                made = Caller().post("users", body | {"inviteCode": invite.code})
                assert made.status_code == 201

    def test_too_many_from_one_address(self, monkeypatch):
        counts: dict[str, int] = {}

        def incr(key: str, step: int) -> int:
            counts[key] = counts.get(key, 0) + step
            return counts[key]

        monkeypatch.setattr(cache, "add", lambda *_: True)
        monkeypatch.setattr(cache, "incr", incr)
        for number in range(30):
            body = ADA | {"email": f"a{number}@example.org", "username": f"a{number}"}
            assert Caller().post("users", body).status_code == 201
        answer = Caller().post("users", ADA)
        problem(answer, 429, "Throttled")
        assert 0 < int(answer.headers["Retry-After"]) <= 300


class TestOrganizations:
    def test_one_is_made(self):
        caller, made = make()
        assert made.keys() == {"id", "name", "slug", "role", "inviteCode", "createdAt"}
        assert (made["name"], made["slug"], made["role"]) == ("Analytics", "analytics", "owner")
        assert caller.get(f"organizations/{made['id']}").json() == made
        assert results(caller.get("organizations")) == [made]
        me = caller.get("users/me").json()
        assert me["memberships"][0]["role"] == "owner"

    @pytest.mark.parametrize("name", ["", "🚀", "a" * 101, None, 7, {}])
    def test_a_bad_name(self, user, name):
        answer = Caller(user).post("organizations", {"name": name})
        if name == 7:  # a number can be read as text
            assert answer.status_code == 201
        else:
            assert list(problem(answer, 400, "Invalid")["errors"]) == ["name"]

    def test_a_taken_name(self, user):
        make()
        problem(Caller(user).post("organizations", {"name": "ANALYTICS"}), 409, "NameTaken")

    def test_superusers_alone_where_it_is_set_so(self, user, settings):
        settings.ORGANIZATION_CREATE = "superuser"
        found = problem(Caller(user).post("organizations", {"name": "A"}), 403, "RoleTooLow")
        assert "superuser" in found["detail"]
        root = Caller(UserFactory.create(is_superuser=True))
        assert root.post("organizations", {"name": "A"}).status_code == 201

    @pytest.mark.parametrize(
        ("role", "seen"), [("viewer", False), ("member", False), ("admin", True), ("owner", True)]
    )
    def test_the_code_is_for_admins_and_owners(self, organization, role, seen):
        caller = caller_of(organization, role)
        for told in (
            caller.get(f"organizations/{organization.pk}").json(),
            results(caller.get("organizations"))[0],
        ):
            assert bool(told["inviteCode"]) is seen
        reading = caller_of(organization, role, read_only=True)
        assert reading.get(f"organizations/{organization.pk}").json()["inviteCode"] is None

    def test_a_list_costs_the_same_however_long(self, user, django_assert_max_num_queries):
        caller, counts = Caller(user), []
        for _ in range(2):
            for _ in range(10):
                MembershipFactory.create(user=user, role="owner")
            caller.get("organizations")
            with django_assert_max_num_queries(12) as seen:
                assert all(row["inviteCode"] for row in results(caller.get("organizations")))
            counts.append(len(seen))
        assert counts[0] == counts[1]

    def test_searched_filtered_and_ordered(self, user):
        for name in ("One", "Two", "Three"):
            MembershipFactory.create(user=user, organization=OrganizationFactory.create(name=name))
        caller = Caller(user)
        names = [row["name"] for row in results(caller.get("organizations", ordering="-name"))]
        assert names == ["Two", "Three", "One"]
        assert len(results(caller.get("organizations", search="t"))) == 2
        assert len(results(caller.get("organizations", slug="one"))) == 1
        assert len(results(caller.get("organizations", organization="two"))) == 1

    def test_renaming(self):
        caller, made = make()
        OrganizationFactory.create(name="Other")
        path = f"organizations/{made['id']}"
        told = caller.patch(path, {"name": "Renamed"}).json()
        assert (told["name"], told["slug"]) == ("Renamed", "analytics")
        problem(caller.patch(path, {"name": "other"}), 409, "NameTaken")
        assert caller.patch(path, {}).json()["name"] == "Renamed"

    def test_deleting(self):
        caller, made = make()
        path = f"organizations/{made['id']}"
        for body in ({}, {"name": "something else"}):
            assert list(problem(caller.send("DELETE", path, body), 400, "Invalid")["errors"]) == [
                "name"
            ]
        assert caller.send("DELETE", path, {"name": "Analytics"}).status_code == 204
        problem(caller.get(path), 404, "NotFound")
        assert results(caller.get("organizations")) == []
        assert caller.get("users/me").json()["memberships"] == []
        root = Caller(UserFactory.create(is_superuser=True))
        problem(root.get(path), 404, "NotFound")
        problem(caller.post(f"organizations/{made['inviteCode']}/join"), 404, "NotFound")

    def test_not_while_moves_are_open(self, owner):
        move = MoveFactory.create(connection__organization=owner.organization)
        body = {"name": owner.organization.name}
        caller = Caller(owner.user)
        found = problem(
            caller.send("DELETE", f"organizations/{owner.organization_id}", body), 409, "Running"
        )
        assert move.source_run_name in found["detail"]

    def test_a_token_bound_to_one_makes_and_joins_no_other(self, owner):
        token = {"organization": owner.organization}
        caller = Caller(owner.user, **token)
        problem(caller.post("organizations", {"name": "Another"}), 403, "TokenBound")
        code = InviteFactory.create().code
        problem(caller.post(f"organizations/{code}/join"), 403, "TokenBound")


class TestJoining:
    def test_by_the_standing_code(self, user):
        _, made = make()
        answer = Caller(user).post(f"organizations/{made['inviteCode']}/join")
        assert answer.status_code == 200
        told = answer.json()
        assert told.keys() == {"id", "organization", "role", "createdAt"}
        assert (told["organization"]["id"], told["role"]) == (made["id"], "member")
        problem(
            Caller(user).post(f"organizations/{made['inviteCode']}/join/"), 409, "AlreadyMember"
        )

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"revoked_at": -1}, "InviteRevoked"),
            ({"expires_at": -1}, "InviteExpired"),
            ({"most_uses": 1, "uses": 1}, "InviteUsedUp"),
        ],
    )
    def test_a_code_that_is_over(self, user, fields, code):
        past = timezone.now() - timedelta(seconds=1)
        fields = {name: past if value == -1 else value for name, value in fields.items()}
        invite = InviteFactory.create(**fields)
        problem(Caller(user).post(f"organizations/{invite.code}/join"), 410, code)

    @pytest.mark.parametrize("code", ["nope", NOBODYS, "%00", "x" * 2000, "..%2f", "🚀"])
    def test_an_unknown_code(self, user, code):
        problem(Caller(user).post(f"organizations/{code}/join"), 404, "NotFound")

    def test_rotating(self, organization, user):
        admin = caller_of(organization, "admin")
        path = f"organizations/{organization.pk}"
        before = admin.get(path).json()["inviteCode"]
        after = admin.post(f"{path}/rotate").json()["inviteCode"]
        assert after and after != before
        problem(Caller(user).post(f"organizations/{before}/join"), 410, "InviteRevoked")
        assert Caller(user).post(f"organizations/{after}/join").status_code == 200
