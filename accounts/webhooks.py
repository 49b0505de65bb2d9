"""What people do with webhooks and notifications. That they are told of events: delivering.py."""

import base64
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from accounts import activity, messages, notifying, roles
from accounts.models import Chain, Delivery, Organization, Webhook
from config.base import live, outbound
from config.base.actor import Actor
from config.base.problems import Conflict

BOTH_VALID = timedelta(days=1)  # the new secret and the one before
SECRET_BYTES = 32
LONGEST_URL, MOST_EVENTS, LONGEST_GLOB = 2000, 100, 60
FIELDS = ("name", "url", "events")  # what people fill in, and may change
TAKEN = "The organization has a webhook or notification of this name."
MASKED = "What is shown is masked: enter the whole address."
STATES, KINDS = Webhook.State, Webhook.Kind


def create(
    actor: Actor, organization: Organization, kind: str, fields: dict[str, Any]
) -> tuple[Webhook, str]:
    """A new one and its secret ('' for a notification), which is told here and never again.

    It hears of what happens from now on. `fields`: name, url and events. Raises ValidationError by
    field and Conflict for a name that is taken.
    """
    secret = new_secret() if kind == KINDS.WEBHOOK else ""
    webhook = Webhook(
        organization=organization,
        kind=kind,
        secret=secret,
        position=head_of(organization),
        created_by_name=actor.name[:100],
        **fields,
    )
    check(webhook)
    try:
        with transaction.atomic():
            webhook.save(force_insert=True)
            _record(actor, "webhook.created", webhook, activity.changed({}, told(webhook)))
    except IntegrityError:
        raise Conflict(TAKEN, "NameTaken") from None
    return webhook, secret


def change(webhook: Webhook, actor: Actor, fields: dict[str, Any], reason: str = "") -> Webhook:
    """Set name, url or events, whichever are given; answers the row as it is now.

    A url as it is shown, masked, is no change. Raises as `create` does.
    """
    try:
        with transaction.atomic():
            current = _locked(webhook)
            before, address = told(current), current.url
            for name in FIELDS:
                if name in fields and not (
                    name == "url" and fields["url"] == messages.masked(current)
                ):
                    setattr(current, name, fields[name])
            check(current)
            after = activity.changed(before, told(current))
            if current.url != address:
                after.setdefault("url", [before["url"], "changed"])
            if after:
                current.save(update_fields=[*after, "updated_at"])
                _record(actor, "webhook.changed", current, after, reason)
    except IntegrityError:
        raise Conflict(TAKEN, "NameTaken") from None
    return current


def rotate(webhook: Webhook, actor: Actor, reason: str = "") -> tuple[Webhook, str]:
    """The row and its new secret, told here and never again; the old one is valid for a day.

    There are two at most: the one before the old one ends at once.
    """
    with transaction.atomic():
        current = _locked(webhook)
        if current.kind != KINDS.WEBHOOK:
            raise Conflict("A notification has no secret.", "NoSecret")
        ended = current.old_secret_until if current.has_two_secrets else None
        current.old_secret, current.secret = current.secret, new_secret()
        current.old_secret_until = timezone.now() + BOTH_VALID
        names = ["secret", "old_secret", "old_secret_until", "updated_at"]
        current.save(update_fields=names)
        told_of = {"previousValidUntil": current.old_secret_until.isoformat()}
        if ended:
            told_of["endedBeforeItsTime"] = ended.isoformat()
        _record(actor, "webhook.rotated", current, told_of, reason)
    return current, current.secret


def pause(webhook: Webhook, actor: Actor, reason: str = "") -> Webhook:
    """Nothing goes out; what happens is kept for 24 hours. Raises Conflict unless it is active."""
    message = f"Paused by {actor.name}{f': {reason}' if reason else '.'}"[:500]
    with transaction.atomic():
        active = Webhook.objects.filter(pk=webhook.pk, state=STATES.ACTIVE)
        if not active.update(state=STATES.PAUSED, message=message, updated_at=timezone.now()):
            raise Conflict("It is not active.", "NotActive")
        _record(actor, "webhook.paused", webhook, reason=reason)
    return Webhook.objects.select_related("organization").get(pk=webhook.pk)


def resume(webhook: Webhook, actor: Actor, reason: str = "") -> Webhook:
    """What waits goes out at once. One that was disabled begins with what happens from now on.

    Raises Conflict where it is active.
    """
    now = timezone.now()
    fields: dict[str, Any] = {"state": STATES.ACTIVE, "message": "", "failures_in_row": 0}
    fields["updated_at"] = now
    rows = Webhook.objects.filter(pk=webhook.pk)
    with transaction.atomic():
        head = head_of(webhook.organization)
        resumed = rows.filter(state=STATES.PAUSED).update(**fields) or rows.filter(
            state=STATES.DISABLED
        ).update(position=head, **fields)
        if not resumed:
            raise Conflict("It is active.", "Active")
        waiting = Delivery.objects.filter(webhook=webhook, state=Delivery.State.PENDING)
        waiting.filter(lease=None).update(next_attempt_at=now)
        _record(actor, "webhook.resumed", webhook, reason=reason)
    return rows.select_related("organization").get()


def delete(webhook: Webhook, actor: Actor, reason: str = "") -> None:
    """Its deliveries go with it."""
    with transaction.atomic():
        _record(actor, "webhook.deleted", webhook, told(webhook), reason)
        webhook.delete()


def test(webhook: Webhook, actor: Actor) -> Delivery:
    """An event of type `webhook.test`, tried once, also where the webhook is paused or disabled."""
    now = timezone.now()
    body = messages.test_message(webhook, actor, now)
    with transaction.atomic():
        delivery = _deliver(webhook, messages.TEST, body)
        _record(actor, "webhook.tested", webhook)
    return delivery


def replay(delivery: Delivery, actor: Actor, reason: str = "") -> Delivery:
    """The same body again, as a new message: whoever has seen the first takes it for another.

    Raises Conflict while the delivery is under way, and where the webhook is disabled.
    """
    webhook = delivery.webhook
    if delivery.state == Delivery.State.PENDING:
        raise Conflict("It is under way: it is tried again by itself.", "UnderWay")
    if webhook.state == STATES.DISABLED:
        raise Conflict("The webhook is disabled: resume it first.", "Disabled")
    with transaction.atomic():
        again = _deliver(webhook, delivery.event, delivery.body)
        told_of = {"event": delivery.event, "of": str(delivery.message_id)}
        _record(actor, "webhook.replayed", webhook, told_of, reason)
    return again


def _deliver(webhook: Webhook, event: str, body: str) -> Delivery:
    return Delivery.objects.create(
        webhook=webhook, event=event, body=body, next_attempt_at=timezone.now()
    )


# What there is


def readable(rows: QuerySet[Webhook], actor: Actor) -> QuerySet[Webhook]:
    """Of what `actor` sees, what lies where they may read webhooks: elsewhere they are a member."""
    if actor.sees_all:
        return rows
    may = [one for one in actor.organizations if roles.may(actor, "webhook.read", one)]
    return rows.filter(organization_id__in=may)


def latest(rows: Iterable[Webhook]) -> dict[UUID, Delivery]:
    """The last delivery of each that was tried, by the webhook's id; without its body."""
    tried = Delivery.objects.filter(webhook=OuterRef("pk"), attempted_at__isnull=False)
    last = Subquery(tried.order_by("-created_at", "-id").values("pk")[:1])
    found = Webhook.objects.filter(pk__in=[row.pk for row in rows]).annotate(last=last)
    keys = [key for key in found.values_list("last", flat=True) if key]
    deliveries = Delivery.objects.filter(pk__in=keys).defer("body", "answer", "request_headers")
    return {delivery.webhook_id: delivery for delivery in deliveries}


# What holds of each


def check(webhook: Webhook) -> None:
    """Raises ValidationError by field."""
    errors: dict[str, Any] = {}
    if "\0" in webhook.url or len(webhook.url) > LONGEST_URL:
        errors["url"] = [f"An address has {LONGEST_URL} characters at most, and no NUL."]
    elif problem := _wrong_with_url(webhook):
        errors["url"] = [problem]
    if problem := _wrong_with(webhook.events):
        errors["events"] = [problem]
    try:
        # The name's uniqueness is the database's to tell, once: it alone is safe from races.
        webhook.full_clean(exclude=["organization", *errors, "events"], validate_constraints=False)
    except ValidationError as error:
        errors = error.update_error_dict(errors)
    if errors:
        raise ValidationError(errors)


def _wrong_with_url(webhook: Webhook) -> str:
    """Why the address cannot be used, or ''."""
    if not webhook.url:
        return ""  # the model says so
    if messages.HIDDEN in webhook.url:
        return MASKED
    try:
        if webhook.kind == KINDS.NOTIFICATION:
            notifying.check(webhook.url)
        else:
            outbound.check_url(webhook.url, secrets=True)
    except outbound.Refused as refused:
        return str(refused)
    return ""


def _wrong_with(globs: Any) -> str:
    """Why these events cannot be used, or ''."""
    if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
        return "Give a list of events, as in move.* or config.changed."
    if not globs:
        return "Choose at least one event; * means all."
    if len(globs) > MOST_EVENTS:
        return f"Choose {MOST_EVENTS} events at most; * means all."
    for glob in globs:
        if len(glob) > LONGEST_GLOB or not messages.GLOB.match(glob):
            return f"{glob[:60]!r} is no event: use a-z, digits, '_', '.', and '*' for anything."
    return ""


def told(webhook: Webhook) -> dict[str, Any]:
    """What an activity tells of it, to viewers, too: never the secret, nor the whole address."""
    return {
        "kind": str(webhook.kind),
        "name": webhook.name,
        "url": messages.place_of(webhook),
        "events": list(webhook.events),
    }


def new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


def head_of(organization: Organization) -> int:
    """The last place in the organization's chain of activities, 0 where it has none."""
    places = Chain.objects.filter(organization_id=organization.pk).values_list(
        "position", flat=True
    )
    return places.first() or 0


def _locked(webhook: Webhook) -> Webhook:
    """The row as it is now: nobody else's change is undone. Raises Webhook.DoesNotExist."""
    rows = Webhook.objects.select_for_update(of=("self",)).select_related("organization")
    return rows.get(pk=webhook.pk)


def _record(
    actor: Actor,
    verb: str,
    webhook: Webhook,
    change: dict[str, Any] | None = None,
    reason: str = "",
) -> None:
    activity.record(actor, verb, webhook, webhook.organization_id, change, reason)
    live.ring_on_commit(webhook.organization_id)
