"""`Idempotency-Key`: the first answer again, and nothing is done twice."""

import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import DatabaseError, connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from rest_framework.response import Response

from accounts import idempotency
from accounts.idempotency import HEADER, REPLAYED, prune_keys
from accounts.models import Activity, ApiToken, IdempotencyKey, Membership
from config.base.api import Strict
from fallback.models import Connection, Pause, Sweep
from tests.accounts.at_once import at_once, shared
from tests.calling import Caller, problem
from tests.factories import PASSWORD, ConnectionFactory, MembershipFactory, issue_token
from tests.test_routes import TABLE, World

KEY = {HEADER: "7c9f"}
pytestmark = pytest.mark.django_db


def pausing(remote: Connection, reason: str = "why") -> dict[str, Any]:
    return {"connectionId": str(remote.pk), "reason": reason}


def died(age: timedelta) -> None:
    """As a process leaves it that was killed while it acted."""
    IdempotencyKey.objects.update(status=None, created_at=timezone.now() - age)


class TestAgain:
    def test_the_first_answer_comes_again_and_nothing_is_done(self, caller, remote):
        first = caller.post("sweeps", {}, **KEY)
        again = caller.post("sweeps", {}, **KEY)
        assert (first.status_code, again.status_code) == (202, 202)
        assert again.content == first.content
        assert again.headers["Content-Type"] == first.headers["Content-Type"]
        assert (REPLAYED in first.headers, again.headers[REPLAYED]) == (False, "true")
        assert Sweep.objects.count() == 1
        assert caller.post("sweeps", {}, **{HEADER: "other"}).json()["id"] != first.json()["id"]

    def test_an_answer_whose_key_is_gone_is_not_given_and_nothing_is_done(
        self, caller, remote, settings
    ):
        caller.post("sweeps", {}, **KEY)
        settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        problem(caller.post("sweeps", {}, **KEY), 409, "OutcomeUnknown")
        assert Sweep.objects.count() == 1

    def test_its_time_is_the_first_answers_its_request_id_is_new(self, caller, remote):
        first = caller.post("pauses", pausing(remote), **KEY, **{"X-Request-ID": "one"})
        again = caller.post("pauses", pausing(remote), **KEY, **{"X-Request-ID": "two"})
        assert again.json() == first.json()
        assert again.headers["X-Request-ID"] == "two"

    @pytest.mark.parametrize("path", ["sweeps/", "v1/sweeps", "v1/sweeps/"])
    def test_either_root_and_the_slash_are_one_path(self, caller, remote, path):
        caller.post("sweeps", {}, **KEY)
        assert caller.post(path, {}, **KEY).headers[REPLAYED] == "true"
        assert Sweep.objects.count() == 1

    def test_another_body_or_query_is_422(self, caller, remote):
        caller.post("pauses", pausing(remote), **KEY)
        answer = caller.post("pauses", pausing(remote, "another"), **KEY)
        problem(answer, 422, "IdempotencyKeyReused")
        problem(caller.post("pauses?colour=red", pausing(remote), **KEY), 400, "Invalid")
        assert Pause.objects.get().reason == "why"

    def test_a_conflict_comes_again_too(self, caller, remote):
        made = caller.post("pauses", pausing(remote)).json()
        first = caller.post("pauses", pausing(remote), **KEY)
        caller.delete(f"pauses/{made['id']}")
        again = caller.post("pauses", pausing(remote), **KEY)
        assert (first.status_code, first.content) == (409, again.content)
        assert again.headers["Content-Type"] == "application/problem+json"
        assert not Pause.objects.exists()

    def test_after_a_refusal_that_did_nothing_the_key_is_free(self, caller, remote):
        problem(caller.post("pauses", {"reason": ""}, **KEY), 400, "Invalid")
        problem(caller.post("pauses", {"x": "y" * 3_000_000}, **KEY), 413, "TooLarge")
        assert not IdempotencyKey.objects.exists()
        assert caller.post("pauses", pausing(remote), **KEY).status_code == 201

    def test_a_failure_frees_it_too(self, caller, remote, monkeypatch):
        caller.client = Client(raise_request_exception=False)
        with monkeypatch.context() as patch:
            patch.setattr("fallback.pausing.pause", lambda *_: 1 // 0)
            problem(caller.post("pauses", pausing(remote), **KEY), 500, "InternalError")
        assert caller.post("pauses", pausing(remote), **KEY).status_code == 201

    def test_who_may_not_leaves_nothing(self, organization, remote):
        viewer = Caller(MembershipFactory.create(organization=organization, role="viewer").user)
        problem(viewer.post("pauses", pausing(remote), **KEY), 403, "RoleTooLow")
        problem(viewer.post(f"connections/{remote.pk}/enable", {}, **KEY), 403, "RoleTooLow")
        problem(Caller().post("pauses", pausing(remote), **KEY), 401, "NotAuthenticated")
        assert not IdempotencyKey.objects.exists()

    def test_who_may_no_longer_gets_no_old_answer(self, caller, owner, remote):
        assert caller.post("pauses", pausing(remote), **KEY).status_code == 201
        Membership.objects.filter(pk=owner.pk).update(role="viewer")
        problem(caller.post("pauses", pausing(remote), **KEY), 403, "RoleTooLow")
        ApiToken.objects.update(revoked_at=timezone.now())
        problem(caller.post("pauses", pausing(remote), **KEY), 401, "TokenRevoked")


class TestWhose:
    def test_each_token_and_each_person_has_keys_of_its_own(self, owner, caller, remote):
        session = Client()
        session.force_login(owner.user)
        send = session.post
        for _ in range(2):
            caller.post("sweeps", {}, **KEY)
            Caller(owner.user).post("sweeps", {}, **KEY)
            assert send("/api/sweeps", "{}", "application/json", headers=KEY).status_code == 202
        assert Sweep.objects.count() == 1 + 2 + 1  # both of Caller(…) were new tokens

    def test_each_address_has_keys_of_its_own(self, caller, remote):
        other = ConnectionFactory.create(organization=remote.organization, enabled=False)
        for row in (remote, other):
            answer = caller.post(f"connections/{row.pk}/enable", {}, **KEY)
            assert answer.json()["id"] == str(row.pk)

    def test_without_a_caller_it_means_nothing(self, user):
        sent = {"username": user.username, "password": PASSWORD}
        first, second = (Caller().post("token", sent, **KEY) for _ in range(2))
        assert (first.status_code, second.status_code) == (200, 200)
        assert not IdempotencyKey.objects.exists()

    def test_other_methods_ignore_it(self, caller, remote):
        for _ in range(2):
            answer = caller.send("PATCH", f"connections/{remote.pk}", {"name": "New"}, **KEY)
            assert answer.status_code == 200
        assert not IdempotencyKey.objects.exists()

    @pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ü", "a\x7f", "a\tb", "\N{SNOWMAN}"])
    def test_a_key_that_is_none_is_told_by_name(self, caller, remote, key):
        told = problem(caller.post("sweeps", {}, **{HEADER: key}), 400, "Invalid")
        assert list(told["errors"]) == [HEADER]
        assert not Sweep.objects.exists()

    @pytest.mark.parametrize("key", ["x", "!", '"7c9f"', "~" * 255])
    def test_any_visible_ascii_is_a_key(self, caller, remote, key):
        assert caller.post("sweeps", {}, **{HEADER: key}).status_code == 202
        assert caller.post("sweeps", {}, **{HEADER: key}).headers[REPLAYED] == "true"


class TestUnderWay:
    def test_the_second_hears_that_the_first_is_under_way(self, caller, remote):
        caller.post("sweeps", {}, **KEY)
        died(timedelta(seconds=5))
        problem(caller.post("sweeps", {}, **KEY), 409, "RequestInProgress")
        problem(caller.post("sweeps", {"dryRun": True}, **KEY), 422, "IdempotencyKeyReused")

    def test_of_one_that_died_nobody_knows_what_it_did(self, caller, remote):
        caller.post("sweeps", {}, **KEY)
        for age in (timedelta(seconds=61), timedelta(hours=23)):
            died(age)
            problem(caller.post("sweeps", {}, **KEY), 409, "OutcomeUnknown")
        assert Sweep.objects.count() == 1

    def test_so_it_is_where_the_answer_could_not_be_kept(self, caller, remote, monkeypatch):
        def away(*_: Any) -> bool:
            raise DatabaseError

        with monkeypatch.context() as patch:
            patch.setattr(idempotency, "kept", away)
            assert caller.post("sweeps", {}, **KEY).status_code == 202
        problem(caller.post("sweeps", {}, **KEY), 409, "RequestInProgress")


class TestDay:
    def test_after_a_day_a_key_is_new(self, caller, remote):
        caller.post("sweeps", {}, **KEY)
        died(timedelta(hours=24))
        assert REPLAYED not in caller.post("sweeps", {"dryRun": True}, **KEY).headers
        assert IdempotencyKey.objects.get().status == 202

    def test_old_ones_are_pruned(self, caller, remote):
        caller.post("sweeps", {}, **KEY)
        died(timedelta(hours=23))
        assert prune_keys() == 0
        died(timedelta(hours=24))
        assert prune_keys() == 1


class TestSecrets:
    @pytest.mark.parametrize(
        "answer",
        [
            {"id": 1, "secret": "abc"},
            {"token": {"token": "abc"}},
            {"accessToken": "abc"},
            {"text": "use swy_0123456789abcdefghij"},
            {"signing": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]},
        ],
    )
    def test_an_answer_with_a_secret_is_not_kept(self, caller, remote, monkeypatch, answer):
        monkeypatch.setattr(
            "fallback.api.moves.Sweeps.create", lambda *_: Response(answer, status=201)
        )
        assert caller.post("sweeps", {}, **KEY).json() == answer
        problem(caller.post("sweeps", {}, **KEY), 409, "SecretAlreadyShown")
        row = IdempotencyKey.objects.get()
        assert (row.status, row.answer, row.had_secret) == (201, "", True)

    @pytest.mark.parametrize("answer", [{"tokenType": "x", "hasToken": True, "secret": ""}, {}])
    def test_what_is_none_is_kept(self, caller, remote, monkeypatch, answer):
        monkeypatch.setattr("fallback.api.moves.Sweeps.create", lambda *_: Response(answer))
        caller.post("sweeps", {}, **KEY)
        assert caller.post("sweeps", {}, **KEY).json() == answer

    def test_the_row_tells_neither_body_nor_path_nor_answer(self, caller, remote):
        caller.post("pauses", pausing(remote, "hunter2"), **KEY)
        caller.post(f"connections/{remote.pk}/enable", {}, **KEY)
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM accounts_idempotencykey")
            rows = cursor.fetchall()
        assert len(rows) == 2
        for row in rows:
            told = json.dumps(row, default=str)
            assert "hunter2" not in told and str(remote.pk) not in told
        paths = IdempotencyKey.objects.order_by("id").values_list("path", flat=True)
        assert [path.split()[0] for path in paths] == ["pause-list", "connection-enable"]

    def test_what_is_not_json_comes_again_byte_for_byte(self, caller, remote, monkeypatch):
        raw = bytes(range(256))
        answer = HttpResponse(raw, content_type="text/csv", headers={"Location": "/x"})
        monkeypatch.setattr("fallback.api.moves.Sweeps.create", lambda *_: answer)
        caller.post("sweeps", {}, **KEY)
        again = caller.post("sweeps", {}, **KEY)
        assert again.content == raw
        assert (again.headers["Content-Type"], again.headers["Location"]) == ("text/csv", "/x")


def test_each_post_of_the_api_keeps_the_rule():
    """A view without `Strict` would act twice."""
    for resolver in get_resolver().url_patterns:
        if isinstance(resolver, URLResolver) and resolver.namespace == "api":
            for pattern in resolver.url_patterns:
                assert isinstance(pattern, URLPattern)
                view: Any = getattr(pattern.callback, "cls", None)
                if view is not None and ("post" in getattr(pattern.callback, "actions", ["post"])):
                    assert issubclass(view, Strict) or not hasattr(view, "post"), pattern


SHOWN_ONCE = {"POST tokens", "POST webhooks", "POST webhooks/{pk}/rotate"}
WITHOUT_A_CALLER = {"POST token", "POST users"}


def test_each_post_of_the_api_may_be_sent_again():
    """Whatever it does: once, and then the first answer, or that it was a secret."""
    world = World()
    owner = world.callers["owner"]
    secrets = set()
    for route in TABLE:
        if not route.startswith("POST") or route in WITHOUT_A_CALLER:
            continue
        address, body = world.address(route), world.body(route)
        before = transaction.savepoint()
        first = owner.post(address, body, **KEY)
        done = Activity.objects.count()
        again = owner.post(address, body, **KEY)
        assert Activity.objects.count() == done, route
        transaction.savepoint_rollback(before)
        assert first.status_code < 300, route
        if again.status_code == 409:
            problem(again, 409, "SecretAlreadyShown")
            secrets.add(route)
        else:
            assert (again.status_code, again.content) == (first.status_code, first.content), route
            assert again.headers[REPLAYED] == "true", route
    assert secrets == SHOWN_ONCE


@pytest.mark.django_db(transaction=True)
def test_of_several_at_once_exactly_one_acts():
    with shared():
        membership = MembershipFactory.create(role="owner")
        ConnectionFactory.create(organization=membership.organization)
        secret = issue_token(membership.user)[1]
        for turn in range(5):
            key = {HEADER: f"turn-{turn}"}
            send = partial(Caller(secret=secret).post, "sweeps", {}, **key)
            found = at_once([send] * 6)
            told = {
                (answer.status_code, answer.json().get("code", ""), answer.headers.get(REPLAYED))
                for answer in found
            }
            assert told <= {
                (202, "", None),
                (202, "", "true"),
                (409, "RequestInProgress", None),
            }
            done = [answer for answer in found if answer.status_code == 202]
            assert [REPLAYED in answer.headers for answer in done].count(False) == 1
            assert len({answer.json()["id"] for answer in done}) == 1
        assert Sweep.objects.count() == 5
