"""Lists on pages: one page of rows, and the query that leads to the others."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

PAGE_SIZE, MOST_MATCHES = 50, 1000
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """`rows` number `first` to `last` of `total`; `previous` and `next` are page numbers or 0."""

    rows: list[Row]
    number: int
    total: int
    more: bool = False  # than `total`

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
    request: HttpRequest, found: QuerySet[Row], load: QuerySet[Row], *, search: bool = False
) -> Page[Row]:
    """The page that `?page=` asks for; the nearest there is where it asks for none that exists.

    Keys are picked first, from an index; `load`, another queryset of the model, then fetches just
    these rows: a wide table is not read for what is skipped. A `search`, which no index serves,
    reads the table once instead of twice and stops at the thousandth match.
    """
    number = _number(request.GET.get("page", ""))
    if search:
        keys: list[Any] = list(found.values_list("pk", flat=True)[: MOST_MATCHES + 1])
        total, more = min(len(keys), MOST_MATCHES), len(keys) > MOST_MATCHES
        number = min(number, _pages(total))
        keys = keys[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
    else:
        total, more = found.order_by().count(), False
        number = min(number, _pages(total))
        keys = list(found.values_list("pk", flat=True)[(number - 1) * PAGE_SIZE :][:PAGE_SIZE])
    rows = {row.pk: row for row in load.filter(pk__in=keys)}
    return Page([rows[key] for key in keys if key in rows], number, total, more)


def _pages(total: int) -> int:
    return max(1, -(-total // PAGE_SIZE))


def _number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 9 else 1
