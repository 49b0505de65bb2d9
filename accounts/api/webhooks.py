"""/webhooks: who is told of what happens, and each delivery."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import webhooks
from accounts.api.webhook_bodies import (
    DeliveryShown,
    DeliveryWithRequest,
    WebhookBody,
    WebhookShown,
    WebhookWithSecret,
)
from accounts.endpoints import Endpoint
from accounts.models import Delivery, Webhook
from accounts.permissions import allow, organization_for
from accounts.tasks import deliver_tick
from config.base import live
from config.base.api import ReasonBody, read, reason_of
from config.base.parameters import ID, MOMENT, NUMBER, AnyOf, Filters, one_of

READS = ("list", "retrieve")
WRITES = (
    "create",
    "partial_update",
    "destroy",
    "rotate",
    "pause",
    "resume",
    "test",
    "replay",
)
VERBS = dict.fromkeys(READS, "webhook.read") | dict.fromkeys(WRITES, "webhook.write")
NO_STORE = {"Cache-Control": "no-store"}


class WebhookFilters(Filters):
    kind = AnyOf(one_of(Webhook.Kind.values))
    state = AnyOf(one_of(Webhook.State.values))
    name = AnyOf()
    created_by = AnyOf(field_name="created_by_name")
    created_after = AnyOf(MOMENT, "created_at", "gte")
    created_before = AnyOf(MOMENT, "created_at", "lt")
    updated_after = AnyOf(MOMENT, "updated_at", "gte")
    updated_before = AnyOf(MOMENT, "updated_at", "lt")


class Webhooks(Endpoint):
    """An address that is told of an organization's activities, signed as Standard Webhooks has it.

    For administrators. A notification goes to mail, Slack, Teams or Discord instead.
    """

    queryset = Webhook.objects.select_related("organization")
    serializer_class = WebhookShown
    verbs: ClassVar = VERBS
    problems: ClassVar = dict.fromkeys(
        ("create", "partial_update", "destroy", "rotate", "pause", "resume", "test"), (409,)
    )
    filters = WebhookFilters
    search_fields = ("name", "message", "created_by_name")
    ordering = ("created_at", "id")
    ordering_fields: ClassVar = {
        name: name for name in ("name", "kind", "state", "created_at", "updated_at")
    }

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        return webhooks.readable(rows, self.actor) if self.action == "list" else rows

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(told(page))

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(told([self.get_object()])[0])

    @extend_schema(request=WebhookBody, responses={201: WebhookWithSecret})
    def create(self, request: Request) -> Response:
        """It hears of what happens from now on. The secret is told in this answer only."""
        data = read(WebhookBody(data=request.data))
        given, kind = data.pop("organization_id", None), data.pop("kind", Webhook.Kind.WEBHOOK)
        organization = organization_for(self.actor, "webhook.write", given)
        webhook, secret = webhooks.create(self.actor, organization, kind, data)
        return Response(with_secret(webhook, secret), status=201, headers=NO_STORE)

    @extend_schema(request=WebhookBody, responses=WebhookShown)
    def partial_update(self, request: Request, pk: str) -> Response:
        """What is left out stays. An address as it is shown, masked, is no change."""
        webhook = self.get_object()
        data = read(WebhookBody(data=request.data, partial=True))
        for name in ("organization_id", "kind"):
            if data.pop(name, getattr(webhook, name)) != getattr(webhook, name):
                raise ValidationError({name: ["It stays as it is: make another webhook."]})
        return Response(told([webhooks.change(webhook, self.actor, data)])[0])

    @extend_schema(request=ReasonBody, responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Its deliveries go with it."""
        webhooks.delete(self.get_object(), self.actor, reason_of(request))
        return Response(status=204)

    @extend_schema(request=None, responses=WebhookWithSecret)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """A new secret, told in this answer only. For a day both it and the old one are valid.

        There are two at most: where `oldSecretUntil` lies ahead, the one before the old one ends at
        once.
        """
        webhook, secret = webhooks.rotate(self.get_object(), self.actor)
        return Response(with_secret(webhook, secret), headers=NO_STORE)

    @extend_schema(request=ReasonBody, responses=WebhookShown)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Nothing goes out; what happens waits for 24 hours at most."""
        webhook = self.get_object()
        return Response(told([webhooks.pause(webhook, self.actor, reason_of(request))])[0])

    @extend_schema(request=None, responses=WebhookShown)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """What waits goes out. One that was disabled begins with what happens from now on."""
        webhook = webhooks.resume(self.get_object(), self.actor)
        live.nudge(deliver_tick)
        return Response(told([webhook])[0])

    @extend_schema(request=None, responses={202: DeliveryShown})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send `webhook.test` once, also where it is paused. Its delivery tells what came of it."""
        delivery = webhooks.test(self.get_object(), self.actor)
        live.nudge(deliver_tick)
        return Response(DeliveryShown(delivery).data, status=202)


class DeliveryFilters(Filters):
    state = AnyOf(one_of(Delivery.State.values))
    event = AnyOf()
    id = AnyOf(ID, "message_id")
    status = AnyOf(NUMBER)
    created_after = AnyOf(MOMENT, "created_at", "gte")
    created_before = AnyOf(MOMENT, "created_at", "lt")


class Deliveries(Endpoint):
    """The messages to one webhook, of the last 30 days. An id is that of the message."""

    queryset = Delivery.objects.all()
    serializer_class = DeliveryShown
    lookup_field, lookup_url_kwarg = "message_id", "message"
    verbs: ClassVar = VERBS
    problems: ClassVar = {"replay": (409,)}
    filters = DeliveryFilters
    organization_path = "webhook__organization_id"
    search_fields = ("event", "error")
    ordering_fields: ClassVar = {
        name: name for name in ("created_at", "attempted_at", "attempts", "status")
    }

    def organization_id_of(self, delivery: Delivery) -> UUID:
        return delivery.webhook.organization_id

    def get_queryset(self) -> QuerySet[Any]:
        webhook = self._webhook()
        rows = super().get_queryset().filter(webhook=webhook)
        if self.action == "list":
            allow(self.actor, "webhook.read", webhook.organization_id, webhook)
            return rows.defer("body", "answer", "request_headers")
        return rows.select_related("webhook__organization")

    def _webhook(self) -> Webhook:
        """The one in the address. Raises NotFound."""
        try:
            key = UUID(self.kwargs["webhook"])
        except ValueError:
            raise NotFound from None
        found = Webhook.objects.visible_to(self.actor).only("organization_id").filter(pk=key)
        webhook: Webhook | None = found.first()
        if webhook is None:
            raise NotFound
        return webhook

    def list(self, request: Request, webhook: str) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(DeliveryShown(page, many=True).data)

    @extend_schema(responses=DeliveryWithRequest)
    def retrieve(self, request: Request, webhook: str, message: str) -> Response:
        return Response(DeliveryWithRequest(self.get_object()).data)

    @extend_schema(request=None, responses={202: DeliveryShown})
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, webhook: str, message: str) -> Response:
        """Send the same body again, as a new message. 409 while it is under way."""
        again = webhooks.replay(self.get_object(), self.actor)
        live.nudge(deliver_tick)
        return Response(DeliveryShown(again).data, status=202)


def told(rows: list[Webhook]) -> list[Any]:
    """Webhooks as the API tells them."""
    return list(WebhookShown(rows, many=True, context={"latest": webhooks.latest(rows)}).data)


def with_secret(webhook: Webhook, secret: str) -> Any:
    context = {"latest": webhooks.latest([webhook]), "secret": secret}
    return WebhookWithSecret(webhook, context=context).data
