"""How people come into an organization."""

import uuid
from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models.people import Organization
from accounts.roles import Role
from config.base.actor import Actor
from config.base.secrets import CredentialField


class InviteQuerySet(models.QuerySet["Invite"]):
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_all else self.filter(organization_id__in=actor.organizations)

    def usable(self, now: datetime) -> Self:
        return self.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now),
            Q(most_uses__isnull=True) | Q(uses__lt=F("most_uses")),
            revoked_at__isnull=True,
            organization__deleted_at__isnull=True,
        )


class Invite(models.Model):
    """A code that makes whoever has it a member. The standing one is the organization's
    `inviteCode`: for members, without end or limit, replaced when it is rotated."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="invites")
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)
    standing = models.BooleanField(default=False, editable=False)
    code = CredentialField(editable=False)
    code_hash = models.CharField(max_length=64, unique=True, editable=False)  # keyed
    expires_at = models.DateTimeField(null=True, blank=True)
    most_uses = models.PositiveIntegerField(null=True, blank=True)
    uses = models.PositiveIntegerField(default=0, editable=False)
    # Accounts made by it where signing up takes an invite, whether or not they have joined.
    sign_ups = models.PositiveIntegerField(default=0, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by_name = models.CharField(max_length=100, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = InviteQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization"],
                condition=Q(standing=True, revoked_at__isnull=True),
                name="invite_one_standing",
            ),
            models.CheckConstraint(
                condition=Q(most_uses__isnull=True) | Q(uses__lte=F("most_uses")),
                name="invite_not_used_up_twice",
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="invite_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.role} invite to {self.organization}"
