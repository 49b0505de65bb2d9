"""Pieces of pages and lists: states as pills, tables, links, filters."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote
from django.db.models import Model, QuerySet
from django.db.models.functions import Lower
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from unfold.contrib.filters.admin import BooleanRadioFilter, DropdownFilter, RangeDateFilter
from unfold.decorators import display
from unfold.utils import parse_date_str

from accounts.models import Organization
from config.base.tones import look_of

MOST_CHOICES = 500  # that a filter offers


def pill(text: object, tone: str = "idle") -> SafeString:
    """A state as people see it. Tones: idle, active, good, warn, bad, person."""
    return mark_safe(render_to_string("admin/pill.html", {"text": text, "tone": tone}))


def state(kind: str, value: str, word: str = "") -> SafeString:
    """The state of a `kind` of thing, in the tone and words of the pages."""
    look = look_of(kind, value)
    return pill(word or look.word, look.tone)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> SafeString:
    """A table that becomes cards on a phone."""
    context = {"table": {"headers": headers, "rows": list(rows)}}
    return mark_safe(render_to_string("unfold/components/table.html", context))


MINUTES, SECONDS = "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"


def when(name: str, form: str = MINUTES) -> Callable[[Any], str]:
    """A column of a list: the time in field `name`, in one line."""

    @display(description=name.removesuffix("_at"), ordering=name)
    def column(row: Any) -> str:
        return moment(getattr(row, name), form)

    return column


def moment(at: datetime | None, form: str = MINUTES) -> str:
    """A time in the reader's zone; the title has it to the second, in UTC."""
    if at is None:
        return ""
    utc = at.astimezone(UTC)
    context = {"text": f"{timezone.localtime(at):{form}}", "iso": utc.isoformat()}
    context["title"] = f"{utc:{SECONDS}} UTC"
    return mark_safe(render_to_string("admin/moment.html", context))


def link_to(row: Model | None, text: object = None) -> str | SafeString:
    """`row` as a link to its page here, or '' without one."""
    if row is None:
        return ""
    meta = row._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=(quote(str(row.pk)),))
    return link(url, str(row) if text is None else text)


def link(url: str, text: object) -> SafeString:
    return mark_safe(render_to_string("admin/link.html", {"url": url, "text": text}))


class OrganizationFilter(DropdownFilter):
    """By organization; a subclass names the `path` to it."""

    title = "organization"
    parameter_name = "organization"
    path = "organization_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        named = Organization.objects.order_by(Lower("name")).values_list("pk", "name")
        return [(str(pk), name) for pk, name in named[:MOST_CHOICES]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return by_id(queryset, self.path, self.value())

    @classmethod
    def by(cls, path: str) -> type["OrganizationFilter"]:
        return type(cls.__name__, (cls,), {"path": path})


def by_id(queryset: QuerySet[Any], path: str, value: str | None) -> QuerySet[Any]:
    """What an address says may be anything: Django then drops the filter instead of failing."""
    if not value:
        return queryset
    try:
        return queryset.filter(**{path: UUID(value)})
    except ValueError as error:
        raise IncorrectLookupParameters(error) from error


class ByPersonFilter(BooleanRadioFilter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "a person's doing"


class DayFilter(RangeDateFilter):
    """From one day to another, both included."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if first := self._day("from"):
            queryset = queryset.filter(**{f"{self.field_path}__gte": first})
        if last := self._day("to"):
            queryset = queryset.filter(**{f"{self.field_path}__lt": last + timedelta(days=1)})
        return queryset

    def _day(self, end: str) -> datetime | None:
        """What is no day of this age filters nothing."""
        found = parse_date_str(self.used_parameters.get(f"{self.field_path}_{end}") or "")
        if not found or not 1900 < found.year < 3000:
            return None
        return timezone.make_aware(datetime.combine(found, time.min))
