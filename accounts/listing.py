"""Lists on pages: one page of rows, and the query that leads to the others."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

PAGE_SIZE = 50
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """`rows` number `first` to `last` of `total`; `previous` and `next` are page numbers or 0."""

    rows: list[Row]
    number: int
    total: int

    @property
    def first(self) -> int:
        return (self.number - 1) * PAGE_SIZE + 1 if self.rows else 0

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1 if self.rows else 0

    @property
    def previous(self) -> int:
        return self.number - 1

    @property
    def next(self) -> int:
        return self.number + 1 if self.last < self.total and self.rows else 0


def page_of(
    request: HttpRequest, found: QuerySet[Row], load: QuerySet[Row] | None = None
) -> Page[Row]:
    """The page that `?page=` asks for; the nearest there is where it asks for none that exists.

    Keys are picked first, from an index; `load`, another queryset of the model, then fetches just
    these rows: a wide table is not read for what is skipped.
    """
    total = found.order_by().count()
    last = max(1, -(-total // PAGE_SIZE))
    number = min(_number(request.GET.get("page", "")), last)
    start = (number - 1) * PAGE_SIZE
    if load is None:
        return Page(list(found[start : start + PAGE_SIZE]), number, total)
    keys: list[Any] = list(found.values_list("pk", flat=True)[start : start + PAGE_SIZE])
    rows = {row.pk: row for row in load.filter(pk__in=keys)}
    return Page([rows[key] for key in keys if key in rows], number, total)


def _number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 9 else 1
