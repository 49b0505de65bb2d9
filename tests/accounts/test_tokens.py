"""API tokens: issued, shown once, used, revoked, and never able to make what can do more."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from accounts import tokens
from accounts.models import Activity, ApiToken, Membership, User
from config.base.problems import Conflict
from tests.calling import NOBODYS, Caller, problem, results
from tests.factories import (
    PASSWORD,
    MembershipFactory,
    OrganizationFactory,
    UserFactory,
    issue_token,
)

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def ada() -> User:
    return UserFactory.create(username="ada")


@pytest.fixture
def membership(ada: User) -> Membership:
    return MembershipFactory.create(user=ada)


def made(caller: Caller, **body: Any) -> Any:
    answer = caller.post("tokens", {"name": "Another", **body})
    assert answer.status_code == 201, answer.content
    return answer.json()


def refused(caller: Caller, code: str, **body: Any) -> Any:
    return problem(caller.post("tokens", {"name": "Another", **body}), 403, code)


def wrong(caller: Caller, field: str, **body: Any) -> str:
    errors = problem(caller.post("tokens", {"name": "Another", **body}), 400, "Invalid")["errors"]
    assert set(errors) == {field}
    return str(errors[field])


class TestIssuing:
    def test_the_secret_is_told_this_once_and_works(self, ada):
        caller = Caller(ada)
        answer = caller.post("tokens", {"name": "Nightly report"})
        assert answer.headers["Cache-Control"] == "no-store"
        body = answer.json()
        secret = body["token"]
        assert secret.startswith(body["prefix"]) and len(secret) > 40
        row = ApiToken.objects.get(pk=body["id"])
        assert secret not in str(vars(row)) and row.digest == ApiToken.digest_of(secret)
        assert Caller(secret=secret).get("users/me").json()["token"]["name"] == "Nightly report"
        shown = caller.get(f"tokens/{row.pk}")
        assert secret not in shown.content.decode() and "token" not in shown.json()
        assert secret not in caller.get("tokens").content.decode()

    def test_an_activity_tells_of_it_without_the_secret(self, ada):
        body = made(Caller(ada), readOnly=True)
        row = Activity.objects.get(verb="token.issued")
        assert (row.organization_id, row.object_id, row.refused) == (None, body["id"], False)
        assert row.change["read_only"] is True
        assert body["token"] not in str(vars(row))

    def test_what_is_asked_for_is_what_one_gets(self, ada, membership):
        ends = timezone.now() + 24 * HOUR
        home = str(membership.organization_id)
        body = made(Caller(ada), readOnly=True, expiresAt=ends.isoformat(), organizationId=home)
        assert (body["readOnly"], body["organizationId"]) == (True, home)
        assert datetime.fromisoformat(body["expiresAt"]) == ends
        plain = made(Caller(ada))
        assert (plain["readOnly"], plain["organizationId"], plain["expiresAt"]) == (
            False,
            None,
            None,
        )

    def test_an_expiry_lies_ahead_and_not_too_far(self, ada):
        now = timezone.now()
        assert "future" in wrong(Caller(ada), "expiresAt", expiresAt=(now - HOUR).isoformat())
        far = (now + timedelta(days=6 * 365)).isoformat()
        assert "5 years" in wrong(Caller(ada), "expiresAt", expiresAt=far)
        made(Caller(ada), expiresAt=(now + timedelta(days=4 * 365)).isoformat())

    @pytest.mark.parametrize("name", ["", " ", "<b>", "x" * 101, "signed in WITH a password"])
    def test_a_name_that_cannot_be(self, ada, name):
        wrong(Caller(ada), "name", name=name)

    def test_unknown_fields_are_refused(self, ada):
        wrong(Caller(ada), "superuser", superuser=True)

    def test_a_foreign_organization_is_as_unknown_as_none(self, ada):
        foreign = OrganizationFactory.create()
        first = wrong(Caller(ada), "organizationId", organizationId=str(foreign.pk))
        assert first == wrong(Caller(ada), "organizationId", organizationId=NOBODYS)

    def test_a_superuser_binds_to_an_organization_of_theirs_alone(self):
        root = UserFactory.create(is_superuser=True)
        foreign = OrganizationFactory.create()
        told = wrong(Caller(root), "organizationId", organizationId=str(foreign.pk))
        assert "not a member" in told

    def test_by_a_session(self, ada):
        client = Client()
        client.force_login(ada)
        answer = client.post("/api/tokens", {"name": "By hand"}, content_type="application/json")
        assert answer.status_code == 201
        assert Activity.objects.get(verb="token.issued").actor_kind == "user"


class TestNoMoreThanItself:
    def test_a_token_that_reads_makes_none(self, ada):
        refused(Caller(ada, read_only=True), "ReadOnlyToken")
        reader = Caller(ada, read_only=True)
        row = ApiToken.objects.first()
        assert row is not None
        problem(reader.delete(f"tokens/{row.pk}"), 403, "ReadOnlyToken")
        with pytest.raises(tokens.PermissionDenied):
            tokens.issue(ApiToken.objects.select_related("user")[0].actor(), "x")
        assert not ApiToken.objects.filter(name="Another").exists()

    def test_one_that_is_bound_makes_one_bound_to_the_same(self, ada, membership):
        other = MembershipFactory.create(user=ada).organization
        caller = Caller(ada, organization=membership.organization)
        refused(caller, "TokenBound")
        refused(caller, "TokenBound", organizationId=None)
        wrong(caller, "organizationId", organizationId=str(other.pk))
        home = str(membership.organization_id)
        assert made(caller, organizationId=home)["organizationId"] == home

    def test_not_even_for_a_superuser(self, membership):
        User.objects.update(is_superuser=True)
        ada = User.objects.get()
        refused(Caller(ada, organization=membership.organization), "TokenBound")

    def test_one_that_is_bound_sees_and_revokes_no_other(self, ada, membership):
        free, _ = issue_token(ada)
        caller = Caller(ada, organization=membership.organization)
        (row,) = results(caller.get("tokens"))
        assert row["organizationId"] == str(membership.organization_id)
        assert caller.delete(f"tokens/{free.pk}").status_code == 404

    def test_what_it_makes_does_not_outlive_it(self, ada):
        end = timezone.now() + HOUR
        caller = Caller(ada, expires_at=end)
        refused(caller, "TokenOutlived")
        refused(caller, "TokenOutlived", expiresAt=(end + HOUR).isoformat())
        made(caller, expiresAt=end.isoformat())

    def test_who_has_given_a_password_may_make_one_for_good(self, ada):
        answer = Caller().post("token", {"username": "ada", "password": PASSWORD})
        assert made(Caller(secret=answer.json()["accessToken"]))["expiresAt"] is None

    def test_the_role_is_the_persons_as_it_is_now(self, ada, membership):
        secret = made(Caller(ada))["token"]
        Membership.objects.update(role="viewer")
        problem(Caller(secret=secret).post("sweeps", {}), 403, "RoleTooLow")


class TestRevoking:
    def test_it_stops_at_once_and_its_row_stays(self, ada):
        caller, doomed = Caller(ada), Caller(ada)
        row = ApiToken.objects.latest("created_at")
        assert caller.delete(f"tokens/{row.pk}").status_code == 204
        problem(doomed.get("users/me"), 401, "TokenRevoked")
        assert caller.get(f"tokens/{row.pk}").json()["revokedAt"]
        assert Activity.objects.get(verb="token.revoked").object_id == str(row.pk)

    def test_twice_is_a_conflict(self, ada):
        caller = Caller(ada)
        row, _ = issue_token(ada)
        caller.delete(f"tokens/{row.pk}")
        problem(caller.delete(f"tokens/{row.pk}"), 409, "Revoked")
        with pytest.raises(Conflict):
            tokens.revoke(row, ada.actor())
        assert Activity.objects.filter(verb="token.revoked").count() == 1

    def test_others_are_out_of_reach_also_for_superusers(self, ada):
        row, _ = issue_token(ada)
        for who in (UserFactory.create(), UserFactory.create(is_superuser=True)):
            caller = Caller(who)
            for pk in (row.pk, NOBODYS):
                assert caller.get(f"tokens/{pk}").status_code == 404
                assert caller.delete(f"tokens/{pk}").status_code == 404
            assert str(row.pk) not in caller.get("tokens").content.decode()


class TestList:
    def test_filters_and_search(self, ada, membership):
        caller = Caller(ada)
        home = membership.organization
        issue = ApiToken.objects.issue
        issue(ada, "Bound", organization=home)
        issue(ada, "Reader", read_only=True)
        gone, _ = issue(ada, "Gone")
        old, _ = issue(ada, "Old")
        past = timezone.now() - HOUR
        ApiToken.objects.filter(pk=gone.pk).update(revoked_at=past)
        ApiToken.objects.filter(pk=old.pk).update(expires_at=past)

        def names(**query: Any) -> set[str]:
            return {row["name"] for row in results(caller.get("tokens", **query))}

        every = {"test", "Bound", "Reader", "Gone", "Old"}
        assert names() == every
        assert names(revoked="true") == {"Gone"}
        assert names(revoked="false") == every - {"Gone"}
        assert names(revoked=["true", "false"]) == every
        assert names(expired="true") == {"Old"}
        assert names(readOnly="true") == {"Reader"}
        assert names(organization=home.slug) == names(organizationId=str(home.pk)) == {"Bound"}
        assert names(search="read") == {"Reader"}
        assert names(search=gone.prefix) == {"Gone"}
        assert names(name=["Old", "Gone"]) == {"Old", "Gone"}
        ordered = results(caller.get("tokens", ordering="name"))
        assert [row["name"] for row in ordered] == sorted(every)
        problem(caller.get("tokens", digest="x"), 400, "Invalid")

    def test_it_asks_equally_often_however_many_there_are(self, ada, django_assert_num_queries):
        caller = Caller(ada)
        caller.get("tokens")
        for _ in range(30):
            issue_token(ada)
        with django_assert_num_queries(6):
            assert len(results(caller.get("tokens"))) == 31


class TestLastUse:
    def test_when_and_from_where_once_a_minute(self, ada):
        caller = Caller(ada)
        begun = timezone.now()
        for seconds, address in ((0, "192.0.2.1"), (30, "192.0.2.2"), (61, "192.0.2.3")):
            with time_machine.travel(begun + timedelta(seconds=seconds), tick=False):
                caller.client.get("/api/users/me", headers=caller.headers, REMOTE_ADDR=address)
        row = ApiToken.objects.get()
        assert row.last_used_at == begun + timedelta(seconds=61)
        assert row.last_used_address == "192.0.2.3"

    def test_between_it_is_not_written(self, ada):
        caller = Caller(ada)
        caller.get("users/me")
        with watching() as seen:
            caller.get("users/me")
        assert not seen

    @pytest.mark.django_db(transaction=True)
    def test_outside_of_transactions(self, ada):
        """An answer that waits for a lock, or fails, takes the note with it otherwise."""
        caller = Caller(ada)
        with watching() as seen:
            caller.post("tokens", {"name": "Another"})
        assert seen == [False]


class watching:
    """Whether a transaction was open, for each UPDATE of tokens."""

    def __enter__(self) -> list[bool]:
        self.seen: list[bool] = []
        self.context = connection.execute_wrapper(self._look)
        self.context.__enter__()
        return self.seen

    def __exit__(self, *error: Any) -> None:
        self.context.__exit__(*error)

    def _look(self, execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith('UPDATE "accounts_apitoken"'):
            self.seen.append(connection.in_atomic_block)
        return execute(sql, *rest)


def test_the_verb_names_the_fields(ada):
    actor = ada.actor()
    with pytest.raises(ValidationError) as caught:
        tokens.issue(actor, tokens.SIGN_IN, expires_at=timezone.now() + timedelta(days=5000))
    assert set(caught.value.message_dict) == {"name", "expires_at"}
    with transaction.atomic():
        token, secret = tokens.issue(actor, "Fine")
    assert str(token).startswith("Fine (swy_") and secret not in str(token)
