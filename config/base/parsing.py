"""Request bodies: JSON and forms in camelCase or snake_case, refused where they are nonsense."""

import json
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
            found = json.loads(text, parse_constant=_refuse_constant)
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


def measure(request: HttpRequest) -> None:
    """Tell the length of a body that came in chunks: without one REST framework reads nothing."""
    stream: Any = getattr(request, "_stream", None)
    if "Transfer-Encoding" in request.headers and hasattr(stream, "seek"):
        stream.seek(0, os.SEEK_END)
        request.META["CONTENT_LENGTH"] = str(stream.tell())
        stream.seek(0)


def read(stream: Any) -> str:
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    raw = stream.read(most + 1)
    if len(raw) > most:
        raise TooLarge(f"The body is larger than {most} bytes.")
    try:
        return str(raw, "utf-8-sig")
    except UnicodeDecodeError:
        raise ParseError("The body is not UTF-8.") from None


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


def _short(error: Exception) -> str:
    return "too deep" if isinstance(error, RecursionError) else str(error)[:200]
