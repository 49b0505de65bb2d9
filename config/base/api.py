"""What every endpoint of the API shares: lists in pages, order, search, and strict parameters."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, ClassVar, cast

from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models import Count, Q, QuerySet, Window
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from drf_spectacular.plumbing import get_lib_doc_excludes
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from structlog.contextvars import bind_contextvars

from config.base.casing import camel, snake
from config.base.parameters import (
    LARGEST,
    LATEST,
    TEXT,
    Filters,
    Given,
    Parameter,
    given_to,
    whole,
)
from config.base.problems import BODY

LIMIT, MOST_ROWS = 100, 500
MOST_TERMS = 10
MOST_UNKNOWN = 20  # fields that an error names
# What an index answers without a look at the rows.
INDEXED = {"limit", "offset", "ordering", "organization", "created_after", "created_before"}


class Strict(APIView):
    """A view that refuses query parameters it does not know."""

    given: Given
    http_method_names = ("get", "head", "post", "put", "patch", "delete")

    def known_parameters(self) -> list[Parameter]:
        """Of the action that is under way."""
        return []

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: Any = super().dispatch(request, *args, **kwargs)
        # Here and not in a middleware: those are left when a client goes away, this thread is not.
        if once := getattr(request, "once", None):
            if hasattr(response, "render"):
                response.render()
            once.end(response)
        return cast(HttpResponseBase, response)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.successful_authenticator:  # a session's the middleware knew; a token is new
            actor = request._request.actor  # type: ignore[attr-defined]
            told = {"token_id": str(actor.token_id)} if actor.token_id else {}
            bind_contextvars(user_id=str(actor.user_id), **told)
        if not hasattr(self, str(request.method).lower()):
            return  # no such method here, which is told next
        known = {parameter.name: parameter for parameter in self.known_parameters()}
        self.given = given_to(request.GET, known)
        # A request that is sent again: who calls is known now, and nothing has been done yet.
        if once := getattr(request._request, "once", None):
            once.begin(request)
        # Also where nothing of it is used.
        if request.method not in SAFE_METHODS and not isinstance(request.data, Mapping):
            raise ValidationError({BODY: ["Send an object: {…}."]})


class Pages(LimitOffsetPagination):
    """`{count, next, previous, results}`."""

    default_limit, max_limit = LIMIT, MOST_ROWS
    parameters = (
        Parameter("limit", whole(1, MOST_ROWS, LIMIT), "How many rows at most."),
        Parameter("offset", whole(0, LARGEST, 0), "How many rows to leave out."),
    )

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any] | None:
        given = cast(Strict, view).given
        self.request = request
        limit, offset = (parameter.value(given) for parameter in self.parameters)
        self.limit, self.offset = limit or LIMIT, offset or 0
        # The ids of the page, then its rows: narrow rows, in an index perhaps, are sorted and
        # skipped many times faster. To find rows may mean to read them all, so those that are
        # looked for are counted while they are found; an index counts faster by itself.
        ids = queryset.values_list("pk", flat=True)
        end = self.offset + self.limit
        if set(given) <= INDEXED:
            self.count = self.get_count(queryset)
            return rows_of(queryset, list(ids[self.offset : end]))
        counted = ids.annotate(of=Window(Count("pk"))).values_list("pk", "of")
        found = list(counted[self.offset : end])
        if found:
            self.count = found[0][1]
        else:
            self.count = self.get_count(queryset) if self.offset else 0
        return rows_of(queryset, [pk for pk, _ in found])

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["count", "next", "previous", "results"],
            "properties": {
                "count": {"type": "integer", "minimum": 0},
                "next": link,
                "previous": link,
                "results": schema,
            },
        }


def rows_of(queryset: QuerySet[Any], ids: list[Any]) -> list[Any]:
    """Those rows of `queryset`, in the order of `ids`, found by their ids alone."""
    named = queryset.order_by()
    named.query.clear_where()
    rows = {row.pk: row for row in named.filter(pk__in=ids)}
    return [rows[pk] for pk in ids if pk in rows]  # one may be gone by now


class Listed(Strict):
    """A view with a list. What it may be filtered, searched and ordered by is told here."""

    filters: ClassVar[type[Filters] | None] = None
    search_fields: ClassVar[Sequence[str]] = ()
    ordering_fields: ClassVar[Mapping[str, str]] = {}  # the API's name: the model's
    ordering: ClassVar[Sequence[str]] = ("-created_at", "-id")

    def list_parameters(self) -> list[Parameter]:
        found = list(Pages.parameters)
        if self.filters:
            found += self.filters.parameters()
        if self.search_fields:
            names = ", ".join(camel(name.rpartition("__")[2]) for name in self.search_fields)
            found.append(Parameter("search", TEXT, f"Words to find in: {names}.", many=True))
        if self.ordering_fields:
            names = ", ".join(camel(name) for name in self.ordering_fields)
            text = f"By {names}; '-' before a name turns it round, commas separate several."
            found.append(Parameter("ordering", TEXT, text, many=True))
        return found


class Listing(BaseFilterBackend):
    """Filters, searches and orders the rows of a `Listed` view."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        if not isinstance(view, Listed):
            raise ImproperlyConfigured(f"{type(view).__name__} is not Listed.")
        if getattr(view, "action", "list") != "list":
            return queryset  # one row
        if view.filters:
            queryset = view.filters(view.given, queryset, request=request).rows()
        return self._ordered(self._searched(queryset, view), view)

    def _searched(self, queryset: QuerySet[Any], view: Listed) -> QuerySet[Any]:
        """All words of a search; any of the searches where there are several."""
        found = Q()
        for text in view.given.getlist("search"):
            every = Q()
            for term in text.split()[:MOST_TERMS]:
                every &= Q(
                    *((f"{name}__icontains", term) for name in view.search_fields),
                    _connector=Q.OR,
                )
            found |= every
        return queryset.filter(found)

    def _ordered(self, queryset: QuerySet[Any], view: Listed) -> QuerySet[Any]:
        wanted = [part for text in view.given.getlist("ordering") for part in text.split(",")]
        order = []
        for part in filter(None, map(str.strip, wanted)):
            name = snake(part.removeprefix("-"))
            if name not in view.ordering_fields:
                names = ", ".join(camel(known) for known in view.ordering_fields)
                raise ValidationError({"ordering": [f"Choose from {names}."]})
            order.append(f"{'-' * part.startswith('-')}{view.ordering_fields[name]}")
        if not order:
            return queryset.order_by(*view.ordering)
        named = {one.removeprefix("-") for one in order}
        # The id last, always: rows that are alike must not change places between two pages.
        rest = [one for one in view.ordering[-1:] if one.removeprefix("-") not in named]
        return queryset.order_by(*order, *rest)


class Body(serializers.Serializer[Any]):
    """A request's body. Unknown fields are refused.

    Those in `told` are left alone: what an answer holds may come back with the next PUT.
    """

    told: ClassVar[frozenset[str]] = frozenset()

    def to_internal_value(self, data: Any) -> Any:
        unknown = {}
        if isinstance(data, Mapping):
            names = ", ".join(sorted(camel(str(name)) for name in self.fields))
            known = {*self.fields, *self.told}
            others = (name for name in data if name not in known)
            unknown = {
                str(name)[:100]: [f"Unknown field. Known here: {names}."]
                for name in islice(others, MOST_UNKNOWN)
            }
        try:
            value = super().to_internal_value(data)
        except ValidationError as error:
            if isinstance(error.detail, dict):
                raise ValidationError({**error.detail, **unknown}) from None
            raise
        if unknown:
            raise ValidationError(unknown)
        return value


class ReasonBody(Body):
    """Why: others read it in the activities. A DELETE may hold it, too."""

    reason = serializers.CharField(max_length=500, required=False, allow_blank=True)


def read(body: Body) -> dict[str, Any]:
    """What was given, once it is known to be good. Raises ValidationError."""
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def reason_of(request: Request) -> str:
    """Of a request that takes a `ReasonBody`, or ''. Raises ValidationError."""
    return str(read(ReasonBody(data=request.data)).get("reason", ""))


class Moment(serializers.DateTimeField):
    """UTC on the wire, whatever zone a page's reader is in."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)

    def to_internal_value(self, value: Any) -> datetime:
        found: datetime = super().to_internal_value(value)
        if found > LATEST:
            raise ValidationError(f"Choose a time before the year {LATEST.year}.")
        return found


class Shown(serializers.ModelSerializer[Any]):
    """A row as the API tells it."""

    serializer_field_mapping = serializers.ModelSerializer.serializer_field_mapping | {
        models.DateTimeField: Moment
    }

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        for field in fields.values():
            field.read_only = True
        return fields


def written_for_developers() -> list[type]:
    """Classes whose docstrings are no descriptions of what is below them, for `/api/schema`."""
    libraries: list[type] = get_lib_doc_excludes()  # type: ignore[no-untyped-call]
    return [*libraries, Body, Shown, Strict]


class Router(SimpleRouter):
    """Addresses with and without a slash at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"


__all__ = [
    "Body",
    "Listed",
    "Listing",
    "Moment",
    "Pages",
    "ReasonBody",
    "Router",
    "Shown",
    "Strict",
    "read",
    "reason_of",
    "written_for_developers",
]
