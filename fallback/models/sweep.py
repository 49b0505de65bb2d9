"""Sweeps: what each pass saw, planned and left alone."""

import uuid
from typing import Self

from django.db import models
from django.utils import timezone

from accounts.models import Organization
from config.base.actor import Actor
from config.base.leases import Leased, LeasedQuerySet


class SweepQuerySet(LeasedQuerySet):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_all:
            return self.exclude(organization__in=Organization.objects.deleted())
        return self.filter(organization_id__in=actor.organizations)


class Sweep(Leased):
    """One pass over an organization's sources. A quiet pass updates the last quiet row.

    One that a person asked for waits as a row with `next_attempt_at` until a worker runs it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="sweeps")
    by_person = models.BooleanField(default=False)
    by_name = models.CharField(max_length=100, blank=True)
    dry_run = models.BooleanField(default=False)
    passes = models.PositiveIntegerField(default=1)
    quiet = models.BooleanField(default=False)
    seen = models.PositiveIntegerField(default=0)
    stuck = models.PositiveIntegerField(default=0)
    planned = models.PositiveIntegerField(default=0)
    skipped = models.JSONField(default=dict)  # {reason: how many}
    errors = models.PositiveIntegerField(default=0)
    # [{connection, clusterId, workspaceId, seen, stuck, planned, skipped, error, message, runs}]
    sources = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = SweepQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            # The last pass of an organization, and pruning by age.
            models.Index(fields=["organization", "-created_at"], name="sweep_latest")
        ]

    def __str__(self) -> str:
        return f"sweep of {self.created_at:%Y-%m-%d %H:%M:%S}"
