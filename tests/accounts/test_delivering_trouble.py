"""Webhooks that fail, are tested, are slow or point where they must not; over real HTTP."""

import socket
import time
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from accounts import activity, delivering, outcomes, posting, sealing, webhooks
from accounts.models import Activity, Delivery, Webhook
from tests.accounts.webhooking import (
    ADA,
    Receiver,
    age,
    deliver,
    hurry,
    make,
    receiving,
    seal,
)

pytestmark = pytest.mark.django_db


class TestPausing:
    def test_ten_failures_in_a_row_pause_it_and_say_so(self, organization, hook, receiver):
        receiver.usual = 500
        seal(organization, *["move.planned"] * 12)
        for _ in range(30):
            deliver()
            hurry()
        hook.refresh_from_db()
        assert hook.state == "paused"
        assert hook.message.startswith("Paused after 10 failures in a row. The last: It answered")
        told = Activity.objects.get(verb="webhook.paused")
        assert (told.actor_kind, told.object_id) == ("system", str(hook.pk))
        assert "10 failures" in told.reason
        assert len(receiver.calls) < 10 + delivering.AT_ONCE

    def test_what_waits_goes_out_on_resuming(self, organization, hook, receiver):
        webhooks.pause(hook, ADA)
        seal(organization, "move.planned", "move.failed")
        assert [row.state for row in deliver()] == ["pending", "pending"]
        assert receiver.calls == []
        webhooks.resume(hook, ADA)
        assert {row.state for row in deliver()} == {"delivered"}
        assert len(receiver.calls) == 2

    def test_what_waited_for_more_than_a_day_fails(self, organization, hook, receiver):
        webhooks.pause(hook, ADA)
        seal(organization, "move.planned")
        deliver()
        age(hours=25)
        webhooks.resume(hook, ADA)
        seal(organization, "move.failed")
        assert [row.state for row in deliver()] == ["failed", "delivered"]

    def test_410_disables_it_and_says_so(self, organization, hook, receiver):
        Webhook.objects.update(failures_in_row=1)  # so one goes first
        receiver.usual = 410
        seal(organization, "move.planned", "move.failed")
        rows = deliver()
        hook.refresh_from_db()
        assert (hook.state, hook.message) == ("disabled", outcomes.GONE)
        assert [row.state for row in rows] == ["failed", "failed"]
        assert len(receiver.calls) == 1
        assert Activity.objects.get(verb="webhook.disabled").reason == outcomes.GONE
        seal(organization, "move.planned")
        assert len(deliver()) == 2
        receiver.usual = 200
        webhooks.resume(hook, ADA)
        seal(organization, "move.retried")
        assert [row.event for row in deliver()][2:] == ["move.retried"]

    def test_a_success_forgets_the_failures(self, organization, hook, receiver):
        receiver.plan = [500, 500]
        seal(organization, "move.planned")
        for _ in range(3):
            deliver()
            hurry()
        hook.refresh_from_db()
        assert hook.failures_in_row == 0

    def test_a_failing_webhook_makes_no_loop(self, organization, receiver):
        names = ["webhook.paused", "organization.*"]
        hooks = [make(organization, receiver.url, names) for _ in range(2)]
        receiver.usual = 500
        activity.record(ADA, "organization.changed", organization, organization.pk)
        for _ in range(30):
            sealing.seal(settled=timedelta(0))
            deliver()
            hurry()
        assert Activity.objects.filter(verb="webhook.paused").count() == 2
        for hook in hooks:
            own = Activity.objects.filter(object_id=str(hook.pk)).values("pk")
            assert not hook.deliveries.filter(activity_id__in=own).exists()
        assert Delivery.objects.count() == 4  # each hears that the other was paused


class TestTests:
    def test_a_test_goes_out_although_the_webhook_is_paused(self, organization, hook, receiver):
        webhooks.pause(hook, ADA)
        test = webhooks.test(hook, ADA)
        deliver()
        test.refresh_from_db()
        assert (test.state, test.status) == ("delivered", 200)
        (body,) = receiver.bodies()
        assert (body["type"], body["data"]["object"]["id"]) == ("webhook.test", str(hook.pk))
        assert Verifier(hook.secret).verify(receiver.calls[0]["body"], receiver.calls[0]["headers"])

    def test_it_is_tried_once_and_counts_as_no_failure(self, hook, receiver):
        receiver.usual = 500
        test = webhooks.test(hook, ADA)
        deliver()
        test.refresh_from_db()
        hook.refresh_from_db()
        assert (test.state, test.attempts, test.answer) == ("failed", 1, "thanks")
        assert hook.failures_in_row == 0

    def test_a_replay_is_a_new_message_with_the_same_body(self, organization, hook, receiver):
        seal(organization, "move.planned")
        (first,) = deliver()
        again = webhooks.replay(first, ADA)
        deliver()
        again.refresh_from_db()
        assert (again.state, again.activity_id, again.body) == ("delivered", None, first.body)
        assert again.message_id != first.message_id
        assert len(set(receiver.acknowledged)) == 2


class TestAtOnce:
    def test_a_slow_receiver_holds_up_nobody(self, organization, receiver, monkeypatch):
        monkeypatch.setattr(posting, "READ_SECONDS", 2.0)
        with receiving() as quick:
            make(organization, receiver.url)
            receiver.usual = "hang"
            fast = make(organization, quick.url)
            seal(organization, *["move.planned"] * 20)
            begun = time.monotonic()
            quick.plan = [lambda handler: took.append(time.monotonic() - begun)]
            took: list[float] = []
            deliver(0.5)
            # The first answer of the quick one is no answer at all, so one is tried again.
            assert took[0] < 1.5
            assert fast.deliveries.filter(state="delivered").count() >= 10
            assert receiver.peak <= delivering.AT_ONCE

    def test_two_rounds_share_what_one_webhook_may_get(self, organization, hook, receiver):
        seal(organization, *["move.planned"] * 10)
        delivering.fan_out()
        one, other = delivering._Round(9e9), delivering._Round(9e9)
        assert len(one._claim()) == delivering.AT_ONCE
        assert other._claim() == []

    def test_nothing_goes_out_after_its_time(self, organization, hook, receiver, monkeypatch):
        monkeypatch.setattr(delivering, "LATEST_SECONDS", -1.0)
        seal(organization, "move.planned")
        delivering.fan_out()
        round_ = delivering._Round(time.monotonic() + 0.3)
        round_.run()
        (delivery,) = Delivery.objects.all()
        assert (receiver.calls, delivery.attempts, delivery.state) == ([], 0, "pending")

    def test_an_outcome_of_a_lost_lease_is_not_written(self, organization, hook, receiver):
        seal(organization, "move.planned")
        delivering.fan_out()
        (trip,) = delivering._Round(9e9)._claim()
        Delivery.objects.update(lease=None, state="delivered", next_attempt_at=None)
        assert not outcomes.write(trip.delivery, trip.lease, posting.Answer(error="x"))
        assert Delivery.objects.get().state == "delivered"

    def test_a_call_without_an_end_is_given_up(self, organization, hook, receiver, monkeypatch):
        monkeypatch.setattr(delivering, "GIVEN_UP_SECONDS", 0.3)
        monkeypatch.setattr(delivering, "POLL_SECONDS", 0.1)
        monkeypatch.setattr(posting, "WHOLE_SECONDS", 3.0)
        receiver.usual = "hang"
        seal(organization, "move.planned")
        begun = time.monotonic()
        (delivery,) = deliver(0.1)
        assert time.monotonic() - begun < 2
        assert delivery.error == "It took too long."


class TestAddresses:
    def lookup(self, monkeypatch, receiver: Receiver, addresses: list[str]) -> list[str]:
        """Let hooks.example.org resolve to each address in turn. A public one leads to us."""
        port, asked = receiver.server.server_port, []
        real = socket.getaddrinfo

        def fake(host: Any, *args: Any, **kwargs: Any) -> Any:
            if host == "hooks.example.org":
                asked.append(host)
                host = addresses.pop(0) if len(addresses) > 1 else addresses[0]
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
            if host == "93.184.215.14":
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
            return real(host, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", fake)
        return asked

    def test_a_name_that_turns_private_is_refused(
        self, organization, receiver, settings, monkeypatch
    ):
        settings.OUTBOUND_ALLOW_PRIVATE = False
        make(organization, f"http://hooks.example.org:{receiver.server.server_port}/in")
        asked = self.lookup(monkeypatch, receiver, ["93.184.215.14", "127.0.0.1"])
        seal(organization, "move.planned")
        deliver()
        assert len(asked) == 1  # resolved once, and used as it was
        assert len(receiver.calls) == 1
        seal(organization, "move.failed")
        _, second = deliver()
        assert second.error == "127.0.0.1 is not a public address."
        assert len(receiver.calls) == 1

    def test_one_private_address_among_several_is_enough(self, organization, settings, monkeypatch):
        settings.OUTBOUND_ALLOW_PRIVATE = False

        def both(host: str, port: int, **_: Any) -> Any:
            rows = ("93.184.215.14", "10.0.0.7")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (row, port)) for row in rows]

        make(organization)
        monkeypatch.setattr(socket, "getaddrinfo", both)
        seal(organization, "move.planned")
        (delivery,) = deliver()
        assert delivery.error == "10.0.0.7 is not a public address."
