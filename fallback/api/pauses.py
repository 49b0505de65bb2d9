"""/pauses: what is not moved for now."""

import uuid
from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import activity
from accounts.endpoints import Endpoint
from accounts.permissions import allow
from config.base.api import ReasonBody, read, reason_of
from fallback import pausing
from fallback.api.bodies import PauseBody
from fallback.filters import PauseFilters
from fallback.models import Connection, FallbackConfig, Pause
from fallback.pausing import Scope
from fallback.serializers import PauseShown

EVERYTHING = Q(connection=None, config=None)


class Pauses(Endpoint):
    """While something is paused, nothing new is moved there."""

    queryset = Pause.objects.all()
    serializer_class = PauseShown
    verbs: ClassVar = dict.fromkeys(["create", "destroy"], "fallback.pause")
    problems: ClassVar = dict.fromkeys(["create", "destroy"], (409,))
    filters = PauseFilters
    search_fields = ("reason", "by_name")
    ordering = ("created_at", "id")
    ordering_fields: ClassVar = {"created_at": "created_at", "until": "until", "by": "by_name"}

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset().select_related("connection", "config__connection")
        return rows.defer("connection__token", "config__connection__token")

    def in_organizations(self, rows: QuerySet[Any], ids: list[uuid.UUID]) -> QuerySet[Any]:
        """A pause of everything is everybody's."""
        theirs = Q(connection__organization__in=ids) | Q(config__connection__organization__in=ids)
        return rows.filter(theirs | EVERYTHING)

    def organization_id_of(self, pause: Pause) -> uuid.UUID | None:
        scope = pause.config or pause.connection
        return scope.organization_id if scope else None

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(PauseShown(page, many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(PauseShown(self.get_object()).data)

    @extend_schema(request=PauseBody, responses={201: PauseShown})
    def create(self, request: Request) -> Response:
        """Of a connection, of a config, or, for superusers, of everything."""
        data = read(PauseBody(data=request.data))
        scope = self._scope(data)
        if scope:
            allow(self.actor, "fallback.pause", scope.organization_id, scope)
        else:
            self._must_see_all()
        pause = pausing.pause(scope, self.actor, data["reason"], data.get("until"))
        return Response(PauseShown(pause).data, status=201)

    @extend_schema(request=ReasonBody, responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        pause = self.get_object()
        scope = pause.config or pause.connection
        if scope is None:
            self._must_see_all()
        pausing.resume(scope, self.actor, reason_of(request))
        return Response(status=204)

    def _scope(self, data: dict[str, Any]) -> Scope:
        if found := data.get("connection_id"):
            rows: QuerySet[Any] = Connection.objects.visible_to(self.actor).defer("token")
        elif found := data.get("config_id"):
            rows = FallbackConfig.objects.visible_to(self.actor).select_related("connection")
            rows = rows.defer("connection__token")
        else:
            return None
        scope: Scope = rows.filter(pk=found).first()
        if scope is None:
            name = "connection" if data.get("connection_id") else "config"
            raise ValidationError({f"{name}_id": [f"There is no such {name}."]})
        return scope

    def _must_see_all(self) -> None:
        if not self.actor.sees_all:
            activity.refused(self.actor, "fallback.pause", None)
            raise PermissionDenied("Only a superuser may pause everything.", "RoleTooLow")
