"""People, organizations, and who belongs where."""

import secrets
import uuid
from typing import Any, Self

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import PermissionsMixin, UserManager
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

    def deleted(self) -> Self:
        return self.filter(deleted_at__isnull=False)

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
