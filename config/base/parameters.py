"""Query parameters: camelCase or snake_case, repeated means or, unknown ones are refused."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.dateparse import parse_datetime
from rest_framework import exceptions

from config.base.casing import camel, snake

LONGEST = 500  # characters of a value
MOST = 100  # values of one parameter
# What people and files may say: the ends of the calendar cannot be told in every zone.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
LARGEST = 1_000_000_000  # fits a 32-bit integer of any database


@dataclass(frozen=True)
class Kind:
    """How the text of a parameter becomes a value; `schema` tells it in OpenAPI."""

    parse: Callable[[str], Any]
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True)
class Parameter:
    """A query parameter that a view knows, by its name in snake_case."""

    name: str
    kind: Kind
    description: str = ""
    many: bool = False
    required: bool = False

    def schema(self) -> dict[str, Any]:
        """This parameter in OpenAPI."""
        shape = self.kind.schema
        if self.many:
            shape = {"type": "array", "items": shape, "maxItems": MOST}
        told: dict[str, Any] = {"name": camel(self.name), "in": "query", "schema": shape}
        if self.description:
            told["description"] = self.description
        if self.required:
            told["required"] = True
        return told

    def values(self, given: "Given") -> list[Any]:
        """What was given, as values. Raises REST framework's ValidationError."""
        texts = given.getlist(self.name)
        problem = ""
        if self.required and not texts:
            problem = "This parameter is required."
        if len(texts) > (MOST if self.many else 1):
            problem = f"Give at most {MOST}." if self.many else "Give it once."
        if problem:
            raise exceptions.ValidationError({self.name: [problem]})
        try:
            return [self.kind.parse(text) for text in texts]
        except ValidationError as error:
            raise exceptions.ValidationError({self.name: error.messages}) from None

    def value(self, given: "Given") -> Any:
        """The one value, or None."""
        found = self.values(given)
        return found[0] if found else None


Given = MultiValueDict[str, str]  # by name in snake_case


def given_to(query: QueryDict, known: Mapping[str, Parameter]) -> Given:
    """The parameters of a request. Raises ValidationError for unknown ones and for nonsense."""
    found: Given = MultiValueDict()
    errors: dict[str, list[str]] = {}
    for spelled, texts in query.lists():
        name = snake(spelled)
        if name not in known:
            names = ", ".join(sorted(camel(one) for one in known)) or "none"
            errors[spelled[:100]] = [f"Unknown parameter. Known here: {names}."]
        elif any("\0" in text for text in texts):
            errors[name] = ["NUL characters are not allowed."]
        elif any(len(text) > LONGEST for text in texts):
            errors[name] = [f"A value may have {LONGEST} characters at most."]
        else:
            found.setlist(name, [*found.getlist(name), *texts])
    if errors:
        raise exceptions.ValidationError(errors)
    return found


# Kinds


def _identifier(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ValidationError("This is not an id (a UUID).") from None


def _flag(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise ValidationError("Say true or false.") from None


def _moment(text: str) -> datetime:
    """ISO 8601; without an offset it is UTC, without a time it is midnight."""
    try:
        # In a query '+' means a space: an offset that was not quoted is still an offset.
        found = parse_datetime(text.replace(" ", "+")) if "T" in text else None
        if found is None:
            found = datetime.combine(date.fromisoformat(text), time())
        # The first and last day of the calendar cannot be told in every zone.
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValidationError("Write a time as 2026-01-31T12:00:00Z.") from None


def whole(least: int, most: int, default: int | None = None) -> Kind:
    """A whole number in a range."""

    def parse(text: str) -> int:
        sign = text.removeprefix("-")
        if not (sign.isascii() and sign.isdigit()) or len(sign) > 12:
            raise ValidationError("This is not a whole number.")
        if not least <= int(text) <= most:
            raise ValidationError(f"Choose from {least} to {most}.")
        return int(text)

    shape: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    return Kind(parse, shape if default is None else shape | {"default": default})


def one_of(names: list[str]) -> Kind:
    """A value from a closed list, in just that case."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValidationError(f"Choose from {', '.join(names)}.")
        return text

    return Kind(parse, {"type": "string", "enum": list(names)})


TEXT = Kind(str, {"type": "string", "maxLength": LONGEST})
ID = Kind(_identifier, {"type": "string", "format": "uuid"})
FLAG = Kind(_flag, {"type": "boolean"})
MOMENT = Kind(_moment, {"type": "string", "format": "date-time"})
NUMBER = whole(0, LARGEST)


# Filters


class _Values(forms.Field):
    widget = forms.MultipleHiddenInput  # takes all that a repeated parameter gives

    def __init__(self, *, parameter: Parameter, **kwargs: Any) -> None:
        super().__init__(required=False)
        self.parameter = parameter

    def clean(self, value: Any) -> list[Any]:
        try:
            return self.parameter.values(MultiValueDict({self.parameter.name: value or []}))
        except exceptions.ValidationError as error:
            texts = [str(text) for text in error.detail[self.parameter.name]]  # type: ignore[call-overload]
            raise ValidationError(texts) from None


class AnyOf(django_filters.Filter):  # type: ignore[misc]
    """Rows whose field is, or compares to, any of the values given."""

    field_class = _Values

    def __init__(
        self,
        kind: Kind = TEXT,
        field_name: str | None = None,
        lookup_expr: str = "exact",
        *,
        description: str = "",
    ) -> None:
        super().__init__(field_name=field_name, lookup_expr=lookup_expr)
        self.kind, self.description = kind, description

    @property
    def field(self) -> forms.Field:
        return _Values(parameter=self.parameter(""))

    def parameter(self, name: str) -> Parameter:
        return Parameter(name, self.kind, self.description, many=True)

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        if not value:
            return qs
        if self.lookup_expr == "exact":
            return qs.filter(**{f"{self.field_name}__in": value})
        wanted = Q()
        for one in value:
            wanted |= Q(**{f"{self.field_name}__{self.lookup_expr}": one})
        return qs.filter(wanted)


class Filters(django_filters.FilterSet):  # type: ignore[misc]
    """A list's filters: every one of them an `AnyOf`."""

    @classmethod
    def parameters(cls) -> list[Parameter]:
        return [
            filter_.parameter(name)
            for name, filter_ in cls.base_filters.items()
            if isinstance(filter_, AnyOf)
        ]

    def rows(self) -> QuerySet[Any]:
        """The rows that were asked for. Raises REST framework's ValidationError."""
        if not self.is_valid():
            raise exceptions.ValidationError(
                {name: [str(text) for text in texts] for name, texts in self.errors.items()}
            )
        found: QuerySet[Any] = self.filter_queryset(self.queryset)
        return found
