"""Request bodies: JSON and forms in camelCase or snake_case, refused where they are nonsense."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from django.conf import settings
from django.http import HttpRequest, QueryDict
from djangorestframework_camel_case.parser import CamelCaseFormParser, CamelCaseJSONParser
from djangorestframework_camel_case.util import underscoreize
from rest_framework.exceptions import ParseError, ValidationError

from config.base.casing import camel, snake
from config.base.problems import BODY, TooLarge

DEEPEST = 100  # levels of a body
MOST_VALUES = 50_000  # names and values of a body, all together
LARGEST = 2**63 - 1  # what databases and most readers of JSON can hold


class JSONParser(CamelCaseJSONParser):  # type: ignore[misc]
    """UTF-8, finite numbers, no NUL, and each field in one spelling only."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        text = read(stream)
        try:
            found = json.loads(
                text,
                parse_constant=_refuse_constant,
                parse_float=_finite,
                parse_int=_whole,
                object_pairs_hook=_each_name_once,
            )
            if count(found) > MOST_VALUES:
                raise ValueError(f"more than {MOST_VALUES} names and values")
            check(found)
        except (ValueError, RecursionError) as error:
            raise ParseError(f"This is not JSON that can be used: {_short(error)}.") from None
        return underscoreize(found, **self.json_underscoreize)


class FormParser(CamelCaseFormParser):  # type: ignore[misc]
    """The older way to sign in."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        found = QueryDict(read(stream))
        check(dict(found.lists()))
        return underscoreize(found, **JSONParser.json_underscoreize)


def length_of(request: HttpRequest) -> int:
    """Bytes of the body. Raises ValueError for a Content-Length that is none.

    Of one that came in chunks it is measured, and told: without it REST framework reads nothing
    and Django everything.
    """
    stream: Any = getattr(request, "_stream", None)
    if "Transfer-Encoding" in request.headers and hasattr(stream, "seek"):
        stream.seek(0, os.SEEK_END)
        request.META["CONTENT_LENGTH"] = str(stream.tell())
        stream.seek(0)
    told = str(request.META.get("CONTENT_LENGTH") or "0")
    if not (told.isascii() and told.isdigit()) or len(told) > 18:
        raise ValueError("not a length")
    return int(told)


def read(stream: Any) -> str:
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    raw = stream.read(most + 1)
    if len(raw) > most:
        raise TooLarge(f"The body is larger than {most} bytes.")
    try:
        return str(raw, "utf-8-sig")
    except UnicodeDecodeError:
        raise ParseError("The body is not UTF-8.") from None


def count(value: Any) -> int:
    """How many names and values there are, all levels together; not much beyond MOST_VALUES."""
    total, rest = 0, [value]
    while rest and total <= MOST_VALUES:
        one = rest.pop()
        total += 1
        if isinstance(one, dict):
            rest.extend(one.values())
        elif isinstance(one, list):
            rest.extend(one)
    return total


def check(value: Any, path: str = "", depth: int = 0) -> None:
    """Raises ValidationError, by field, for what no field can hold."""
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} levels deep")
    if isinstance(value, dict):
        if path.rpartition(".")[2] not in JSONParser.json_underscoreize["ignore_fields"]:
            _refuse_both_spellings(value, path)
        for name, item in value.items():
            check_text(name, path)
            check(item, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            check(item, f"{path}.{number}", depth + 1)
    elif isinstance(value, str):
        check_text(value, path)


def check_text(text: str, path: str) -> None:
    """NUL and lone surrogates: no database stores them."""
    if "\0" in text:
        raise ValidationError({path or BODY: ["NUL characters are not allowed."]})
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValidationError({path or BODY: ["This is not valid Unicode."]}) from None


def _refuse_both_spellings(fields: Mapping[str, Any], path: str) -> None:
    spelled: dict[str, str] = {}
    for name in fields:
        other = spelled.setdefault(snake(name), name)
        if other != name:
            where = f"{path}.{camel(snake(name))}" if path else camel(snake(name))
            raise ValidationError({where: [f"Given twice: as {other} and as {name}."]})


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _whole(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) > LARGEST:
        raise ValueError(f"{text[:20]}… is too large a number")
    return value


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice[:100]!r} is there twice")
    return found


def _short(error: Exception) -> str:
    return "too deep" if isinstance(error, RecursionError) else str(error)[:200]
