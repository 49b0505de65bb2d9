"""From sealed activities to receivers: fan-out, signing, retries, pausing; over real HTTP."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from accounts import delivering, outcomes, posting, tasks, webhooks
from accounts.models import Activity, Delivery, Webhook
from tests.accounts.webhooking import (
    ADA,
    age,
    deliver,
    hurry,
    make,
    seal,
)
from tests.factories import OrganizationFactory

pytestmark = pytest.mark.django_db


def left(delivery: Delivery) -> timedelta:
    """Until the next attempt."""
    assert delivery.next_attempt_at
    return delivery.next_attempt_at - timezone.now()


class TestFanOut:
    def test_each_sealed_activity_that_a_glob_asks_for_is_one_delivery(self, organization):
        moves = make(organization, events=["move.*"])
        every = make(organization, events=["*"])
        seal(organization, "move.planned", "config.created", "move.failed")
        assert delivering.fan_out() == 5
        assert delivering.fan_out() == 0
        of_moves = moves.deliveries.order_by("pk")
        assert [row.event for row in of_moves] == ["move.planned", "move.failed"]
        assert every.deliveries.count() == 3
        moves.refresh_from_db()
        assert moves.position == 3

    def test_a_new_webhook_hears_of_nothing_that_was_before(self, organization):
        seal(organization, "move.planned")
        webhook = make(organization)
        seal(organization, "move.failed")
        delivering.fan_out()
        assert [row.event for row in webhook.deliveries.all()] == ["move.failed"]

    def test_what_is_not_sealed_yet_waits(self, organization):
        webhook = make(organization)
        assert Activity.objects.filter(verb="webhook.created", position=None).exists()
        delivering.fan_out()
        assert not webhook.deliveries.exists()

    def test_nobody_hears_of_other_organizations_or_of_deleted_ones(self, organization):
        other = OrganizationFactory.create()
        webhook = make(organization)
        seal(other, "move.planned")
        delivering.fan_out()
        assert not webhook.deliveries.exists()
        organization.deleted_at = timezone.now()
        organization.save(update_fields=["deleted_at"])
        seal(organization, "move.planned")
        assert delivering.fan_out() == 0

    def test_many_are_made_in_parts(self, organization, monkeypatch):
        monkeypatch.setattr(delivering, "FAN_OUT", 3)
        webhook = make(organization)
        seal(organization, *["move.planned"] * 10)
        assert delivering.fan_out() == 10
        webhook.refresh_from_db()
        assert webhook.position == 10

    def test_when_time_is_up_the_next_call_goes_on(self, organization, monkeypatch):
        monkeypatch.setattr(delivering, "FAN_OUT", 3)
        make(organization)
        seal(organization, *["move.planned"] * 5)
        assert delivering.fan_out(seconds=0) == 0
        assert delivering.fan_out() == 5

    def test_who_comes_second_makes_none(self, organization):
        webhook = make(organization)
        stale = Webhook.objects.select_related("organization").get(pk=webhook.pk)
        seal(organization, "move.planned")
        delivering.fan_out()
        assert delivering._fan_out_to(stale, 1, time.monotonic() + 5) == 0
        assert webhook.deliveries.count() == 1

    def test_a_webhook_is_not_told_of_itself(self, organization):
        one, other = make(organization), make(organization)
        about = {"object_kind": "webhook", "object_id": str(one.pk)}
        seal(organization, "webhook.paused", **about)
        delivering.fan_out()
        assert not one.deliveries.exists()
        assert other.deliveries.count() == 1

    @pytest.mark.parametrize(
        ("glob", "hears"),
        [("*", False), ("config.*", False), ("refused.*", True), ("refused.config.changed", True)],
    )
    def test_refused_attempts_are_for_those_who_name_them(self, organization, glob, hears):
        webhook = make(organization, events=[glob])
        seal(organization, "config.changed", refused=True)
        delivering.fan_out()
        events = [row.event for row in webhook.deliveries.all()]
        assert events == (["refused.config.changed"] if hears else [])


class TestBody:
    def test_it_has_the_shape_of_standard_webhooks(self, organization, hook, receiver):
        change = {"some_key": ["a", "b"], "camelCase": 1, "token": "••• 12345678"}
        (activity,) = seal(organization, "config.changed", change=change, reason="why")
        (delivery,) = deliver()
        (body,) = receiver.bodies()
        assert body == {
            "type": "config.changed",
            "timestamp": body["timestamp"],
            "data": {
                "id": 1,
                "organization": {"id": str(organization.pk), "name": organization.name},
                "actor": {"kind": "user", "id": None, "name": "ada"},
                "verb": "config.changed",
                "refused": False,
                "object": {"kind": "move", "id": "1f3c", "name": "nightly"},
                "change": change,
                "reason": "why",
                "requestId": "req-1",
            },
        }
        at = activity.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert body["timestamp"] == at
        assert delivery.body == receiver.calls[0]["body"]

    def test_it_is_verified_with_either_secret_for_a_day(self, organization, hook, receiver):
        first = hook.secret
        hook, second = webhooks.rotate(hook, ADA)
        seal(organization, "move.planned")
        deliver()
        call = receiver.calls[0]
        assert len(call["headers"]["webhook-signature"].split(" ")) == 2
        for secret in (first, second):
            assert Verifier(secret).verify(call["body"], call["headers"])["type"] == "move.planned"
        with pytest.raises(WebhookVerificationError):
            Verifier(webhooks.new_secret()).verify(call["body"], call["headers"])
        with pytest.raises(WebhookVerificationError):
            Verifier(second).verify(call["body"] + " ", call["headers"])
        Webhook.objects.update(old_secret_until=timezone.now())
        seal(organization, "move.failed")
        deliver()
        call = receiver.calls[1]
        assert Verifier(second).verify(call["body"], call["headers"])
        with pytest.raises(WebhookVerificationError):
            Verifier(first).verify(call["body"], call["headers"])

    def test_the_request_is_kept_without_its_signature_and_the_answer(
        self, organization, hook, receiver
    ):
        receiver.body = b"x" * 9000 + b"\0"
        seal(organization, "move.planned")
        (delivery,) = deliver()
        assert delivery.state == "delivered"
        assert set(delivery.request_headers) == {
            "Content-Type",
            "User-Agent",
            "webhook-id",
            "webhook-timestamp",
        }
        assert delivery.request_headers["webhook-id"] == str(delivery.message_id)
        assert (delivery.status, len(delivery.answer)) == (200, posting.LONGEST_ANSWER)
        assert delivery.error == ""
        assert delivery.next_attempt_at is None


class TestRetries:
    def test_two_errors_a_hang_and_then_delivered_once(
        self, organization, hook, receiver, monkeypatch
    ):
        monkeypatch.setattr(posting, "READ_SECONDS", 0.3)
        receiver.plan = [500, 500, "hang", 200]
        seal(organization, "move.planned")
        errors = []
        delivery = Delivery()
        for _ in range(4):
            (delivery,) = deliver()
            errors.append(delivery.error)
            hurry()
        assert errors == ["It answered 500.", "It answered 500.", "No answer in 0 s.", ""]
        assert (delivery.state, delivery.attempts) == ("delivered", 4)
        assert len({call["headers"]["webhook-id"] for call in receiver.calls}) == 1
        assert receiver.acknowledged == [str(delivery.message_id)]
        deliver()
        assert len(receiver.calls) == 4
        hook.refresh_from_db()
        assert hook.failures_in_row == 0

    def test_the_pauses_grow_and_end_after_a_day(self, organization, hook, receiver, monkeypatch):
        monkeypatch.setattr(outcomes, "MOST_FAILURES", 100)
        receiver.usual = 503
        seal(organization, "move.planned")
        pauses, begun = [], timezone.now()
        (delivery,) = deliver()
        while delivery.state == "pending":
            pause = left(delivery).total_seconds()
            pauses.append(pause)
            # As if that long had passed.
            passed = delivery.created_at - timedelta(seconds=pause)
            Delivery.objects.update(created_at=passed, next_attempt_at=timezone.now())
            (delivery,) = deliver()
        usual = [*outcomes.BACKOFF, *[outcomes.BACKOFF[-1]] * 5]
        for pause, expected in zip(pauses, usual, strict=False):
            assert 0.7 * expected <= pause <= 1.21 * expected
        assert 9 <= len(pauses) <= 12
        assert sum(pauses) <= 24 * 3600
        assert delivery.state == "failed"
        assert delivery.finished_at and delivery.finished_at >= begun
        assert len(set(pauses)) == len(pauses)

    def test_what_is_a_day_old_fails_without_another_attempt(self, organization, hook, receiver):
        receiver.usual = 500
        seal(organization, "move.planned")
        deliver()
        hurry()
        age(hours=24.1)
        (delivery,) = deliver()
        assert (delivery.state, delivery.attempts) == ("failed", 1)
        assert delivery.error == outcomes.TOO_OLD

    @pytest.mark.parametrize("as_date", [False, True])
    def test_retry_after_is_obeyed_by_all_that_waits(self, organization, hook, receiver, as_date):
        Webhook.objects.update(failures_in_row=1)  # so one goes first
        at = timezone.now() + timedelta(seconds=900)
        receiver.plan = [429]
        receiver.headers = {"Retry-After": f"{at:%a, %d %b %Y %H:%M:%S} GMT" if as_date else "900"}
        seal(organization, "move.planned", "move.failed")
        rows = deliver()
        assert len(receiver.calls) == 1
        for row in rows:
            assert timedelta(minutes=14) < left(row) < timedelta(minutes=16)

    def test_a_wish_beyond_the_end_is_the_end(self, organization, hook, receiver):
        receiver.usual, receiver.headers = 503, {"Retry-After": "999999999999"}
        seal(organization, "move.planned")
        (delivery,) = deliver()
        assert delivery.state == "failed"

    @pytest.mark.parametrize("wish", ["999999999", "Fri, 31 Dec 9999 23:59:59 -1200"])
    def test_a_wish_without_end_holds_up_nothing_for_longer_than_a_day(
        self, organization, hook, receiver, wish
    ):
        Webhook.objects.update(failures_in_row=1)  # so one goes first
        receiver.usual, receiver.headers = 503, {"Retry-After": wish}
        seal(organization, "move.planned", "move.failed")
        first, second = deliver()
        assert (first.state, second.state) == ("failed", "pending")
        assert timedelta(hours=23) < left(second) <= timedelta(hours=24)

    def test_redirects_are_not_followed(self, organization, hook, receiver):
        receiver.usual, receiver.headers = 307, {"Location": f"{receiver.url}/elsewhere"}
        seal(organization, "move.planned")
        (delivery,) = deliver()
        assert delivery.state == "pending"
        assert delivery.error == "It answered 307: redirects are not followed."
        assert [call["path"] for call in receiver.calls] == ["/in"]

    def test_an_answer_that_drips_is_cut_off(self, organization, hook, receiver, monkeypatch):
        monkeypatch.setattr(posting, "WHOLE_SECONDS", 0.5)

        def drip(handler: Any) -> None:
            for _ in range(200):
                if receiver.released.wait(0.05):
                    return
                handler.wfile.write(b"H")

        receiver.plan = [drip]
        seal(organization, "move.planned")
        begun = time.monotonic()
        (delivery,) = deliver()
        assert time.monotonic() - begun < 3
        assert delivery.error == "No whole answer in 0 s."

    def test_a_body_that_drips_after_200_is_acknowledged(
        self, organization, hook, receiver, monkeypatch
    ):
        monkeypatch.setattr(posting, "WHOLE_SECONDS", 0.5)

        def drip(handler: Any) -> None:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nfine")
            receiver.released.wait(10)

        receiver.plan = [drip]
        seal(organization, "move.planned")
        (delivery,) = deliver()
        assert (delivery.state, delivery.status) == ("delivered", 200)

    @pytest.mark.parametrize(
        ("url", "error"),
        [
            ("http://127.0.0.1:9/in", "No connection, or it ended before there was an answer."),
            ("http://nowhere.invalid/in", "No connection: the name cannot be resolved."),
            ("http://a..b/in", "No connection: the name cannot be resolved."),
            (f"http://{'a' * 70}.org", "No connection: the name cannot be resolved."),
        ],
    )
    def test_a_receiver_that_is_away_is_told_in_a_sentence(self, organization, url, error):
        make(organization, url)
        seal(organization, "move.planned")
        (delivery,) = deliver()
        assert (delivery.state, delivery.error, delivery.status) == ("pending", error, None)

    def test_a_secret_that_no_key_opens_is_said_and_nothing_sent(
        self, organization, hook, receiver, settings
    ):
        settings.ENCRYPTION_KEYS = ["A" * 43 + "="]
        seal(organization, "move.planned")
        (delivery,) = deliver()
        assert delivery.error == posting.LOST_KEY
        assert receiver.calls == []


def test_the_tick_does_all_of_it(organization, hook, receiver):
    seal(organization, "move.planned")
    tasks.deliver_tick()
    assert len(receiver.acknowledged) == 1


def test_old_deliveries_go(organization, hook, receiver, monkeypatch):
    monkeypatch.setattr(delivering, "PRUNED_AT_ONCE", 2)
    seal(organization, *["move.planned"] * 5)
    deliver()
    age(hours=24 * 31)
    seal(organization, "move.failed")
    deliver()
    tasks.prune()
    assert [row.event for row in Delivery.objects.all()] == ["move.failed"]
