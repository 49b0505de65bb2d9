"""/connections: the control planes that we may call."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import BooleanField, Case, QuerySet, Value, When
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.endpoints import Endpoint
from accounts.middleware import request_id_of
from accounts.permissions import organization_for
from config.base.api import ReasonBody, read, reason_of
from config.base.problems import Conflict
from fallback import connecting, external
from fallback.api.bodies import ConnectionBody
from fallback.filters import ConnectionFilters
from fallback.models import Connection
from fallback.serializers import ConnectionShown, TestShown

TAKEN = "The organization has a connection of this name."
WRITES = ["create", "update", "partial_update", "destroy", "test", "enable", "disable"]


class Connections(Endpoint):
    """A connection is a TrueFoundry control plane with a service token, which is never told."""

    queryset = Connection.objects.all()
    serializer_class = ConnectionShown
    verbs: ClassVar = dict.fromkeys(WRITES, "connection.write")
    problems: ClassVar = dict.fromkeys(WRITES, (409,))
    filters = ConnectionFilters
    search_fields = ("name", "base_url", "message")
    ordering = ("created_at", "id")
    ordering_fields: ClassVar = {
        name: name
        for name in ("name", "state", "enabled", "created_at", "updated_at", "checked_at")
    }

    def get_queryset(self) -> QuerySet[Any]:
        """Without the tokens: one that no key opens must not hide the rest."""
        environment = When(from_environment=True, then=Value(bool(settings.TF_SERVICE_API_TOKEN)))
        empty = When(token="", then=Value(False))
        has_token = Case(environment, empty, default=Value(True), output_field=BooleanField())
        return super().get_queryset().annotate(has_token=has_token).defer("token")

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(ConnectionShown(page, many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(ConnectionShown(self.get_object()).data)

    @extend_schema(request=ConnectionBody, responses={201: ConnectionShown})
    def create(self, request: Request) -> Response:
        data = read(ConnectionBody(data=request.data))
        given = data.pop("organization_id", None)
        organization = organization_for(self.actor, "connection.write", given)
        return Response(self._save(Connection(organization=organization), data), status=201)

    @extend_schema(request=ConnectionBody, responses=ConnectionShown)
    def partial_update(self, request: Request, pk: str) -> Response:
        return self._change(partial=True)

    @extend_schema(request=ConnectionBody, responses=ConnectionShown)
    def update(self, request: Request, pk: str) -> Response:
        """Without a token the stored one stays."""
        return self._change(partial=False)

    @extend_schema(request=ReasonBody, responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Its configs go with it. 409 while moves are open."""
        connecting.delete(self.get_object(), self.actor, reason_of(request))
        return Response(status=204)

    @extend_schema(request=None, responses=TestShown)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Try what a move needs and changes nothing; ten seconds at most."""

        def connect(connection: Connection) -> external.Caller:
            return external.caller_of(connection, request_id=request_id_of())

        findings = connecting.test(self.get_object(), self.actor, connect)
        works = all(finding.works for finding in findings)
        return Response(TestShown({"works": works, "findings": findings}).data)

    @extend_schema(request=None, responses=ConnectionShown)
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: str) -> Response:
        return Response(self._save(self.get_object(), {"enabled": True}))

    @extend_schema(request=None, responses=ConnectionShown)
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: str) -> Response:
        """Nothing new begins there; what is past its trigger is finished."""
        return Response(self._save(self.get_object(), {"enabled": False}))

    def _change(self, *, partial: bool) -> Response:
        connection = self.get_object()
        environment = connection.from_environment
        body = ConnectionBody(data=self.request.data, partial=partial or environment)
        data = read(body)
        if data.pop("organization_id", connection.organization_id) != connection.organization_id:
            raise ValidationError({"organization_id": ["A connection stays where it is."]})
        for name in ("base_url", "token", "assumed_user"):
            if environment and data.pop(name, "") not in ("", getattr(connection, name)):
                raise ValidationError({name: ["This connection reads it from the environment."]})
        return Response(self._save(connection, data))

    def _save(self, connection: Connection, data: dict[str, Any]) -> Any:
        """What was given goes onto the row as it is now: nobody else's change is undone."""
        try:
            with transaction.atomic():
                if not connection._state.adding:
                    connection = self._locked(connection)
                for name, value in data.items():
                    setattr(connection, name, value)
                refuse_second(connection)
                connecting.save(connection, self.actor)
        except IntegrityError:
            raise Conflict(TAKEN, "NameTaken") from None
        return ConnectionShown(self.get_queryset().get(pk=connection.pk)).data

    def _locked(self, connection: Connection) -> Connection:
        rows = Connection.objects.visible_to(self.actor).select_for_update(of=("self",))
        found: Connection | None = rows.filter(pk=connection.pk).first()
        if found is None:
            raise NotFound
        return found


def refuse_second(connection: Connection) -> None:
    same = Connection.objects.filter(
        organization_id=connection.organization_id, name__iexact=connection.name
    )
    if same.exclude(pk=connection.pk).exists():
        raise Conflict(TAKEN, "NameTaken")
