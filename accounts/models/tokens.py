"""What lets programs and browsers act as a person: API tokens and sessions."""

import hashlib
import secrets
import uuid
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.module_loading import import_string

from accounts.models.people import NAME, Organization, User
from config.base.actor import Actor
from config.base.secrets import CredentialField


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_all else self.filter(user_id=actor.user_id)

    def usable(self, now: datetime) -> Self:
        live = models.Q(expires_at__isnull=True) | models.Q(expires_at__gt=now)
        return self.filter(live, revoked_at__isnull=True, user__is_active=True)

    def issue(self, user: User, name: str, **options: Any) -> tuple["ApiToken", str]:
        """A new token and its secret, which is shown this once and stored as a hash."""
        secret = f"swy_{secrets.token_urlsafe(32)}"
        token = ApiToken(
            user=user, name=name, prefix=secret[:10], digest=ApiToken.digest_of(secret), **options
        )
        token.full_clean()
        token.save(force_insert=True)
        return token, secret


class ApiToken(models.Model):
    """Lets a program act as a person, perhaps read-only or in one organization."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    organization = models.ForeignKey(
        Organization, models.CASCADE, null=True, blank=True, related_name="tokens"
    )
    name = models.CharField(max_length=100, validators=[NAME])
    prefix = models.CharField(max_length=10, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    read_only = models.BooleanField(default=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_address = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @staticmethod
    def digest_of(secret: str) -> str:
        """SHA-256 is enough: the secret has 256 random bits, there is nothing to guess."""
        return hashlib.sha256(secret.encode()).hexdigest()

    def clean(self) -> None:
        if self.expires_at and self.expires_at <= timezone.now():
            raise ValidationError({"expires_at": "The expiry must lie in the future."})
        if self.organization_id and not self._is_member():
            raise ValidationError({"organization": "You are not a member of this organization."})

    def _is_member(self) -> bool:
        return self.user.memberships.filter(organization=self.organization).exists()

    def actor(self, request_id: str = "", address: str = "") -> Actor:
        """What this token may see and do: never more than its user. Needs `user` loaded."""
        person = self.user.actor()
        roles = dict(person.roles)
        if self.organization_id:
            roles = {key: role for key, role in roles.items() if key == self.organization_id}
        return Actor(
            name=person.name,
            user_id=person.user_id,
            token_id=self.pk,
            roles=roles,
            sees_all=person.sees_all and not self.organization_id,
            read_only=self.read_only or person.read_only,
            request_id=request_id,
            address=address,
        )


class Session(AbstractBaseSession):
    """A browser that has signed in. Its key is a secret: pages name a session by `id`."""

    id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(
        User, models.CASCADE, null=True, blank=True, related_name="sessions", editable=False
    )
    address = models.CharField(max_length=64, blank=True, editable=False)
    agent = models.CharField(max_length=300, blank=True, editable=False)  # the browser's own words
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_seen_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta(AbstractBaseSession.Meta):
        abstract = False

    def __str__(self) -> str:
        return str(self.id)

    def save(self, *args: Any, **kwargs: Any) -> None:
        # The store makes a new object each time: what it does not know must stay as it is.
        if kwargs.get("force_update"):
            kwargs["update_fields"] = ["session_data", "expire_date", "user"]
        super().save(*args, **kwargs)

    @classmethod
    def get_session_store_class(cls) -> Any:
        return import_string(f"{settings.SESSION_ENGINE}.SessionStore")


class IdempotencyKey(models.Model):
    """The first answer to a POST, for whoever sends it again within a day."""

    caller = models.UUIDField(editable=False)  # the token's id, or the user's
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=500)
    key = models.CharField(max_length=255)
    body_digest = models.CharField(max_length=64)
    # Null while the first request is under way; a process that died leaves it so.
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    answer = CredentialField(blank=True)
    had_secret = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["caller", "method", "path", "key"], name="idempotency_key_once"
            )
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotency_age")]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"
