"""Who is told of what happens: webhooks and notifications, and each delivery to them."""

import uuid
from typing import Self

from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.models.people import NAME, Organization
from config.base.actor import Actor
from config.base.leases import Leased, LeasedQuerySet
from config.base.secrets import CredentialField


class WebhookQuerySet(models.QuerySet["Webhook"]):
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_all else self.filter(organization_id__in=actor.organizations)


class Webhook(models.Model):
    """An address that is told of an organization's activities."""

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", "webhook"  # Standard Webhooks: JSON, signed
        NOTIFICATION = "notification", "notification"  # apprise: mail, Slack, Teams, Discord

    class State(models.TextChoices):
        ACTIVE = "active", "active"
        PAUSED = "paused", "paused"  # by a person, or after ten failures in a row
        DISABLED = "disabled", "disabled"  # it answered 410: gone

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="webhooks")
    kind = models.CharField(max_length=15, choices=Kind, default=Kind.WEBHOOK)
    name = models.CharField(max_length=100, validators=[NAME])
    url = CredentialField()  # it may hold a password
    events = models.JSONField(default=list)  # globs of verbs: "move.*"
    secret = CredentialField(blank=True, editable=False)
    # The one before: valid, too, until then.
    old_secret = CredentialField(blank=True, editable=False)
    old_secret_until = models.DateTimeField(null=True, blank=True, editable=False)
    state = models.CharField(max_length=10, choices=State, default=State.ACTIVE, editable=False)
    message = models.CharField(max_length=500, blank=True, editable=False)  # why it is not active
    failures_in_row = models.PositiveIntegerField(default=0, editable=False)
    # The last activity of its organization's chain that was looked at for it.
    position = models.BigIntegerField(default=0, editable=False)
    created_by_name = models.CharField(max_length=100, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                "organization",
                Lower("name"),
                name="webhook_name",
                violation_error_message="This name is taken.",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def has_two_secrets(self) -> bool:
        """Whether the one before is still valid, too."""
        return self.old_secret_until is not None and self.old_secret_until > timezone.now()


class DeliveryQuerySet(LeasedQuerySet):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_all:
            return self
        return self.filter(webhook__organization_id__in=actor.organizations)


class Delivery(Leased):
    """One message to one webhook, tried for 24 hours."""

    class State(models.TextChoices):
        PENDING = "pending", "pending"
        DELIVERED = "delivered", "delivered"
        FAILED = "failed", "failed"

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries")
    activity_id = models.BigIntegerField(null=True, editable=False)  # null: a test or a replay
    message_id = models.UUIDField(default=uuid.uuid4, editable=False)  # the same in every attempt
    event = models.CharField(max_length=60, editable=False)
    body = models.TextField(editable=False)  # as it is sent, byte for byte
    state = models.CharField(max_length=10, choices=State, default=State.PENDING, editable=False)
    attempts = models.PositiveIntegerField(default=0, editable=False)
    # The last attempt: what was sent and what came back.
    request_headers = models.JSONField(default=dict, editable=False)  # without the signature
    status = models.PositiveSmallIntegerField(null=True, editable=False)  # HTTP
    answer = models.TextField(blank=True, editable=False)  # its beginning
    error = models.CharField(max_length=500, blank=True, editable=False)
    milliseconds = models.PositiveIntegerField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    attempted_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["webhook", "activity_id"],
                condition=models.Q(activity_id__isnull=False),
                name="delivery_once",
            )
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=models.Q(next_attempt_at__isnull=False),
                name="delivery_due",
            ),
            models.Index(fields=["webhook", "-created_at", "-id"], name="delivery_latest"),
            models.Index(fields=["webhook", "message_id"], name="delivery_by_message"),
            models.Index(fields=["created_at"], name="delivery_age"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook_id}"
