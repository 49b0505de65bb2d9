"""Webhooks and notifications: who is told of what happens."""

import uuid
from typing import Any

from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts import roles, webhooks
from accounts.listing import page_of
from accounts.messages import masked
from accounts.models import Delivery, Webhook
from accounts.scope import (
    PageRequest,
    Refused,
    deed,
    home_of,
    may_somewhere,
    must,
    needed_reason_of,
    page,
    reason_of,
    signed_in,
    telling_outcome,
    where_may,
)
from accounts.tasks import deliver_tick
from accounts.views.deliveries import filtered, state_of_delivery
from accounts.webhook_forms import KINDS, WebhookForm
from config.base import live
from config.base.problems import Conflict

STATES = {"": "All states", "active": "Active", "failing": "Failing"}
STATES |= {"paused": "Paused", "disabled": "Disabled"}
ALL_KINDS = {"": "All kinds", "webhook": "Webhooks", "notification": "Notifications"}
EVENTS_SHOWN = 3


@page
def list_webhooks(request: PageRequest) -> HttpResponse:
    context = _listed(request) | {
        "state_choices": STATES,
        "kind_choices": ALL_KINDS,
        "may_write": may_somewhere(request.reader, "webhook.write"),
    }
    return render(request, "accounts/webhooks.html", context)


@page
def rows(request: PageRequest) -> HttpResponse:
    return render(request, "accounts/_webhooks.html", _listed(request))


def _listed(request: PageRequest) -> dict[str, Any]:
    """Those of the organizations where the reader is an administrator."""
    if not may_somewhere(request.actor, "webhook.read"):
        raise Refused("webhook.read")
    names = ("search", "state", "kind")
    chosen = {n: request.GET.get(n, "").replace("\0", "").strip()[:100] for n in names}
    visible = webhooks.readable(Webhook.objects.visible_to(request.reader), request.reader)
    found = _filtered(visible, chosen).order_by("name", "pk")
    load = Webhook.objects.select_related("organization").annotate(
        waiting=Count("deliveries", filter=Q(deliveries__state=Delivery.State.PENDING))
    )
    listed = page_of(request, found, load)
    latest = webhooks.latest(listed.rows)
    return {
        "page": listed,
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "states": {row.pk: state_of(row) for row in listed.rows},
        "addresses": {row.pk: masked(row) for row in listed.rows},
        "latest": latest,
        "outcomes": {
            row.pk: state_of_delivery(latest[row.pk], row)
            for row in listed.rows
            if row.pk in latest
        },
        "many": len({row.organization_id for row in listed.rows}) > 1,
        "events_shown": EVENTS_SHOWN,
    }


def _filtered(found: QuerySet[Webhook], chosen: dict[str, str]) -> QuerySet[Webhook]:
    if text := chosen["search"]:
        found = found.filter(Q(name__icontains=text) | Q(message__icontains=text))
    if chosen["kind"] in ALL_KINDS and chosen["kind"]:
        found = found.filter(kind=chosen["kind"])
    if chosen["state"] == "failing":
        return found.filter(state=Webhook.State.ACTIVE, failures_in_row__gt=0)
    if chosen["state"] in STATES and chosen["state"]:
        found = found.filter(state=chosen["state"])
    return found


def state_of(webhook: Webhook) -> str:
    failing = webhook.state == Webhook.State.ACTIVE and webhook.failures_in_row
    return "failing" if failing else str(webhook.state)


def one_of(request: PageRequest, pk: uuid.UUID, verb: str = "webhook.write") -> Webhook:
    """Raises Http404 for what the reader cannot see, PermissionDenied for too low a role."""
    visible = Webhook.objects.visible_to(request.actor).select_related("organization")
    found = get_object_or_404(visible, pk=pk)
    must(request.actor, verb, found.organization_id, found)
    return found


@page
def one(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    found = one_of(request, pk, "webhook.read")
    context = _told(request, found) | {
        "may_write": roles.may(request.actor, "webhook.write", found.organization_id)
    }
    return render(request, "accounts/webhook.html", context)


@page
def now(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Its state and deliveries, fetched again when something has happened."""
    found = one_of(request, pk, "webhook.read")
    return render(request, "accounts/_webhook.html", _told(request, found))


def _told(request: PageRequest, found: Webhook) -> dict[str, Any]:
    return {
        "webhook": found,
        "state": state_of(found),
        "address": masked(found),
        "may_write": roles.may(request.actor, "webhook.write", found.organization_id),
        **filtered(request, found),
    }


@signed_in
@require_http_methods(["GET", "POST"])
def create(request: PageRequest) -> HttpResponse:
    """The answer to the form is the one page that ever shows the secret."""
    homes = where_may(request.actor, "webhook.write")
    if not homes:
        raise Refused("webhook.write")
    home = home_of(request, homes)
    form = WebhookForm(request.POST) if request.method == "POST" else WebhookForm()
    if form.is_bound:
        if home is None:
            form.add_error(None, "Choose an organization.")
        elif made := form.create(request.actor, home):
            webhook, secret = made
            if not secret:
                messages.success(
                    request, f"Created {webhook}. Send a test to see whether it works."
                )
                return redirect("webhook", pk=webhook.pk)
            return _secret(request, webhook, secret, created=True)
    form.describe()
    return _form_page(request, form, {"organizations": homes, "home": home, "kinds": KINDS})


def _form_page(request: PageRequest, form: WebhookForm, more: dict[str, Any]) -> HttpResponse:
    context = {"form": form, "part": "Organization", "thing": "webhook", "things": "webhooks"}
    status = 400 if form.is_bound else 200
    return render(request, "accounts/webhook_edit.html", context | more, status=status)


def _secret(
    request: PageRequest, webhook: Webhook, secret: str, *, created: bool = False
) -> HttpResponse:
    context = {"webhook": webhook, "secret": secret, "created": created}
    context["state"] = state_of(webhook)
    response = render(request, "accounts/webhook_secret.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


@signed_in
@require_http_methods(["GET", "POST"])
def edit(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    found = one_of(request, pk)
    form = WebhookForm.of(found)
    if request.method == "POST":
        form = WebhookForm(request.POST, webhook=found)
        if form.save(request.actor, reason_of(request)):
            messages.success(request, f"Saved {form.cleaned_data['name']}.")
            return redirect("webhook", pk=pk)
        form.describe()
    told = {"row": found, "state": state_of(found), "address": masked(found)}
    return _form_page(request, form, told)


# Deeds


@deed
def pause(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    found = one_of(request, pk)
    with telling_outcome(request, f"Paused {found}. What happens waits for 24 h at most."):
        webhooks.pause(found, request.actor, reason_of(request))
    return redirect("webhook", pk=pk)


@deed
def resume(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    found = one_of(request, pk)
    with telling_outcome(request, f"Resumed {found}. What waits goes out now."):
        webhooks.resume(found, request.actor, reason_of(request))
        live.nudge(deliver_tick)
    return redirect("webhook", pk=pk)


@deed
def rotate(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """The answer is the one page that ever shows the new secret."""
    found = one_of(request, pk)
    try:
        webhook, secret = webhooks.rotate(found, request.actor, reason_of(request))
    except Conflict as conflict:
        messages.error(request, str(conflict))
        return redirect("webhook", pk=pk)
    return _secret(request, webhook, secret)


@deed
def test(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Send a test event; its page tells, within seconds, what came of it."""
    delivery = webhooks.test(one_of(request, pk), request.actor)
    live.nudge(deliver_tick)
    return redirect("delivery", pk=pk, message=delivery.message_id)


@deed
def delete(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    found = one_of(request, pk)
    if request.POST.get("confirm", "").strip() != found.name:
        messages.error(request, f"Type {found} to delete it.")
        return redirect("webhook", pk=pk)
    try:
        webhooks.delete(found, request.actor, needed_reason_of(request))
    except Conflict as conflict:
        messages.error(request, str(conflict))
        return redirect("webhook", pk=pk)
    messages.success(request, f"Deleted {found.name}.")
    return redirect("webhooks")
