"""Connections: the control planes that we may call."""

import uuid
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.models import NAME, Organization
from config.base import outbound
from config.base.actor import Actor
from config.base.secrets import CredentialField, Undecryptable, Unreadable
from fallback import naming

ASSUMED_USER = RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z", "Use a plain user name.")


class ConnectionState(models.TextChoices):
    UNKNOWN = "unknown", "not tried yet"
    CONNECTED = "connected", "connected"
    UNREACHABLE = "unreachable", "unreachable"
    UNAUTHORIZED = "unauthorized", "token refused"


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def visible_to(self, actor: Actor) -> Self:
        alive = self.filter(organization__deleted_at__isnull=True)
        return alive if actor.sees_all else alive.filter(organization_id__in=actor.organizations)

    def usable(self) -> Self:
        """Switched on and, as far as the row can tell, with an address and a token."""
        ours = Q(from_environment=False) & ~Q(token="")
        there = settings.TF_SERVICE_API_TOKEN and settings.TRUEFOUNDRY_API_URL
        environment = Q(from_environment=True) if there else Q(pk=None)
        return self.filter(ours | environment, enabled=True, organization__deleted_at__isnull=True)


class Connection(models.Model):
    """A TrueFoundry control plane and the service token that we use there."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="connections")
    name = models.CharField(max_length=100, validators=[NAME])
    base_url = models.CharField(
        "base URL",
        max_length=300,
        blank=True,
        help_text="As far as the service prefix: https://HOST/api/svc. Without a path, /api/svc.",
    )
    token = CredentialField(blank=True, help_text="Stored encrypted, never shown again.")
    assumed_user = models.CharField(max_length=64, default="truefoundry", validators=[ASSUMED_USER])
    enabled = models.BooleanField(default=True)
    from_environment = models.BooleanField(default=False, editable=False)
    state = models.CharField(
        max_length=15, choices=ConnectionState, default=ConnectionState.UNKNOWN, editable=False
    )
    message = models.CharField(max_length=300, blank=True, editable=False)
    checked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                "organization",
                Lower("name"),
                name="connection_name",
                violation_error_message="The organization has a connection of this name.",
            ),
            models.UniqueConstraint(
                fields=["from_environment"],
                condition=Q(from_environment=True),
                name="connection_one_from_environment",
            ),
            models.CheckConstraint(
                condition=Q(from_environment=True, base_url="", token="")
                | Q(from_environment=False) & ~Q(base_url=""),
                name="connection_environment_stores_nothing",
                violation_error_message="Give a base URL.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        """What is the environment's is read from there at use, whatever the row has."""
        found = super().from_db(*args, **kwargs)
        if found.__dict__.get("from_environment"):
            found.assumed_user = settings.SFY_ASSUMED_USER
        return found

    @property
    def url(self) -> str:
        raw = settings.TRUEFOUNDRY_API_URL if self.from_environment else self.base_url
        return naming.base_url_of(raw) if raw else ""

    @property
    def remote(self) -> str:
        """The scope of exactly-once: scheme, host and port in lower case."""
        return naming.remote_of(self.url) if self.url else ""

    @property
    def secret(self) -> str:
        """Raises Undecryptable where the key of the stored token is lost."""
        if isinstance(self.token, Unreadable):
            raise Undecryptable("ENCRYPTION_KEYS lacks the key of the stored token: store it again")
        return settings.TF_SERVICE_API_TOKEN if self.from_environment else self.token

    def clean(self) -> None:
        if self.from_environment:
            return
        if not self.base_url:
            raise ValidationError({"base_url": "Give the control plane's URL."})
        try:
            outbound.check_url(self.base_url)
        except outbound.Refused as error:
            raise ValidationError({"base_url": str(error)}) from None
        self.base_url = naming.base_url_of(self.base_url)
        if any(not 32 < ord(character) < 127 for character in self.token or ""):
            raise ValidationError({"token": "A token has no spaces and plain ASCII only."})
