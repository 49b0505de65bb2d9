"""/activity."""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.endpoints import Endpoint
from accounts.models import Activity
from accounts.serializers import ActivityShown
from config.base.parameters import ID, MOMENT, AnyOf, Filters, one_of


class ActivityFilters(Filters):
    verb = AnyOf()
    actor_kind = AnyOf(one_of(["user", "token", "system"]))
    actor_id = AnyOf(ID)
    actor_name = AnyOf()
    object_kind = AnyOf()
    object_id = AnyOf()
    request_id = AnyOf()
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
