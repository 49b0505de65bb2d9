"""Signing in to the API, what tokens may do, and what people see of themselves."""

import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts import activity
from accounts.models import Activity, ApiToken, Membership, Organization, User
from accounts.throttling import Attempt
from fallback.models import Move, Sweep
from tests.calling import Caller, results
from tests.factories import (
    PASSWORD,
    ConnectionFactory,
    MembershipFactory,
    OrganizationFactory,
    UserFactory,
    issue_token,
)
from tests.fallback.factories import MoveFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return UserFactory.create(username="ada", email="ada@example.org")


def sign_in(**body: Any) -> Any:
    return Caller().post("token", body)


def refused(answer: Any, code: str, status: int = 401) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)


class TestToken:
    @pytest.mark.parametrize(
        "name", [{"username": "ada"}, {"email": "Ada@example.org"}, {"username": "ADA@EXAMPLE.ORG"}]
    )
    def test_by_name_or_email(self, ada, name):
        answer = sign_in(**name, password=PASSWORD)
        assert answer.status_code == 200
        body = answer.json()
        assert body["accessToken"] == body["access_token"]
        assert body["tokenType"] == body["token_type"] == "bearer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert Caller(secret=body["accessToken"]).get("users/me").json()["username"] == "ada"

    def test_as_a_form_with_oauths_fields(self, ada):
        form = {"grant_type": "password", "username": "ada", "password": PASSWORD, "scope": ""}
        answer = Client().post(
            "/api/token", urlencode(form), content_type="application/x-www-form-urlencoded"
        )
        assert answer.status_code == 200

    def test_it_lasts_half_a_day_and_has_a_name(self, ada):
        sign_in(username="ada", password=PASSWORD)
        token = ApiToken.objects.get()
        assert token.name == "Signed in with a password"
        assert token.expires_at is not None
        lasts = token.expires_at - timezone.now()
        assert timedelta(hours=11) < lasts <= timedelta(hours=12)
        with time_machine.travel(timezone.now() + timedelta(hours=13)):
            sign_in(username="ada", password=PASSWORD)
        assert ApiToken.objects.exclude(pk=token.pk).get()  # the old one is gone

    def test_an_activity_tells_of_it(self, ada):
        sign_in(username="ada", password=PASSWORD)
        row = Activity.objects.get()
        assert (row.verb, row.actor_name, row.organization_id) == ("token.issued", "ada", None)

    @pytest.mark.parametrize(
        "body",
        [
            {"username": "ada", "password": "wrong"},
            {"username": "nobody", "password": PASSWORD},
            {"email": "nobody@example.org", "password": PASSWORD},
        ],
    )
    def test_not_with_anything_wrong(self, ada, body):
        answer = sign_in(**body)
        refused(answer, "BadCredentials")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_not_when_deactivated(self, ada):
        User.objects.update(is_active=False)
        refused(sign_in(username="ada", password=PASSWORD), "BadCredentials")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"username": "ada"}, "password"),
            ({"password": "x"}, "username"),
            ({"username": {"a": 1}, "password": "x"}, "username"),
            ({"username": "x" * 300, "password": "x"}, "username"),
            ({"username": "a\0", "password": "x"}, "username"),
        ],
    )
    def test_a_mistake_is_named(self, ada, body, field):
        answer = sign_in(**body)
        refused(answer, "Invalid", 400)
        assert field in answer.json()["errors"]

    def test_spaces_in_a_password_count(self, ada):
        ada.set_password("  spaces  ")
        ada.save()
        assert sign_in(username="ada", password="  spaces  ").status_code == 200
        refused(sign_in(username="ada", password="spaces"), "BadCredentials")

    def test_what_else_the_request_carries_does_not_matter(self, ada):
        caller = Caller(secret="nonsense")
        answer = caller.post("token", {"username": "ada", "password": PASSWORD})
        assert answer.status_code == 200


class TestThrottle:
    @pytest.fixture(autouse=True)
    def counting(self, settings):
        backend = "django.core.cache.backends.locmem.LocMemCache"
        settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "throttle"}}
        cache.clear()
        yield
        cache.clear()

    @time_machine.travel("2026-01-01T00:01:00Z", tick=False)
    def test_an_account_may_be_tried_ten_times(self, ada):
        for _ in range(10):
            refused(sign_in(username="ada", password="wrong"), "BadCredentials")
        answer = sign_in(username="ADA", password=PASSWORD)
        refused(answer, "Throttled", 429)
        assert answer.headers["Retry-After"] == "240"
        with time_machine.travel("2026-01-01T00:05:01Z"):
            assert sign_in(username="ada", password=PASSWORD).status_code == 200

    def test_others_may_go_on(self, ada):
        for _ in range(11):
            sign_in(username="ada", password="wrong")
        UserFactory.create(username="bob")
        assert sign_in(username="bob", password=PASSWORD).status_code == 200

    def test_success_does_not_count(self, ada):
        for _ in range(12):
            assert sign_in(username="ada", password=PASSWORD).status_code == 200

    @time_machine.travel("2026-01-01T00:01:00Z", tick=False)
    def test_an_address_may_try_a_hundred_times(self):
        assert not any(Attempt(f"user{n}", "192.0.2.1").begin() for n in range(100))
        assert Attempt("another", "192.0.2.1").begin() == 240
        assert Attempt("another", "192.0.2.2").begin() == 0

    def test_names_are_not_in_the_cache(self):
        Attempt("ada@example.org", "192.0.2.1").begin()
        stored = str(list(cache._cache))  # type: ignore[attr-defined]
        assert "sign-in:account:" in stored
        assert not re.search(r"@|example|192\.0", stored)

    def test_without_the_broker_nobody_is_kept_out(self, ada, settings):
        settings.CACHES = {
            "default": {
                "BACKEND": "config.base.cache.FailOpen",
                "LOCATION": "unix:///nowhere/valkey.sock",
            }
        }
        for _ in range(12):
            refused(sign_in(username="ada", password="wrong"), "BadCredentials")
        assert sign_in(username="ada", password=PASSWORD).status_code == 200


class TestTokens:
    def test_one_that_is_unknown_expired_or_revoked(self, ada):
        refused(Caller(secret="swy_nonsense").get("moves"), "TokenUnknown")
        refused(Caller(secret="ü").get("moves"), "TokenUnknown")
        now = timezone.now()
        token, secret = issue_token(ada)
        for field, code in (("expires_at", "TokenExpired"), ("revoked_at", "TokenRevoked")):
            ApiToken.objects.filter(pk=token.pk).update(**{field: now})
            refused(Caller(secret=secret).get("moves"), code)

    def test_one_of_somebody_who_is_deactivated(self, ada):
        caller = Caller(ada)
        User.objects.update(is_active=False)
        refused(caller.get("moves"), "AccountInactive")

    @pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Token x", "", "Bearer  "])
    def test_what_is_no_token(self, db, header):
        answer = Client().get("/api/moves", headers={"Authorization": header})
        assert answer.status_code == 401

    def test_the_schemes_name_has_no_case(self, ada):
        _, secret = issue_token(ada)
        headers = {"Authorization": f"bEARER  {secret} "}
        assert Client().get("/api/users/me", headers=headers).status_code == 200

    def test_read_only_reads(self, owner):
        ConnectionFactory.create(organization=owner.organization)
        caller = Caller(owner.user, read_only=True)
        assert results(caller.get("connections"))
        refused(caller.post("sweeps", {}), "ReadOnlyToken", 403)
        refused(caller.delete(f"moves/{owner.pk}"), "MethodNotAllowed", 405)
        refused(caller.delete(f"connections/{owner.pk}"), "ReadOnlyToken", 403)
        assert not Sweep.objects.exists()

    def test_bound_to_an_organization_it_sees_that_one(self, owner):
        other = MembershipFactory.create(user=owner.user)
        for organization in (owner.organization, other.organization):
            MoveFactory.create(connection=ConnectionFactory.create(organization=organization))
        caller = Caller(owner.user, organization=owner.organization)
        (row,) = results(caller.get("moves"))
        assert row["organizationId"] == str(owner.organization_id)
        foreign = Move.objects.get(organization=other.organization)
        assert caller.get(f"moves/{foreign.pk}").status_code == 404
        memberships = caller.get("users/me").json()["memberships"]
        assert [m["organization"]["slug"] for m in memberships] == [owner.organization.slug]

    def test_a_superusers_token_sees_all_unless_it_is_bound(self):
        root = UserFactory.create(is_superuser=True)
        membership = MembershipFactory.create(user=root)
        MoveFactory.create()
        assert len(results(Caller(root).get("moves"))) == 1
        assert results(Caller(root, organization=membership.organization).get("moves")) == []

    def test_its_last_use_is_noted_once_a_minute(self, ada):
        caller = Caller(ada)
        begun = timezone.now()
        with time_machine.travel(begun, tick=False):
            caller.get("users/me")
            assert ApiToken.objects.get().last_used_at == begun
        with time_machine.travel(begun + timedelta(seconds=50), tick=False):
            caller.get("users/me")
            assert ApiToken.objects.get().last_used_at == begun
        with time_machine.travel(begun + timedelta(seconds=61), tick=False):
            caller.get("users/me")
            assert ApiToken.objects.get().last_used_at == timezone.now()

    def test_the_organizations_end_is_the_end_of_it(self, owner):
        MoveFactory.create(connection=ConnectionFactory.create(organization=owner.organization))
        Organization.objects.update(deleted_at=timezone.now())
        assert results(Caller(owner.user).get("moves")) == []


class TestSession:
    @pytest.fixture
    def client(self, owner: Membership) -> Client:
        client = Client(enforce_csrf_checks=True)
        client.force_login(owner.user)
        return client

    def test_reading_needs_nothing_more(self, client):
        assert client.get("/api/moves").status_code == 200

    def test_writing_needs_the_csrf_token(self, client, owner):
        ConnectionFactory.create(organization=owner.organization)
        refused(client.post("/api/sweeps", content_type="application/json"), "CsrfFailed", 403)
        client.cookies["csrftoken"] = secret = "a" * 32
        answer = client.post(
            "/api/sweeps", content_type="application/json", headers={"X-CSRFToken": secret}
        )
        assert answer.status_code == 202
        assert Activity.objects.get().actor_kind == "user"

    def test_a_token_goes_before_it(self, client):
        headers = {"Authorization": "Bearer nonsense"}
        refused(client.get("/api/moves", headers=headers), "TokenUnknown")

    def test_somebody_deactivated_is_out(self, client):
        User.objects.update(is_active=False)
        refused(client.get("/api/moves"), "NotAuthenticated")


class TestMe:
    def test_memberships_and_roles(self, owner):
        other = MembershipFactory.create(user=owner.user, role="viewer")
        body = Caller(owner.user).get("users/me").json()
        assert body["username"] == owner.user.username
        roles = {m["organization"]["id"]: m["role"] for m in body["memberships"]}
        assert roles == {
            str(owner.organization_id): "owner",
            str(other.organization_id): "viewer",
        }
        assert body["token"]["name"] == "test"
        assert "password" not in json.dumps(body).lower()

    def test_with_a_session_there_is_no_token(self, owner):
        client = Client()
        client.force_login(owner.user)
        assert client.get("/api/users/me").json()["token"] is None

    def test_an_organization_that_is_gone_is_not_told(self, owner):
        Organization.objects.update(deleted_at=timezone.now())
        assert Caller(owner.user).get("users/me").json()["memberships"] == []


class TestActivity:
    def test_it_is_ours_alone_and_can_be_filtered(self, owner):
        actor = owner.user.actor()
        foreign = OrganizationFactory.create()
        activity.record(actor, "a.b", owner.organization, owner.organization_id, reason="because")
        activity.record(actor, "c.d", owner.organization, owner.organization_id)
        activity.record(actor, "e.f", foreign, foreign.pk)
        activity.record(actor, "g.h", owner.user, None)
        caller = Caller(owner.user)
        assert [row["verb"] for row in results(caller.get("activity"))] == ["c.d", "a.b"]
        assert len(results(caller.get("activity?verb=a.b&verb=e.f"))) == 1
        assert len(results(caller.get("activity", search="because"))) == 1
        assert len(results(caller.get("activity", objectId=owner.organization_id))) == 2
        assert len(results(caller.get("activity", actorId=owner.user_id))) == 2
        assert len(results(caller.get("activity", organization=owner.organization.slug))) == 2
        root = UserFactory.create(is_superuser=True)
        assert len(results(Caller(root).get("activity"))) == 4
