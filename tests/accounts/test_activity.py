"""What is written down: each field before and after, secrets never, and what was refused."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import activity
from accounts.models import Activity, Organization
from accounts.models.records import MANY
from config.base.actor import Actor
from config.base.verbs import denied
from fallback import configuring, connecting
from tests.calling import Caller, problem
from tests.factories import (
    ConnectionFactory,
    InviteFactory,
    MembershipFactory,
    OrganizationFactory,
)
from tests.fallback.factories import FallbackConfigFactory, MoveFactory
from tests.fallback.pages import Acme

pytestmark = pytest.mark.django_db
ACTOR = Actor.system("tests")
ROWS = Activity._base_manager


@pytest.fixture
def acme() -> Acme:
    return Acme()


def last() -> Activity:
    found = Activity.objects.order_by("-id").first()
    assert found
    return found


def refused() -> list[tuple[str, str, str]]:
    """`(verb, kind of object, its name)` of what was refused, in order."""
    rows = Activity.objects.filter(refused=True).order_by("id")
    return list(rows.values_list("verb", "object_kind", "object_name"))


class TestChanges:
    def told(self, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
        organization = OrganizationFactory.build()
        change = activity.changed(before, after)
        built = activity.build(ACTOR, "a.b", organization, None, change)
        return dict(built.change)

    def test_each_field_that_differs_before_and_after(self):
        told = self.told({"name": "a", "mode": "auto"}, {"name": "b", "mode": "auto", "new": 1})
        assert told == {"name": ["a", "b"], "new": [None, 1]}

    @pytest.mark.parametrize("name", ["token", "password", "apiKey", "client_secret"])
    def test_of_a_secret_only_that_it_was_changed(self, name):
        assert self.told({name: "one"}, {name: "two"}) == {name: "changed"}
        assert self.told({}, {name: "two"}) == {name: "changed"}
        assert self.told({name: "one"}, {name: "one"}) == {}

    def test_secrets_that_lie_deeper_are_masked(self):
        told = self.told({}, {"spec": {"env": {"A": "uno"}, "token": "due", "image": "x"}})
        assert "uno" not in str(told) and "due" not in str(told) and "'image': 'x'" in str(told)

    def test_a_connection(self):
        connection = ConnectionFactory.create(token="first-secret")
        connection.token, connection.name, connection.enabled = "second-secret", "Other", False
        connecting.save(connection, ACTOR, "because")
        row = last()
        assert (row.verb, row.reason) == ("connection.changed", "because")
        assert row.change["name"][1] == "Other" and row.change["enabled"] == [True, False]
        assert row.change["token"] == "changed"
        connecting.delete(connection, ACTOR)
        assert last().verb == "connection.deleted"
        assert not any("-secret" in str(row.change) for row in Activity.objects.all())

    def test_a_config(self):
        config = FallbackConfigFactory.create()
        config.stuck_threshold_minutes, config.mode = 90, "observe"
        configuring.save_config(config, list(config.destinations.all()), ACTOR, look_up=False)
        row = last()
        assert row.verb == "config.changed" and row.change.keys() == {
            "stuck_threshold_minutes",
            "mode",
        }
        assert row.change["mode"][1] == "observe"
        configuring.delete_config(config, ACTOR, "not needed")
        row = last()
        assert (row.verb, row.reason) == ("config.deleted", "not needed")


class TestRefusedOnPages:
    TRIES = (
        ("config-switch", "config.write", "fallbackconfig"),
        ("config-delete", "config.write", "fallbackconfig"),
        ("config-repair", "config.write", "fallbackconfig"),
        ("connection-delete", "connection.write", "connection"),
        ("connection-rotate", "connection.write", "connection"),
        ("move-retry", "move.retry", "move"),
        ("move-cancel", "move.cancel", "move"),
        ("sweep-request", "sweep.run", "organization"),
        ("pause", "fallback.pause", "connection"),
    )

    @pytest.mark.parametrize(("name", "verb", "kind"), TRIES)
    def test_what_a_viewer_tried(self, acme, name, verb, kind):
        client = acme.client("viewer")
        assert client.post(acme.address(name), acme.sent(name)).status_code == 403
        row = Activity.objects.get(refused=True)
        assert (row.verb, row.object_kind) == (verb, kind)
        assert row.organization_id == acme.organization.pk
        assert (row.actor_kind, row.actor_name) == ("user", "viewer")
        assert row.address == "127.0.0.1" and row.request_id
        assert "needs the role" in row.reason and row.change == {}

    def test_reading_is_not_told(self, acme):
        client = acme.client("viewer")
        for name in ("config-edit", "connection-edit", "config-new", "connection-new"):
            assert client.get(acme.address(name)).status_code == 403
        assert refused() == []

    def test_what_is_foreign_or_anonymous_is_not_told(self, acme):
        for who in ("stranger", "anonymous"):
            acme.client(who).post(acme.address("config-delete"), {"reason": "x"})
        assert refused() == []

    def test_what_was_refused_everywhere_is_about_the_only_organization(self, acme):
        acme.client("viewer").post(acme.address("connection-new"), {"name": "x"})
        acme.client("admin").post(reverse("pause"), {"scope": "everything", "reason": "x"})
        assert refused() == [
            ("connection.write", "organization", "Acme"),
            ("fallback.pause", "organization", "Acme"),
        ]

    def test_the_administration(self, acme):
        client = acme.client("owner")
        page = reverse("admin:accounts_user_add")
        assert client.get(page).status_code == 302 and refused() == []
        assert client.post(page, {"username": "x"}).status_code == 302
        assert client.post(page, {"username": "x"}).status_code == 302
        assert refused() == [("admin.open", "organization", "Acme")]
        Client().post(page, {"username": "x"})
        acme.client("viewer").post(reverse("admin:logout"))
        assert len(refused()) == 1


class TestRefusedByTheApi:
    def caller(self, role: str, **token: Any) -> tuple[Caller, Organization]:
        member = MembershipFactory.create(role=role)
        return Caller(member.user, **token), member.organization

    def test_a_row(self):
        caller, organization = self.caller("viewer")
        move = MoveFactory.create(connection=ConnectionFactory.create(organization=organization))
        problem(caller.post(f"moves/{move.pk}/cancel", {}), 403, "RoleTooLow")
        row = Activity.objects.get(refused=True)
        assert (row.verb, row.object_kind, row.object_id) == ("move.cancel", "move", str(move.pk))
        assert (row.actor_kind, row.reason) == ("token", "This needs the role member.")

    def test_a_list(self):
        caller, organization = self.caller("viewer")
        problem(caller.post("connections", {}), 403, "RoleTooLow")
        assert refused() == [("connection.write", "organization", organization.name)]

    def test_a_token_that_may_only_read(self):
        caller, organization = self.caller("owner", read_only=True)
        problem(caller.post("sweeps", {}), 403, "ReadOnlyToken")
        assert refused() == [("sweep.run", "organization", organization.name)]
        assert last().reason == "This token may only read."

    def test_a_token_that_is_bound_or_expires(self):
        member = MembershipFactory.create(role="owner")
        bound = Caller(member.user, organization=member.organization)
        code = InviteFactory.create().code
        problem(bound.post("organizations", {"name": "Another"}), 403, "TokenBound")
        problem(bound.post(f"organizations/{code}/join"), 403, "TokenBound")
        problem(bound.patch("users/me", {"username": "eve"}), 403, "TokenTooNarrow")
        problem(bound.post("tokens", {"name": "More"}), 403, "TokenBound")
        tried = ("organization.create", "organization.join", "account.write", "token.write")
        assert [verb for verb, _, _ in refused()] == list(tried)
        assert "must name that one" in last().reason

    def test_reading_a_foreign_row_and_bad_bodies_are_not_told(self):
        caller, _ = self.caller("viewer")
        foreign = MoveFactory.create()
        assert caller.get("moves").status_code == 200
        assert caller.get(f"moves/{foreign.pk}").status_code == 404
        assert caller.post(f"moves/{foreign.pk}/cancel", {}).status_code == 404
        assert refused() == []

    def test_who_is_in_several_organizations(self):
        caller, _ = self.caller("viewer")
        assert caller.user
        MembershipFactory.create(user=caller.user, role="viewer")
        problem(caller.post("sweeps", {}), 403, "RoleTooLow")
        assert refused() == [("sweep.run", "user", caller.user.username)]
        assert last().organization_id is None


class TestNobodyFloodsTheRecord:
    def test_the_same_is_told_once_a_minute(self, acme):
        client = acme.client("viewer")
        for _ in range(3):
            client.post(acme.address("config-delete"))
            client.post(acme.address("config-switch"))
            client.post(acme.address("move-cancel"))
        assert [verb for verb, *_ in refused()] == ["config.write", "move.cancel"]
        acme.client("member").post(acme.address("config-delete"))
        assert len(refused()) == 3
        ROWS.update(created_at=timezone.now() - timedelta(seconds=61))
        client.post(acme.address("config-delete"))
        assert len(refused()) == 4

    def test_at_most_sixty_whatever_they_try(self, acme, monkeypatch):
        monkeypatch.setattr(activity, "MOST_REFUSED", 3)
        actor = acme.people["viewer"].actor()
        for _ in range(5):
            subject = OrganizationFactory.build()
            activity.refused(actor, "config.write", acme.organization.pk, subject)
        assert len(refused()) == 3

    def test_the_answer_does_not_depend_on_it(self, acme, monkeypatch):
        def away(*_: Any) -> None:
            raise DatabaseError("away")

        monkeypatch.setattr(Activity, "save", away)
        response = acme.client("viewer").post(acme.address("config-delete"))
        assert response.status_code == 403

    def test_every_verb_reads_as_a_sentence(self):
        assert denied("config.write") == "Was not allowed to change the config"
        assert denied("webhook.write") == "Was not allowed to change the webhook"
        assert denied("member.remove") == "Was not allowed to remove the member"


def test_a_bulk_insert_is_as_append_only_as_others(acme):
    rows = [activity.build(ACTOR, "a.b", acme.config, acme.organization.pk) for _ in range(3)]
    Activity.objects.bulk_create(rows)
    assert Activity.objects.filter(verb="a.b").count() == 3


@pytest.mark.parametrize("number", [0, 1, 2, 3, MANY + 1])
def test_the_newest_of_several_organizations(number):
    now = timezone.now()
    homes = [OrganizationFactory.create() for _ in range(4)]
    verbs = ["move.planned", "move.retried", "move.cancelled", "config.create"]
    for at, verb in enumerate(verbs * 4):
        row = activity.build(ACTOR, verb, homes[0], homes[at * 7 % 5 % 4].pk)
        row.created_at = now - timedelta(minutes=at * 11 % 6)  # some are of the same moment
        row.save()
    more = [uuid.uuid4() for _ in range(number - 3)]
    reader = Actor("reader", roles=dict.fromkeys([*(h.pk for h in homes[:3]), *more][:number], "x"))
    for actor in (reader, Actor.system()):
        rows = Activity.objects.exclude(verb="move.planned")
        expected = list(rows.visible_to(actor)[:5])
        assert list(rows.newest(actor, 5)) == expected
        assert bool(expected) == bool(number or actor.sees_all)
