"""The pages of webhooks: who may open them, and what people do there."""

from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts import webhooks
from accounts.models import Activity, Delivery, Organization, User, Webhook
from tests.accounts.browsing import crumbs_of
from tests.accounts.webhooking import ADA, deliver, make, receiving, seal
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db
ROLES = ("viewer", "member", "admin", "owner")
PEOPLE = ("anonymous", "stranger", *ROLES)
URL = "https://ada:pw@hooks.example.org/in?key=k1"

LIST = (302, 403, 403, 403, 200, 200)
READ = (302, 404, 403, 403, 200, 200)
DEED = (302, 404, 403, 403, 302, 302)
ADDRESSES: dict[str, tuple[str, tuple[int, ...]]] = {
    "webhooks": ("get", LIST),
    "webhook-rows": ("get", LIST),
    "webhook-new": ("get", LIST),
    "webhook": ("get", READ),
    "webhook-now": ("get", READ),
    "webhook-edit": ("get", READ),
    "webhook-pause": ("post", DEED),
    "webhook-resume": ("post", DEED),
    "webhook-rotate": ("post", READ),  # it shows the secret
    "webhook-test": ("post", DEED),
    "webhook-delete": ("post", DEED),
    "delivery": ("get", READ),
    "delivery-now": ("get", READ),
    "delivery-replay": ("post", DEED),
}


class Home:
    """An organization with a webhook and a delivery, and its people."""

    def __init__(self) -> None:
        self.organization: Organization = OrganizationFactory.create(name="Acme")
        self.webhook = make(self.organization, URL, name="Ops")
        self.delivery = Delivery.objects.create(
            webhook=self.webhook, event="move.failed", body='{"type":"x"}', state="failed"
        )
        self.people: dict[str, User | None] = {"anonymous": None}
        self.people["stranger"] = UserFactory.create(username="stranger")
        for role in ROLES:
            user = self.people[role] = UserFactory.create(username=role)
            MembershipFactory.create(user=user, organization=self.organization, role=role)

    def client(self, who: str = "admin") -> Client:
        client = Client()
        if user := self.people[who]:
            client.force_login(user)
        return client

    def address(self, name: str) -> str:
        if name in ("webhooks", "webhook-rows", "webhook-new"):
            return reverse(name)
        if name.startswith("delivery"):
            return reverse(name, args=[self.webhook.pk, self.delivery.message_id])
        return reverse(name, args=[self.webhook.pk])


@pytest.fixture
def home() -> Home:
    return Home()


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def told(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


class TestWho:
    @pytest.mark.parametrize("name", ADDRESSES)
    def test_each_address_answers_each_person_as_the_table_says(self, home, name):
        method, expected = ADDRESSES[name]
        found = tuple(
            getattr(home.client(who), method)(home.address(name)).status_code for who in PEOPLE
        )
        assert found == expected

    @pytest.mark.parametrize("name", [n for n, (m, _) in ADDRESSES.items() if m == "post"])
    def test_what_does_something_is_not_done_by_get(self, home, name):
        assert home.client().get(home.address(name)).status_code == 405

    def test_the_navigation_leads_there_for_those_who_may(self, home):
        link = f'href="{reverse("webhooks")}"'
        assert link in text_of(home.client("admin").get(reverse("activity")))
        assert link not in text_of(home.client("member").get(reverse("activity")))

    def test_an_admin_here_and_a_member_there_sees_those_of_here(self, home):
        other = make(name="Elsewhere")
        MembershipFactory.create(
            user=home.people["admin"], organization=other.organization, role="member"
        )
        assert "Elsewhere" not in text_of(home.client().get(reverse("webhooks")))
        assert home.client().get(reverse("webhook", args=[other.pk])).status_code == 403

    def test_a_delivery_under_another_webhook_is_not_there(self, home):
        other = make(home.organization, name="Other")
        path = reverse("delivery", args=[other.pk, home.delivery.message_id])
        assert home.client().get(path).status_code == 404


def sent(**more: Any) -> dict[str, Any]:
    return {
        **{"kind": "webhook", "name": "New", "url": "https://hooks.example.org"},
        **{"events": ["move.*"], "globs": "", **more},
    }


class TestCreating:
    def test_the_secret_is_shown_once(self, home):
        client = home.client()
        response = client.post(reverse("webhook-new"), sent(globs="*.deleted, config.c*"))
        made = Webhook.objects.get(name="New")
        assert made.secret in text_of(response)
        assert response.headers["Cache-Control"] == "no-store"
        assert made.events == ["move.*", "*.deleted", "config.c*"]
        for name in ("webhook", "webhook-edit", "webhook-now"):
            assert made.secret not in text_of(client.get(reverse(name, args=[made.pk])))

    def test_a_notification_has_none(self, home):
        fields = sent(kind="notification", url="mailto://ada:pw@gmail.com")
        response = home.client().post(reverse("webhook-new"), fields)
        made = Webhook.objects.get(name="New")
        assert response.url == reverse("webhook", args=[made.pk])
        shown = text_of(home.client().get(response.url))
        assert "Rotate secret" not in shown and "ada:pw" not in shown

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ({"name": ""}, "Enter the name."),
            ({"name": "OPS"}, "The organization has a webhook or notification of this name."),
            ({"url": "ftp://x"}, "The URL must begin with"),
            ({"kind": "notification"}, "The address must begin with one of"),
            ({"events": []}, "Choose at least one event"),
            ({"events": ["nonsense"]}, "“nonsense” is not offered"),
            ({"globs": "Move!"}, "is no event"),
            ({"kind": "pigeon"}, "“pigeon” is not offered"),
        ],
    )
    def test_what_is_wrong_is_said_and_what_was_entered_stays(self, home, wrong, sentence):
        response = home.client().post(reverse("webhook-new"), sent(**wrong))
        assert response.status_code == 400
        assert sentence in text_of(response)
        assert Webhook.objects.count() == 1

    def test_who_is_admin_in_several_says_where(self, home):
        other = OrganizationFactory.create(name="Other")
        MembershipFactory.create(user=home.people["admin"], organization=other, role="admin")
        client = home.client()
        assert "Choose an organization" in text_of(client.post(reverse("webhook-new"), sent()))
        client.post(reverse("webhook-new"), sent(organization="other"))
        assert Webhook.objects.get(name="New").organization == other


class TestChanging:
    def test_an_empty_address_keeps_the_stored_one_which_is_not_shown(self, home):
        client = home.client()
        page = text_of(client.get(home.address("webhook-edit")))
        assert "https://ada:•••@hooks.example.org/in?key=•••" in page and "pw@" not in page
        client.post(home.address("webhook-edit"), sent(name="Renamed", url="", reason="tidy"))
        home.webhook.refresh_from_db()
        assert (home.webhook.name, home.webhook.url) == ("Renamed", URL)
        assert Activity.objects.get(verb="webhook.changed").reason == "tidy"

    def test_the_boxes_are_ticked_as_it_is_stored(self, home):
        webhooks.change(home.webhook, ADA, {"events": ["move.*", "config.ch?nged"]})
        page = text_of(home.client().get(home.address("webhook-edit")))
        assert 'value="move.*" checked' in page
        assert 'value="config.ch?nged"' in page
        assert 'value="*" checked' not in page

    def test_wrong_events_are_said(self, home):
        response = home.client().post(home.address("webhook-edit"), sent(globs="!"))
        assert response.status_code == 400
        assert "is no event" in text_of(response)

    def test_pause_resume_rotate_delete(self, home):
        client = home.client()
        client.post(home.address("webhook-pause"), {"reason": "a new rack"})
        shown = text_of(client.get(home.address("webhook")))
        assert "Paused by admin: a new rack" in shown and "Resume webhook" in shown
        again = client.post(home.address("webhook-pause"), follow=True)
        assert "It is not active." in told(again)
        client.post(home.address("webhook-resume"))
        home.webhook.refresh_from_db()
        assert home.webhook.state == "active"
        rotated = text_of(client.post(home.address("webhook-rotate")))
        assert Webhook.objects.get().secret in rotated
        wrong = client.post(home.address("webhook-delete"), {"confirm": "x"}, follow=True)
        assert told(wrong)[-1] == "Type Ops to delete it."
        client.post(home.address("webhook-delete"), {"confirm": "Ops", "reason": "old"})
        assert not Webhook.objects.exists()

    def test_who_rotates_again_is_told_that_the_older_secret_ends_at_once(self, home):
        client = home.client()
        assert "ends at once" not in text_of(client.get(home.address("webhook")))
        client.post(home.address("webhook-rotate"))
        shown = text_of(client.get(home.address("webhook")))
        assert "The older one ends at once" in shown
        assert "the one before is valid, too" in shown
        Webhook.objects.update(old_secret_until=timezone.now())
        shown = text_of(client.get(home.address("webhook")))
        assert "ends at once" not in shown and "the one before is valid" not in shown


class TestDeliveries:
    def test_a_test_event_and_what_came_of_it(self, home):
        client = home.client()
        with receiving() as receiver:
            webhooks.change(home.webhook, ADA, {"url": receiver.url})
            response = client.post(home.address("webhook-test"))
            assert "goes out within seconds" in text_of(client.get(response.url))
            receiver.body = b'{"said":"<script>"}'
            deliver()
        shown = text_of(client.get(response.url))
        assert "Delivered" in shown and "webhook-timestamp" in shown
        assert "&lt;script&gt;" in shown and "webhook-signature" not in shown
        assert "webhook.test" in text_of(client.get(home.address("webhook")))

    def test_a_failure_says_why_and_when_it_is_tried_again(self, home):
        client = home.client()
        with receiving() as receiver:
            receiver.usual = 500
            webhooks.change(home.webhook, ADA, {"url": receiver.url})
            seal(home.organization, "config.changed")
            deliver()
        made = Delivery.objects.get(event="config.changed")
        shown = text_of(client.get(reverse("delivery", args=[home.webhook.pk, made.message_id])))
        assert "It answered 500." in shown and "next attempt" in shown
        assert "Failing" in text_of(client.get(reverse("webhooks")))

    def test_what_is_held_back_is_not_said_to_be_tried_again(self, home):
        held = Delivery.objects.create(
            webhook=home.webhook,
            event="config.changed",
            attempts=1,
            attempted_at=timezone.now(),
            next_attempt_at=timezone.now(),
            error="It answered 500.",
        )
        client = home.client()
        pages = (
            reverse("webhooks"),
            home.address("webhook-now"),
            reverse("delivery", args=[home.webhook.pk, held.message_id]),
        )
        assert all("Retrying" in text_of(client.get(path)) for path in pages)
        for state in ("paused", "disabled"):
            Webhook.objects.update(state=state)
            for path in pages:
                shown = text_of(client.get(path))
                assert "Retrying" not in shown, (state, path)

    def test_the_way_back_leads_by_the_webhook_to_all_of_them(self, home):
        assert crumbs_of(home.client().get(home.address("delivery"))) == [
            ("Organization", ""),
            ("Webhooks", reverse("webhooks")),
            ("Ops", home.address("webhook")),
            ("move.failed", ""),
        ]

    def test_filters(self, home):
        Delivery.objects.create(webhook=home.webhook, event="config.changed", state="delivered")
        client = home.client()

        def events(query: str) -> list[str]:
            page = client.get(home.address("webhook-now") + query).context["page"]
            return sorted(row.event for row in page.rows)

        assert events("") == ["config.changed", "move.failed"]
        assert events("?state=delivered") == ["config.changed"]
        assert events("?event=move") == ["move.failed"]
        assert events("?event=move&state=delivered") == []
        assert events("?state=nonsense") == ["config.changed", "move.failed"]

    def test_replay(self, home):
        client = home.client()
        response = client.post(home.address("delivery-replay"))
        again = Delivery.objects.get(state="pending")
        assert str(again.message_id) in response.url
        path = reverse("delivery-replay", args=[home.webhook.pk, again.message_id])
        assert "It is under way" in told(client.post(path, follow=True))[-1]

    def test_empty_states(self, home):
        home.delivery.delete()
        client = home.client()
        assert "No deliveries yet" in text_of(client.get(home.address("webhook")))
        assert "No delivery matches" in text_of(
            client.get(home.address("webhook") + "?state=failed")
        )
        home.webhook.delete()
        assert "No webhooks yet" in text_of(client.get(reverse("webhooks")))
        assert "No webhook matches" in text_of(client.get(reverse("webhooks") + "?search=x"))


def test_filters_of_the_list(home):
    paused = make(home.organization, name="Asleep")
    webhooks.pause(paused, ADA)
    make(home.organization, "mailto://a:b@gmail.com", name="Mail", kind="notification")
    Webhook.objects.filter(name="Ops").update(failures_in_row=3)
    client = home.client()

    def names(query: str) -> list[str]:
        page = client.get(reverse("webhook-rows") + query).context["page"]
        return [row.name for row in page.rows]

    assert names("") == ["Asleep", "Mail", "Ops"]
    assert names("?state=paused") == ["Asleep"]
    assert names("?state=failing") == ["Ops"]
    assert names("?kind=notification") == ["Mail"]
    assert names("?search=asl") == ["Asleep"]
    assert names("?state=x&kind=y") == ["Asleep", "Mail", "Ops"]


def test_a_lost_key_breaks_no_page(home, settings):
    settings.ENCRYPTION_KEYS = ["A" * 43 + "="]
    for name, (method, _) in ADDRESSES.items():
        if method == "get":
            assert home.client().get(home.address(name)).status_code == 200, name
    assert "cannot be read" in text_of(home.client().get(home.address("webhook")))


@pytest.mark.parametrize("name", ["webhooks", "webhook"])
def test_how_often_the_database_is_asked(home, name):
    client, counts = home.client(), []
    for _ in range(2):
        for _ in range(10):
            webhook = make(home.organization)
            Delivery.objects.create(webhook=webhook, event="x", attempted_at=timezone.now())
            Delivery.objects.create(webhook=home.webhook, event="x", attempted_at=timezone.now())
        client.get(home.address(name))
        with CaptureQueriesContext(database) as seen:
            client.get(home.address(name))
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 30
