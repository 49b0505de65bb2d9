"""/activity and /activity/export."""

from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.endpoints import ORGANIZATION, Endpoint
from accounts.exporting import CHUNKS, Streamed, export
from accounts.models import Activity
from accounts.serializers import ActivityShown
from config.base.api import Pages
from config.base.casing import Renderer
from config.base.parameters import FLAG, ID, MOMENT, AnyOf, Filters, Parameter, one_of

FORMAT = Parameter(
    "format", one_of(list(CHUNKS)), "CSV with a header, or JSON with one object a line."
)


class ActivityFilters(Filters):
    verb = AnyOf()
    actor_kind = AnyOf(one_of(["user", "token", "system"]))
    actor_id = AnyOf(ID)
    actor_name = AnyOf()
    object_kind = AnyOf()
    object_id = AnyOf()
    request_id = AnyOf()
    address = AnyOf()
    refused = AnyOf(FLAG, description="Whether it was tried and not allowed.")
    created_after = AnyOf(MOMENT, "created_at", "gte")
    created_before = AnyOf(MOMENT, "created_at", "lt")


class Activities(Endpoint):
    """Who did what, when, to what, with what change, from which request."""

    queryset = Activity.objects.all()
    serializer_class = ActivityShown
    filters = ActivityFilters
    search_fields = ("actor_name", "verb", "object_name", "reason")
    ordering_fields: ClassVar = {"created_at": "created_at"}

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(ActivityShown(page, many=True).data)


class Csv(BaseRenderer):
    """Names a media type; the rows are streamed by `accounts.exporting`."""

    media_type, format = "text/csv", "csv"

    def render(self, data: Any, *_: Any) -> bytes:
        return str(data).encode()


class Lines(Csv):
    media_type, format = "application/x-ndjson", "json"


class Export(Activities):
    """What the same filters select, all of it: streamed, newest first."""

    renderer_classes = (Csv, Lines, Renderer)
    pagination_class = None
    ordering_fields: ClassVar = {}

    def known_parameters(self) -> list[Parameter]:
        paging = {parameter.name for parameter in Pages.parameters}
        listed = [one for one in self.list_parameters() if one.name not in paging]
        return [*listed, ORGANIZATION, FORMAT]

    @extend_schema(
        responses={
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/x-ndjson"): OpenApiTypes.STR,
        }
    )
    def list(self, request: Request) -> Streamed:  # type: ignore[override]
        """As `format` says, else as `Accept` does; CSV where neither decides.

        CSV has a header, and cells that a spreadsheet would take for a formula begin with `'`.
        JSON is one object a line.
        """
        accepted = getattr(request, "accepted_media_type", None) or ""
        usual = "json" if accepted.startswith(Lines.media_type) else "csv"
        rows = self.filter_queryset(self.get_queryset())
        return export(rows, FORMAT.value(self.given) or usual)
