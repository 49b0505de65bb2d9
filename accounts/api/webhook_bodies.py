"""What the API takes and tells of webhooks, notifications and their deliveries."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts import messages
from accounts.models import Delivery, Webhook
from accounts.webhooks import LONGEST_GLOB, LONGEST_URL, MOST_EVENTS
from config.base.api import Body, Shown


class LastDeliveryShown(Shown):
    """The last message that was tried."""

    id = serializers.UUIDField(source="message_id")

    class Meta:
        model = Delivery
        fields = ("id", "event", "state", "status", "error", "attempts", "attempted_at")


class WebhookShown(Shown):
    """Never its secret; its address with passwords masked."""

    url = serializers.SerializerMethodField()
    events = serializers.ListField(child=serializers.CharField())
    created_by = serializers.CharField(source="created_by_name")
    last_delivery = serializers.SerializerMethodField(help_text="The last that was tried.")

    class Meta:
        model = Webhook
        fields = (
            "id",
            "organization_id",
            "kind",
            "name",
            "url",
            "events",
            "state",
            "message",
            "failures_in_row",
            "old_secret_until",
            "last_delivery",
            "created_by",
            "created_at",
            "updated_at",
        )

    def get_url(self, webhook: Webhook) -> str:
        return messages.masked(webhook)

    @extend_schema_field(LastDeliveryShown(allow_null=True))
    def get_last_delivery(self, webhook: Webhook) -> Any:
        found = self.context["latest"].get(webhook.pk)
        return LastDeliveryShown(found).data if found else None


class WebhookWithSecret(WebhookShown):
    """As it is, and its secret: this once."""

    secret = serializers.SerializerMethodField(
        help_text="Told here, and never again. null: a notification has none."
    )

    class Meta(WebhookShown.Meta):
        fields = (*WebhookShown.Meta.fields, "secret")  # type: ignore[assignment]

    def get_secret(self, webhook: Webhook) -> str | None:
        return self.context["secret"] or None


class WebhookBody(Body):
    """Who is told, and of what."""

    told = frozenset(WebhookShown.Meta.fields)

    organization_id = serializers.UUIDField(
        required=False, help_text="Needed by those who are in several organizations."
    )
    kind = serializers.ChoiceField(choices=Webhook.Kind.choices, required=False)
    name = serializers.CharField(max_length=100)
    url = serializers.CharField(
        max_length=LONGEST_URL,
        help_text="https://…; of a notification, an address of apprise: mailtos://, slack://, "
        "workflows:// (Teams) or discord://.",
    )
    events = serializers.ListField(
        child=serializers.CharField(max_length=LONGEST_GLOB),
        allow_empty=False,
        max_length=MOST_EVENTS,
        help_text="Verbs of activities, or globs of them: move.*",
    )


class DeliveryShown(Shown):
    """A message to a webhook, and what became of it."""

    id = serializers.UUIDField(source="message_id", help_text="The webhook-id of each attempt.")
    webhook_id = serializers.UUIDField()

    class Meta:
        model = Delivery
        fields = (
            "id",
            "webhook_id",
            "event",
            "state",
            "attempts",
            "status",
            "error",
            "milliseconds",
            "created_at",
            "attempted_at",
            "next_attempt_at",
            "finished_at",
        )


class RequestShown(serializers.Serializer[Any]):
    headers = serializers.DictField(
        child=serializers.CharField(), source="request_headers", help_text="But the signature."
    )
    body = serializers.CharField(help_text="As it is sent, byte for byte.")


class DeliveryWithRequest(DeliveryShown):
    """With the request of the last attempt, and the beginning of its answer."""

    request = RequestShown(source="*")
    answer = serializers.CharField()

    class Meta(DeliveryShown.Meta):
        fields = (*DeliveryShown.Meta.fields, "request", "answer")  # type: ignore[assignment]
