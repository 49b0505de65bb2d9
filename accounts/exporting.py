"""Activities as files: streamed, so that memory does not grow with their number.

CSV has a header; JSON is one object a line. Both are newest first, times in UTC, and hold all that
a row's digest is made of.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from accounts.models import Activity
from config.base.casing import camel

CHUNK = 1000
FIELDS = (
    "id",
    "created_at",
    "organization_id",
    "actor_kind",
    "actor_id",
    "actor_name",
    "verb",
    "refused",
    "object_kind",
    "object_id",
    "object_name",
    "change",
    "reason",
    "request_id",
    "address",
    "position",
    "digest",
)
# What a spreadsheet takes for a formula, where a cell begins with it; the first four also wide.
FORMULA = ("=", "+", "-", "@", *"\uff1d\uff0b\uff0d\uff20", "\t", "\r", "\n")
MEDIA = {"csv": "text/csv; charset=utf-8", "json": "application/x-ndjson; charset=utf-8"}


class Streamed(StreamingHttpResponse):
    """Chunk by chunk on ASGI as well, where Django would first collect all of them."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks: Iterator[bytes] = iter(self)

        def following() -> bytes | None:
            return next(chunks, None)

        while (chunk := await sync_to_async(following)()) is not None:
            yield chunk


def export(rows: QuerySet[Activity], kind: str) -> Streamed:
    """`rows` as a file to download; `kind` is 'csv' or 'json'."""
    response = Streamed(CHUNKS[kind](rows), content_type=MEDIA[kind])
    extension = "csv" if kind == "csv" else "ndjson"
    name = f"activity-{timezone.now():%Y-%m-%d}.{extension}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "private, no-store"
    return response


def as_csv(rows: QuerySet[Activity]) -> Iterator[str]:
    yield _lines([[camel(name) for name in FIELDS]])
    for chunk in _chunks(rows):
        yield _lines([[cell(value) for value in row] for row in chunk])


def as_json(rows: QuerySet[Activity]) -> Iterator[str]:
    names = [camel(name) for name in FIELDS]
    for chunk in _chunks(rows):
        told = (dict(zip(names, map(_plain, row), strict=True)) for row in chunk)
        yield "".join(f"{json.dumps(one, default=str)}\n" for one in told)


def cell(value: Any) -> str:
    """What stands in a cell; never a formula."""
    value = _plain(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _lines(rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def _chunks(rows: QuerySet[Activity]) -> Iterator[list[tuple[Any, ...]]]:
    """By id, not by a cursor: none is kept open for as long as somebody's line is slow."""
    found = rows.order_by("-id").values_list(*FIELDS)
    chunk = list(found[:CHUNK])
    while chunk:
        yield chunk
        chunk = list(found.filter(id__lt=chunk[-1][0])[:CHUNK]) if len(chunk) == CHUNK else []


CHUNKS: dict[str, Callable[[QuerySet[Activity]], Iterator[str]]] = {
    "csv": as_csv,
    "json": as_json,
}
