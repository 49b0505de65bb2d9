"""Who did what, and the chain that proves it."""

import uuid
from typing import Any, Self

from django.db import models
from django.utils import timezone

from config.base.actor import Actor

MANY = 50  # organizations of one person


class AppendOnly(TypeError):
    """Activities are written once. Sealing and pruning alone touch them again."""

    def __init__(self) -> None:
        super().__init__("Activities are never changed or deleted.")


class ActivityQuerySet(models.QuerySet["Activity"]):
    """Only reads and inserts. What seals and prunes goes by the model's base manager."""

    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_all else self.filter(organization_id__in=actor.organizations)

    def newest(self, actor: Actor, count: int) -> Self:
        """The last `count` that `actor` sees; nothing further can be asked of the answer.

        Picked from each organization's by itself: there is an index with the order of one, and all
        activities of several would be sorted.
        """
        here = self.order_by("-created_at", "-id")
        if actor.sees_all or not 1 < len(actor.organizations) <= MANY:
            return here.visible_to(actor)[:count]
        picked = models.Q()
        for organization_id in actor.organizations:
            ours = here.filter(organization_id=organization_id)
            picked |= models.Q(pk__in=ours.values("pk")[:count])
        return here.filter(picked)[:count]

    def update(self, **fields: Any) -> int:
        raise AppendOnly

    def bulk_update(self, *args: Any, **options: Any) -> int:
        raise AppendOnly

    def delete(self) -> tuple[int, dict[str, int]]:
        raise AppendOnly

    def bulk_create(self, objs: Any, *args: Any, **options: Any) -> Any:
        if options.get("update_conflicts"):
            raise AppendOnly
        return super().bulk_create(objs, *args, **options)


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
    refused = models.BooleanField(default=False, editable=False)  # it was tried, and not allowed
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Its place in its organization's chain, from 1, and what proves it. Null until it is sealed.
    position = models.BigIntegerField(null=True, editable=False)
    digest = models.CharField(max_length=64, blank=True, editable=False)

    objects = ActivityQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "activities"
        ordering = ["-created_at", "-id"]
        indexes = [
            # The feed of an organization, newest first, and the feed of one object.
            models.Index(fields=["organization_id", "-created_at"], name="activity_feed"),
            models.Index(fields=["object_kind", "object_id"], name="activity_object"),
            # What is to be sealed.
            models.Index(
                fields=["id"], condition=models.Q(position__isnull=True), name="activity_unsealed"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["organization_id", "position"], name="activity_position_once"
            ),
            # Nulls are distinct, so what belongs to no organization needs its own.
            models.UniqueConstraint(
                fields=["position"],
                condition=models.Q(organization_id__isnull=True),
                name="activity_position_once_of_none",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.verb} {self.object_name}"

    def save(self, **options: Any) -> None:
        """Once. Raises AppendOnly for a row that is there already."""
        if not self._state.adding:
            raise AppendOnly
        super().save(**(options | {"force_insert": True}))

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        raise AppendOnly


NONE = uuid.UUID(int=0)


class Chain(models.Model):
    """How far an organization's activities are sealed: the head, and where pruning has cut.

    What belongs to no organization is the chain of `NONE`. Both ends are signed (HMAC with
    SECRET_KEY), so that rows cannot be cut off unseen.
    """

    organization_id = models.UUIDField(primary_key=True, editable=False)
    position = models.BigIntegerField(default=0, editable=False)
    digest = models.CharField(max_length=64, blank=True, editable=False)
    signature = models.CharField(max_length=64, blank=True, editable=False)
    # The last row that was pruned: the chain begins after it.
    anchor_position = models.BigIntegerField(default=0, editable=False)
    anchor_digest = models.CharField(max_length=64, blank=True, editable=False)
    anchor_signature = models.CharField(max_length=64, blank=True, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["organization_id"]

    def __str__(self) -> str:
        return f"{self.organization_id} up to {self.position}"
