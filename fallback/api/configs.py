"""/fallback-configs: which stuck runs go where."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError as InvalidModel
from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.endpoints import Endpoint
from accounts.middleware import request_id_of
from accounts.permissions import allow, organization_for
from config.base.api import ReasonBody, read, reason_of
from config.base.casing import camel
from config.base.problems import Conflict, by_field
from fallback import configuring, external
from fallback.api.bodies import ConfigBody
from fallback.filters import ConfigFilters
from fallback.models import Connection, Destination, FallbackConfig
from fallback.serializers import ConfigShown, RepairShown, told

SOURCE = ("source_cluster_id", "source_workspace_id", "source_job_id")
FOUND = ("source_workspace_name", "source_job_name")  # what a look-up tells of the source
NAMES = {
    "source_cluster_id": "source.clusterId",
    "source_workspace_id": "source.workspaceId",
    "source_job_id": "source.jobId",
    "connection": "connectionId",
}
PLACE = ("cluster_id", "workspace_id", "workspace_fqn", "max_open_moves")
SECOND = "There is a config for this source already."
CONFLICTS = {"Loop": "Loop", "unique_together": "ConfigExists"}


class Configs(Endpoint):
    """A config says where the stuck runs of a workspace, or of one job in it, go."""

    queryset = FallbackConfig.objects.all()
    serializer_class = ConfigShown
    organization_path = "connection__organization_id"
    verbs: ClassVar = dict.fromkeys(
        ["create", "update", "partial_update", "destroy", "repair"], "config.write"
    )
    problems: ClassVar = dict.fromkeys(["create", "update", "partial_update", "repair"], (409,))
    filters = ConfigFilters
    search_fields = (
        "source_workspace_name",
        "source_workspace_id",
        "source_job_name",
        "source_job_id",
        "created_by_name",
    )
    ordering = ("created_at", "id")
    ordering_fields: ClassVar = {
        "created_at": "created_at",
        "updated_at": "updated_at",
        "source_workspace_id": "source_workspace_id",
        "source_workspace_name": "source_workspace_name",
        "stuck_threshold_minutes": "stuck_threshold_minutes",
        "mode": "mode",
        "enabled": "enabled",
        "created_by": "created_by_name",
    }

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset().select_related("connection").defer("connection__token")
        return rows.prefetch_related("destinations")

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(told(page))

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(told([self.get_object()])[0])

    @extend_schema(request=ConfigBody, responses={201: ConfigShown})
    def create(self, request: Request) -> Response:
        data = read(ConfigBody(data=request.data))
        config = FallbackConfig(
            connection=self._connection(data),
            created_by_id=self.actor.user_id,
            created_by_name=self.actor.name[:100],
        )
        return Response(told([self._save(config, data)])[0], status=201)

    @extend_schema(request=ConfigBody, responses=ConfigShown)
    def update(self, request: Request, pk: str) -> Response:
        """What is left out gets its default."""
        return self._change(partial=False)

    @extend_schema(request=ConfigBody, responses=ConfigShown)
    def partial_update(self, request: Request, pk: str) -> Response:
        """What is left out stays. Destinations are replaced as a whole."""
        return self._change(partial=True)

    @extend_schema(request=ReasonBody, responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Always possible: its open moves run on."""
        configuring.delete_config(self.get_object(), self.actor, reason_of(request))
        return Response(status=204)

    @extend_schema(request=None, responses=RepairShown)
    @action(detail=True, methods=["post"])
    def repair(self, request: Request, pk: str) -> Response:
        """Look up the FQNs that are missing."""
        repaired, problems = configuring.repair(self.actor, [self.get_object()], connect)
        needs_repair = self.get_object().needs_repair
        answer = {"repaired": repaired, "problems": problems, "needs_repair": needs_repair}
        return Response(RepairShown(answer).data)

    def _connection(self, data: dict[str, Any]) -> Connection:
        """The one that a new config names, or the only one of its organization."""
        given, named = data.pop("connection_id", None), data.pop("organization_id", None)
        visible = Connection.objects.visible_to(self.actor).defer("token")
        if given is None:
            organization = organization_for(self.actor, "config.write", named)
            found = list(visible.filter(organization=organization, enabled=True)[:2])
            if len(found) == 1:
                return found[0]
            text = "There are several: say which one." if found else "There is no enabled one."
            raise ValidationError({"connection_id": [text]})
        connection: Connection | None = visible.filter(pk=given).first()
        if connection is None or named not in (None, connection.organization_id):
            raise ValidationError({"connection_id": ["There is no such connection."]})
        allow(self.actor, "config.write", connection.organization_id, connection)
        return connection

    def _change(self, *, partial: bool) -> Response:
        config = self.get_object()
        data = read(ConfigBody(data=self.request.data, partial=partial))
        for name in ("organization_id", "connection_id"):
            if data.pop(name, getattr(config, name)) != getattr(config, name):
                raise ValidationError({name: ["A config stays where it is: make another."]})
        return Response(told([self._save(config, data)])[0])

    def _save(self, config: FallbackConfig, data: dict[str, Any]) -> FallbackConfig:
        """The remote is asked first. Then what was given goes onto the row as it is by then:
        two who change different fields at once both get what they wanted."""
        places = [Destination(**place) for place in data.pop("places", [])]
        moved = any(getattr(config, name) != data.get(name, "") for name in SOURCE if name in data)
        assign(config, data)
        refuse_same(config, places)
        if places or moved:
            look_up(config, places)
            data |= {name: getattr(config, name) for name in FOUND}
        try:
            with transaction.atomic():
                if not config._state.adding:
                    config = self._as_it_is(config)
                    assign(config, data)
                refuse_second(config)
                there = places or list(config.destinations.all())
                return configuring.save_config(config, there, self.actor, look_up=False)
        except InvalidModel as error:
            raise refusal(error, places) from None

    def _as_it_is(self, config: FallbackConfig) -> FallbackConfig:
        """The row now. Until the transaction ends nobody else saves one of this connection."""
        Connection.objects.select_for_update().only("pk").get(pk=config.connection_id)
        rows = FallbackConfig.objects.visible_to(self.actor).select_related("connection")
        found: FallbackConfig | None = rows.filter(pk=config.pk).first()
        if found is None:
            raise NotFound
        return found


def connect(connection: Connection) -> external.Caller:
    return external.caller_of(connection, request_id=request_id_of())


def assign(config: FallbackConfig, data: dict[str, Any]) -> None:
    for name, value in data.items():
        setattr(config, name, value)


def refuse_same(config: FallbackConfig, places: list[Destination]) -> None:
    if any(place.workspace_id == config.source_workspace_id for place in places):
        text = "Source and destination are the same workspace."
        raise ValidationError({field_of(places): [text]})


def refuse_second(config: FallbackConfig) -> None:
    """Raises Conflict where another config has this source."""
    names = ("connection_id", *SOURCE)
    same = FallbackConfig.objects.filter(**{name: getattr(config, name) for name in names})
    if same.exclude(pk=config.pk).exists():
        raise Conflict(SECOND, "ConfigExists")


def look_up(config: FallbackConfig, places: list[Destination]) -> None:
    """Ids that the remote does not know are 400s. Where it cannot be asked, repair comes later."""
    if errors := configuring.look_up_names(config, places, connect).errors:
        named = {NAMES.get(name, name): texts for name, texts in errors.items()}
        raise ValidationError(of_places(named, places))


def refusal(error: InvalidModel, places: list[Destination]) -> Exception:
    """What a ValidationError of the verb means here: a loop or a second config is a conflict."""
    by_name = error.error_dict if hasattr(error, "error_dict") else {}
    for found in [*by_name.get("destinations", ()), *by_name.get("source_workspace_id", ())]:
        if code := CONFLICTS.get(str(found.code)):
            return Conflict(" ".join(found.messages), code)
    return ValidationError(of_places(by_field(error, NAMES), places))


def of_places(errors: dict[str, list[str]], places: list[Destination]) -> dict[str, list[str]]:
    """The verb's `destinations`, of which it says `workspace_fqn: …`, by the API's fields."""
    for text in errors.pop("destinations", []):
        name, colon, rest = text.partition(": ")
        inner = bool(colon) and name in PLACE
        where = f"{field_of(places)}.{camel(name)}" if inner else field_of(places)
        errors.setdefault(where, []).append(rest if inner else text)
    return errors


def field_of(places: list[Destination]) -> str:
    return "destinations" if len(places) != 1 else "destination"
