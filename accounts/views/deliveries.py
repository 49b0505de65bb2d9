"""The deliveries to a webhook: each message, what was sent and what was answered."""

import json
import uuid
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts import roles, webhooks
from accounts.listing import page_of
from accounts.models import Delivery, Webhook
from accounts.scope import PageRequest, deed, must, page
from accounts.tasks import deliver_tick
from config.base import live
from config.base.problems import Conflict

STATES = {"": "All states", "pending": "Waiting", "delivered": "Delivered", "failed": "Failed"}
HEAVY = ("body", "answer", "request_headers")


def state_of_delivery(delivery: Delivery, webhook: Webhook) -> str:
    """What pages say: what is tried again is told apart from what is not tried yet, or not now."""
    if delivery.state != Delivery.State.PENDING:
        return str(delivery.state)
    failed = delivery.attempts and delivery.error
    return "retrying" if failed and webhook.state == Webhook.State.ACTIVE else "waiting"


def took(delivery: Delivery) -> timedelta | None:
    """The last attempt."""
    found = delivery.milliseconds
    return None if found is None else timedelta(milliseconds=found)


def filtered(request: PageRequest, webhook: Webhook) -> dict[str, Any]:
    """A page of a webhook's deliveries, as the filters say."""
    names = ("state", "event")
    chosen = {name: request.GET.get(name, "").replace("\0", "").strip()[:60] for name in names}
    found = Delivery.objects.filter(webhook=webhook).order_by("-created_at", "-id")
    if chosen["state"] in STATES and chosen["state"]:
        found = found.filter(state=chosen["state"])
    if chosen["event"]:
        found = found.filter(event__icontains=chosen["event"])
    listed = page_of(request, found, Delivery.objects.defer(*HEAVY), search=bool(chosen["event"]))
    return {
        "page": listed,
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "state_choices": STATES,
        "outcomes": {row.pk: state_of_delivery(row, webhook) for row in listed.rows},
        "took": {row.pk: took(row) for row in listed.rows},
    }


def _one(request: PageRequest, pk: uuid.UUID, message: uuid.UUID, verb: str) -> Delivery:
    """Raises Http404 for what the reader cannot see, PermissionDenied for too low a role."""
    visible = Delivery.objects.visible_to(request.actor).select_related("webhook__organization")
    found: Delivery = get_object_or_404(visible, webhook_id=pk, message_id=message)
    must(request.actor, verb, found.webhook.organization_id, found.webhook)
    return found


@page
def one(request: PageRequest, pk: uuid.UUID, message: uuid.UUID) -> HttpResponse:
    found = _one(request, pk, message, "webhook.read")
    return render(request, "accounts/delivery.html", _told(request, found))


@page
def now(request: PageRequest, pk: uuid.UUID, message: uuid.UUID) -> HttpResponse:
    """What came of it, fetched again when something has happened."""
    found = _one(request, pk, message, "webhook.read")
    return render(request, "accounts/_delivery.html", _told(request, found))


def _told(request: PageRequest, found: Delivery) -> dict[str, Any]:
    webhook = found.webhook
    return {
        "delivery": found,
        "webhook": webhook,
        "outcome": state_of_delivery(found, webhook),
        "took": took(found),
        "headers": "\n".join(f"{name}: {text}" for name, text in found.request_headers.items()),
        "body": readable(found.body),
        "answer": readable(found.answer),
        "may_replay": roles.may(request.actor, "webhook.write", webhook.organization_id)
        and found.state != Delivery.State.PENDING
        and webhook.state != Webhook.State.DISABLED,
    }


def readable(text: str) -> str:
    """JSON with line breaks; anything else as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


@deed
def replay(request: PageRequest, pk: uuid.UUID, message: uuid.UUID) -> HttpResponse:
    found = _one(request, pk, message, "webhook.write")
    try:
        again = webhooks.replay(found, request.actor)
    except Conflict as conflict:
        messages.error(request, str(conflict))
        return redirect("delivery", pk=pk, message=message)
    live.nudge(deliver_tick)
    messages.success(request, "Sent again, as a new message.")
    return redirect("delivery", pk=pk, message=again.message_id)
