"""People, organizations, and what they did."""

import hashlib
import secrets
import uuid
from datetime import datetime
from typing import Any, Self

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import PermissionsMixin, UserManager
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.text import slugify

from accounts.roles import Role
from config.base.actor import Actor

USERNAME = RegexValidator(
    r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\Z",
    "Use letters, digits, '.', '_' and '-'; begin with none of '.-'.",
)
NAME = RegexValidator(
    r"^[^\W_](?:[\w .,&'()/+-]*[\w.)])?\Z",
    "Use letters, digits, spaces and . , & ' ( ) / + - _; begin with a letter or digit.",
)


class User(AbstractBaseUser, PermissionsMixin):
    """A person. Deactivated, never deleted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(max_length=254)
    username = models.CharField(max_length=64, validators=[USERNAME])
    is_active = models.BooleanField("active", default=True)
    is_staff = models.BooleanField("may open the admin", default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["email"]

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                Lower("email"), name="user_email", violation_error_message="This email is taken."
            ),
            models.UniqueConstraint(
                Lower("username"),
                name="user_username",
                violation_error_message="This user name is taken.",
            ),
        ]

    def __str__(self) -> str:
        return self.username

    def actor(self, request_id: str = "", address: str = "") -> Actor:
        """What this person may see and do now. A deactivated person sees nothing."""
        if not self.is_active:
            return Actor.nobody()
        roles = {
            m.organization_id: m.role
            for m in self.memberships.filter(organization__deleted_at__isnull=True)
        }
        return Actor(
            name=self.username,
            user_id=self.pk,
            roles=roles,
            sees_all=self.is_superuser,
            request_id=request_id,
            address=address,
        )


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def alive(self) -> Self:
        return self.filter(deleted_at__isnull=True)

    def visible_to(self, actor: Actor) -> Self:
        return self.alive() if actor.sees_all else self.alive().filter(pk__in=actor.organizations)


class Organization(models.Model):
    """The boundary of what people see."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100, validators=[NAME])
    slug = models.SlugField(max_length=100, unique=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                Lower("name"),
                name="organization_name",
                violation_error_message="This name is taken.",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self.slug:
            base = slugify(self.name)[:90] or "organization"
            taken = Organization.objects.filter(slug=base).exclude(pk=self.pk).exists()
            self.slug = f"{base}-{secrets.token_hex(3)}" if taken else base
        super().save(*args, **kwargs)


class Membership(models.Model):
    """A person's role in an organization."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["user", "organization"], name="membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="membership_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}: {self.role}"


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


class ActivityQuerySet(models.QuerySet["Activity"]):
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_all else self.filter(organization_id__in=actor.organizations)


class Activity(models.Model):
    """Who did what, when, to what. Append-only; no foreign keys, so that it outlives everything."""

    organization_id = models.UUIDField(null=True, editable=False)
    actor_kind = models.CharField(max_length=10, editable=False)
    actor_id = models.UUIDField(null=True, editable=False)
    actor_name = models.CharField(max_length=100, editable=False)
    verb = models.CharField(max_length=60, editable=False)
    object_kind = models.CharField(max_length=60, editable=False)
    object_id = models.CharField(max_length=64, editable=False)
    object_name = models.CharField(max_length=200, editable=False)
    change = models.JSONField(default=dict, editable=False)
    reason = models.CharField(max_length=500, blank=True, editable=False)
    request_id = models.CharField(max_length=64, blank=True, editable=False)
    address = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ActivityQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "activities"
        ordering = ["-created_at", "-id"]
        indexes = [
            # The feed of an organization, newest first, and the feed of one object.
            models.Index(fields=["organization_id", "-created_at"], name="activity_feed"),
            models.Index(fields=["object_kind", "object_id"], name="activity_object"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.verb} {self.object_name}"
