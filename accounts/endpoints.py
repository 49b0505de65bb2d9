"""The base of every endpoint about rows of an organization."""

import uuid
from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from rest_framework import viewsets
from rest_framework.exceptions import ValidationError

from accounts.models import Organization
from accounts.permissions import actor_of
from config.base.actor import Actor
from config.base.api import Listed
from config.base.parameters import TEXT, Parameter

ORGANIZATION = Parameter("organization", TEXT, "An organization's id or slug.", many=True)


class Endpoint(Listed, viewsets.GenericViewSet[Any]):
    """Every query starts at what the caller may see; `?organization=` narrows a list down."""

    verbs: ClassVar[dict[str, str]] = {}
    organization_path: ClassVar[str] = "organization_id"

    @property
    def actor(self) -> Actor:
        return actor_of(self.request)

    def known_parameters(self) -> list[Parameter]:
        if self.action != "list":
            return []
        return [*self.list_parameters(), ORGANIZATION]

    def visible(self) -> QuerySet[Any]:
        """What the caller may see."""
        every: Any = self.queryset  # type: ignore[arg-type]
        rows: QuerySet[Any] = every.all().visible_to(self.actor)
        return rows

    def get_queryset(self) -> QuerySet[Any]:
        rows = self.visible()
        names = ORGANIZATION.values(self.given) if self.action == "list" else []
        return self.in_organizations(rows, organizations(self.actor, names)) if names else rows

    def in_organizations(self, rows: QuerySet[Any], ids: list[uuid.UUID]) -> QuerySet[Any]:
        return rows.filter(**{f"{self.organization_path}__in": ids})


def organizations(actor: Actor, names: list[str]) -> list[uuid.UUID]:
    """Those of the ids and slugs given. Raises ValidationError for what is unknown to `actor`."""
    wanted = Q(slug__in=names) | Q(pk__in=[found for name in names if (found := _uuid(name))])
    rows = Organization.objects.visible_to(actor).filter(wanted).values_list("pk", "slug")
    known = {str(pk) for pk, _ in rows} | {slug for _, slug in rows}
    for name in names:
        if str(_uuid(name) or name) not in known and name not in known:
            raise ValidationError({"organization": ["There is no such organization."]})
    return [pk for pk, _ in rows]


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
