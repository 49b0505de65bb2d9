"""Webhooks: what people do with them, by the verbs and through the API."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import delivering, messages, webhooks
from accounts.models import Activity, Delivery, Webhook
from config.base.problems import Conflict
from tests.accounts import at_once
from tests.accounts.webhooking import ADA, deliver, make, receiving, seal
from tests.administering import act, url
from tests.administering import messages as messages_of
from tests.calling import Caller, problem, results
from tests.factories import MembershipFactory, OrganizationFactory

pytestmark = pytest.mark.django_db
URL = "https://ada:pw@hooks.example.org/in?key=k1&plain"
MASKED = "https://ada:•••@hooks.example.org/in?key=•••&•••"
PLACE = "https://hooks.example.org/•••"  # what those see who may not read webhooks


@pytest.fixture
def admin(organization) -> Caller:
    return Caller(MembershipFactory.create(organization=organization, role="admin").user)


def sent(**more: Any) -> dict[str, Any]:
    return {"name": "Ops", "url": URL, "events": ["move.*", "config.changed"], **more}


class TestCreating:
    def test_the_secret_is_told_once(self, organization, admin):
        answer = admin.post("webhooks", sent())
        assert answer.status_code == 201
        assert answer.headers["Cache-Control"] == "no-store"
        body = answer.json()
        assert body["secret"].startswith("whsec_")
        webhook = Webhook.objects.get()
        assert webhook.secret == body["secret"]
        told = admin.get(f"webhooks/{webhook.pk}")
        assert "secret" not in told.json()
        assert body["secret"] not in admin.get("webhooks").content.decode()

    def test_secret_and_password_are_in_no_answer_activity_or_table(self, organization, admin):
        body = admin.post("webhooks", sent()).json()
        assert body["url"] == MASKED
        told = Activity.objects.get(verb="webhook.created")
        assert told.change["url"] == [None, PLACE]
        assert body["secret"] not in str(told.change)
        with database.cursor() as cursor:
            cursor.execute("SELECT url, secret FROM accounts_webhook")
            stored = str(cursor.fetchall())
        assert "hooks.example.org" not in stored
        assert body["secret"] not in stored

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": "<b>"}, "name"),
            ({"url": "ftp://x"}, "url"),
            ({"url": "https://"}, "url"),
            ({"url": "https://x/#part"}, "url"),
            ({"url": "https://x/a b"}, "url"),
            ({"url": MASKED}, "url"),
            ({"url": "https://x/" + "y" * 2000}, "url"),
            ({"events": []}, "events"),
            ({"events": "move.*"}, "events"),
            ({"events": ["Move"]}, "events"),
            ({"events": ["move.[ab]"]}, "events"),
            ({"events": ["a" * 61]}, "events"),
            ({"events": ["a"] * 101}, "events"),
            ({"kind": "carrier pigeon"}, "kind"),
            ({"kind": "notification"}, "url"),
            ({"secret": "mine"}, "secret"),
        ],
    )
    def test_what_is_wrong_is_said_at_its_field(self, organization, admin, wrong, field):
        found = problem(admin.post("webhooks", sent(**wrong)), 400, "Invalid")
        assert [name.partition(".")[0] for name in found["errors"]] == [field]
        assert not Webhook.objects.exists()

    @pytest.mark.parametrize(
        "address", ["http://127.0.0.1/x", "http://10.1.2.3", "http://[::1]/", "http://169.254.1.1"]
    )
    def test_private_addresses_are_refused(self, organization, admin, settings, address):
        settings.OUTBOUND_ALLOW_PRIVATE = False
        found = problem(admin.post("webhooks", sent(url=address)), 400, "Invalid")
        assert "is not a public address" in found["errors"]["url"][0]

    def test_a_name_is_taken_once_without_case(self, organization, admin):
        make(organization, name="ops")
        problem(admin.post("webhooks", sent()), 409, "NameTaken")
        other = make(organization, name="Other")
        problem(admin.patch(f"webhooks/{other.pk}", {"name": "OPS"}), 409, "NameTaken")

    def test_a_foreign_organization_is_as_unknown_as_a_random_one(self, organization, admin):
        foreign = OrganizationFactory.create()
        one = admin.post("webhooks", sent(organizationId=str(foreign.pk)))
        other = admin.post("webhooks", sent(organizationId=UNKNOWN))
        assert one.json()["errors"] == other.json()["errors"]
        assert (one.status_code, other.status_code) == (400, 400)


UNKNOWN = "6f1d2c3b-4a59-4e7f-8c6d-9b0a1f2e3d4c"


class TestChanging:
    def test_what_is_left_out_stays(self, organization, admin):
        webhook = make(organization, URL)
        answer = admin.patch(f"webhooks/{webhook.pk}", {"events": ["*"], "name": "Renamed"})
        assert (answer.json()["name"], answer.json()["events"]) == ("Renamed", ["*"])
        webhook.refresh_from_db()
        assert webhook.url == URL
        assert Activity.objects.get(verb="webhook.changed").change == {
            "name": ["Hook 1", "Renamed"]
        }

    def test_an_address_as_it_is_shown_is_no_change(self, organization, admin):
        webhook = make(organization, URL)
        shown = admin.get(f"webhooks/{webhook.pk}").json()
        assert admin.patch(f"webhooks/{webhook.pk}", shown).status_code == 200
        webhook.refresh_from_db()
        assert webhook.url == URL
        assert not Activity.objects.filter(verb="webhook.changed").exists()

    def test_another_password_is_a_change_that_is_told_without_it(self, organization):
        webhook = make(organization, URL)
        webhooks.change(webhook, ADA, {"url": URL.replace("pw", "other")}, "leaked")
        told = Activity.objects.get(verb="webhook.changed")
        assert told.change == {"url": [PLACE, "changed"]}
        assert told.reason == "leaked"

    @pytest.mark.parametrize(
        "fields", [{"kind": "notification"}, {"organizationId": UNKNOWN}], ids=["kind", "where"]
    )
    def test_kind_and_organization_stay(self, organization, admin, fields):
        problem(admin.patch(f"webhooks/{make(organization).pk}", fields), 400, "Invalid")

    def test_rotating_keeps_the_old_secret_for_a_day(self, organization, admin):
        webhook = make(organization)
        body = admin.post(f"webhooks/{webhook.pk}/rotate").json()
        before, webhook = webhook.secret, Webhook.objects.get()
        assert (webhook.secret, webhook.old_secret) == (body["secret"], before)
        assert webhook.old_secret_until
        day = webhook.old_secret_until - timezone.now()
        assert timedelta(hours=23, minutes=59) < day <= timedelta(days=1)
        told = Activity.objects.get(verb="webhook.rotated")
        assert body["secret"] not in str(told.change) and before not in str(told.change)

    def test_rotating_twice_says_which_secret_ended_before_its_time(self, organization, admin):
        webhook = make(organization)
        first = admin.post(f"webhooks/{webhook.pk}/rotate").json()
        second = admin.post(f"webhooks/{webhook.pk}/rotate").json()
        webhook = Webhook.objects.get()
        assert (webhook.secret, webhook.old_secret) == (second["secret"], first["secret"])
        rotations = Activity.objects.filter(verb="webhook.rotated").order_by("pk")
        before, after = [one.change for one in rotations]
        assert "endedBeforeItsTime" not in before
        assert after["endedBeforeItsTime"] == before["previousValidUntil"]

    def test_states_that_do_not_allow_it_are_conflicts(self, organization, admin):
        webhook = make(organization)
        problem(admin.post(f"webhooks/{webhook.pk}/resume"), 409, "Active")
        paused = admin.post(f"webhooks/{webhook.pk}/pause", {"reason": "moving house"}).json()
        assert paused["message"].endswith(": moving house")
        problem(admin.post(f"webhooks/{webhook.pk}/pause"), 409, "NotActive")
        assert admin.post(f"webhooks/{webhook.pk}/resume").json()["message"] == ""
        slack = make(organization, "mailto://a:b@example.org", kind="notification")
        problem(admin.post(f"webhooks/{slack.pk}/rotate"), 409, "NoSecret")

    def test_deleting_takes_the_deliveries_along_and_is_told(self, organization, admin):
        webhook = make(organization, URL)
        webhooks.test(webhook, ADA)
        assert admin.delete(f"webhooks/{webhook.pk}").status_code == 204
        assert not Delivery.objects.exists()
        told = Activity.objects.get(verb="webhook.deleted")
        assert (told.object_id, told.change["url"]) == (str(webhook.pk), PLACE)


class TestReading:
    def test_filters_search_and_order(self, organization, admin):
        make(organization, name="Beta")
        paused = make(organization, name="Alpha")
        webhooks.pause(paused, ADA)
        make(organization, "mailto://a:b@example.org", kind="notification", name="Mail")

        def names(**query: Any) -> list[str]:
            return [row["name"] for row in results(admin.get("webhooks", **query))]

        assert names() == ["Beta", "Alpha", "Mail"]
        assert names(ordering="name") == ["Alpha", "Beta", "Mail"]
        assert names(state="paused") == ["Alpha"]
        assert names(kind="notification") == ["Mail"]
        assert names(search="bet") == ["Beta"]
        assert problem(admin.get("webhooks", state="x"), 400, "Invalid")

    def test_where_one_is_a_member_only_webhooks_are_not_listed(self, organization, admin):
        other = make(name="Elsewhere")
        MembershipFactory.create(user=admin.user, organization=other.organization, role="member")
        make(organization, name="Here")
        assert [row["name"] for row in results(admin.get("webhooks"))] == ["Here"]
        asked = admin.get("webhooks", organization=str(other.organization.pk))
        assert results(asked) == []
        problem(admin.get(f"webhooks/{other.pk}"), 403, "RoleTooLow")

    @pytest.mark.parametrize("verb", ["get", "patch", "delete"])
    def test_a_foreign_one_is_as_unknown_as_a_random_one(self, admin, verb):
        foreign = make()
        for key in (foreign.pk, UNKNOWN, "nonsense"):
            problem(getattr(admin, verb)(f"webhooks/{key}"), 404, "NotFound")

    def test_how_often_the_database_is_asked(self, organization, admin):
        counts = []
        for _ in range(2):
            for _ in range(10):
                webhook = make(organization)
                Delivery.objects.create(webhook=webhook, event="x", attempted_at=timezone.now())
            admin.get("webhooks")
            with CaptureQueriesContext(database) as seen:
                results(admin.get("webhooks"))
            counts.append(len(seen))
        assert counts[0] == counts[1] <= 8


class TestDeliveries:
    def test_list_one_and_replay(self, organization, admin, receiver):
        webhook = make(organization, receiver.url)
        receiver.plan = [200, 500]
        seal(organization, "move.planned", "move.failed")
        deliver()
        path = f"webhooks/{webhook.pk}/deliveries"
        rows = results(admin.get(path))
        assert {row["event"] for row in rows} == {"move.planned", "move.failed"}
        assert all("body" not in row and isinstance(row["id"], str) for row in rows)
        (row,) = results(admin.get(path, state="delivered"))
        assert results(admin.get(path, event="move.nothing")) == []
        assert results(admin.get(path, id=row["id"])) == [row]
        one = admin.get(f"{path}/{row['id']}").json()
        assert one["answer"] == "thanks"
        assert one["request"]["headers"]["webhook-id"] == row["id"]
        assert one["request"]["body"] in [call["body"] for call in receiver.calls]
        assert "signature" not in str(one["request"])
        again = admin.post(f"{path}/{row['id']}/replay")
        assert again.status_code == 202
        assert again.json()["id"] != row["id"]
        pending = Delivery.objects.get(state="pending", attempts=1)
        problem(admin.post(f"{path}/{pending.message_id}/replay"), 409, "UnderWay")
        last = admin.get(f"webhooks/{webhook.pk}").json()["lastDelivery"]
        assert last["id"] == rows[0]["id"]  # the newest that was tried: not the replay yet

    def test_a_test_is_answered_at_once_and_seen_by_its_id(self, organization, admin, receiver):
        webhook = make(organization, receiver.url)
        answer = admin.post(f"webhooks/{webhook.pk}/test")
        assert answer.status_code == 202
        deliver()
        found = admin.get(f"webhooks/{webhook.pk}/deliveries/{answer.json()['id']}").json()
        assert (found["event"], found["state"], found["status"]) == (
            "webhook.test",
            "delivered",
            200,
        )

    def test_a_delivery_is_found_under_its_own_webhook_only(self, organization, admin):
        one, other = make(organization), make(organization)
        delivery = webhooks.test(one, ADA)
        there = f"deliveries/{delivery.message_id}"
        assert admin.get(f"webhooks/{one.pk}/{there}").status_code == 200
        problem(admin.get(f"webhooks/{other.pk}/{there}"), 404, "NotFound")
        for key in (delivery.pk, UNKNOWN):
            problem(admin.get(f"webhooks/{one.pk}/deliveries/{key}"), 404, "NotFound")
        foreign = make()
        path = f"webhooks/{foreign.pk}/deliveries/{webhooks.test(foreign, ADA).message_id}"
        problem(admin.get(path), 404, "NotFound")
        problem(admin.post(f"{path}/replay"), 404, "NotFound")
        problem(admin.get(f"webhooks/{foreign.pk}/deliveries"), 404, "NotFound")

    def test_a_disabled_webhook_replays_nothing(self, organization):
        webhook = make(organization)
        delivery = webhooks.test(webhook, ADA)
        Delivery.objects.update(state="failed")
        Webhook.objects.update(state="disabled")
        with pytest.raises(Conflict, match="resume it first"):
            webhooks.replay(Delivery.objects.select_related("webhook").get(), ADA)
        assert delivery.event == messages.TEST


class TestMasking:
    @pytest.mark.parametrize(
        ("kind", "address", "shown"),
        [
            ("webhook", "https://x.org", "https://x.org"),
            ("webhook", "https://token@x.org:8443/a", "https://•••@x.org:8443/a"),
            ("webhook", "https://[2606:4700::1]/a?b=c", "https://[2606:4700::1]/a?b=•••"),
            ("notification", "mailto://u:p@x.org?to=a@b.org", "mailto://x.org/•••"),
            ("notification", "slack://T1/B1/xyz", "slack://•••"),
            ("notification", "workflows://x.org:443/id/sig", "workflows://x.org:443/•••"),
        ],
    )
    def test_what_opens_it_is_hidden(self, kind, address, shown):
        assert messages.masked_url(address, kind) == shown


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    @pytest.fixture(autouse=True)
    def _shared(self) -> Iterator[None]:
        with at_once.shared():
            yield

    def test_one_pauses_it_and_one_gets_the_name(self):
        webhook = make(name="First")

        def named() -> Any:
            return make(webhook.organization, name="Same")

        acts = [lambda: webhooks.pause(webhook, ADA), named] * 8
        answers = at_once.at_once(acts)
        for found in (answers[::2], answers[1::2]):
            assert sum(isinstance(one, Webhook) for one in found) == 1
            assert sum(isinstance(one, Conflict) for one in found) == 7
        assert Activity.objects.filter(verb="webhook.paused").count() == 1

    def test_of_many_who_fan_out_one_makes_the_deliveries(self):
        webhook = make()
        seal(webhook.organization, *["move.planned"] * 40)
        answers = at_once.at_once([delivering.fan_out] * 8)
        assert sum(answers) == webhook.deliveries.count() == 40

    def test_of_many_who_claim_each_delivery_is_tried_by_one(self):
        with receiving() as receiver:
            hooks = [make(url=receiver.url) for _ in range(3)]
            for hook in hooks:
                seal(hook.organization, *["move.planned"] * 10)
            delivering.fan_out()
            at_once.at_once([lambda: delivering.deliver(10)] * 4)
            assert len(receiver.acknowledged) == len(set(receiver.acknowledged)) == 30


def test_verbs_check_what_the_admin_and_commands_give(organization):
    with pytest.raises(ValidationError) as raised:
        webhooks.create(ADA, organization, "webhook", {"name": "x", "url": "", "events": [7]})
    assert set(raised.value.message_dict) == {"url", "events"}


class TestAdmin:
    def test_lists_and_pages_show_no_secret(self, root, organization):
        webhook = make(organization, URL)
        webhook, secret = webhooks.rotate(webhook, ADA)
        delivery = webhooks.test(webhook, ADA)
        for row in (webhook, delivery):
            for page in (url(type(row), "changelist"), url(type(row), "change", row.pk)):
                response = root.get(page)
                assert response.status_code == 200
                text = response.content.decode()
                assert not any(one in text for one in (secret, webhook.old_secret, "pw@", "k1"))
        assert MASKED.replace("&", "&amp;") in root.get(url(Webhook, "changelist")).content.decode()

    def test_pause_resume_replay_and_delete(self, root, organization):
        webhook = make(organization)
        delivery = webhooks.test(webhook, ADA)
        act(root, "pause", webhook, reason="too loud")
        webhook.refresh_from_db()
        assert (webhook.state, webhook.message) == ("paused", "Paused by root: too loud")
        act(root, "resume", webhook, reason="")
        webhook.refresh_from_db()
        assert webhook.state == "active"
        refused = act(root, "replay", delivery, reason="")
        assert "under way" in messages_of(refused)[0]
        Delivery.objects.update(state="failed")
        act(root, "replay", delivery, reason="lost")
        assert Activity.objects.get(verb="webhook.replayed").reason == "lost"
        act(root, "delete_rows", webhook, reason="old")
        assert not Webhook.objects.exists()
        assert Activity.objects.get(verb="webhook.deleted").actor_name == "root"

    def test_a_lost_key_breaks_no_page(self, root, organization, settings):
        webhook = make(organization, URL)
        settings.ENCRYPTION_KEYS = ["A" * 43 + "="]
        for page in (url(Webhook, "changelist"), url(Webhook, "change", webhook.pk)):
            assert "cannot be read" in root.get(page).content.decode()
