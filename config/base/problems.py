"""What can go wrong by design, for every entry point: pages, API, admin and commands.

The API tells of it as RFC 9457 problem details. `error` repeats `detail` for older clients.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import (
    NON_FIELD_ERRORS,
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.core.exceptions import ValidationError as InvalidModel
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from rest_framework import exceptions

from config.base.casing import camel
from config.base.secrets import Undecryptable

CONTENT_TYPE = "application/problem+json"
BODY = "body"  # the field of an error that is about no field
TOLD = 3  # fields that `detail` names
RETRY_SECONDS = 5


class Conflict(Exception):
    """The state of things does not allow this (409). `code` is stable, for programs."""

    def __init__(self, message: str, code: str = "Conflict") -> None:
        super().__init__(message)
        self.code = code


class Answered(Exception):
    """There is an answer already: the one to an earlier request."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__("answered already")
        self.response = response


class TooLarge(exceptions.APIException):
    status_code = 413
    default_detail = "The body is too large."
    default_code = "TooLarge"


def problem(
    status: int,
    detail: str,
    code: str,
    *,
    errors: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """An answer that says what went wrong."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "error": detail,
    }
    if errors is not None:
        body["errors"] = errors
    return HttpResponse(
        json.dumps(body), status=status, content_type=CONTENT_TYPE, headers=dict(headers or {})
    )


# What is always told alike: the first that fits.
TOLD_ALIKE: tuple[tuple[type[Exception], int, str, str], ...] = (
    (Http404, 404, "NotFound", "There is nothing here."),
    # It was there when we first looked.
    (ObjectDoesNotExist, 409, "Stale", "Something that this needs has gone in the meantime."),
    (PermissionDenied, 403, "PermissionDenied", "This is not allowed."),
    (RequestDataTooBig, 413, TooLarge.default_code, TooLarge.default_detail),
    (SuspiciousOperation, 400, "BadRequest", "The request makes no sense."),
    (
        Undecryptable,
        409,
        "Undecryptable",
        "A stored secret cannot be decrypted: ENCRYPTION_KEYS lacks its key.",
    ),
)


def handle(fault: Exception, context: dict[str, Any]) -> HttpResponse:
    """REST framework's exception handler. Answers anything, a bug included, without a trace."""
    if isinstance(fault, Answered):
        return fault.response
    if isinstance(fault, exceptions.APIException):
        return _told_by_framework(fault)
    if isinstance(fault, InvalidModel):
        return invalid(by_field(fault), _code_of(error.code for error in _each(fault)))
    if isinstance(fault, Conflict):
        return problem(409, str(fault), fault.code)
    for kind, status, code, detail in TOLD_ALIKE:
        if isinstance(fault, kind):
            return problem(status, detail, code)
    # The test client and the log hear of it, as of any other fault.
    request = context.get("request")
    got_request_exception.send(sender=handle, request=getattr(request, "_request", request))
    if isinstance(fault, OperationalError | InterfaceError):
        headers = {"Retry-After": str(RETRY_SECONDS)}
        return problem(503, "The database does not answer.", "DatabaseAway", headers=headers)
    return problem(500, "Switchyard failed. The log says why.", "InternalError")


def invalid(errors: Mapping[str, list[str]], code: str = "Invalid") -> HttpResponse:
    """400 with `errors` by field; `detail` tells the first of them."""
    named = list(errors.items())
    told = [f"{name}: {' '.join(texts).rstrip('.')}" for name, texts in named[:TOLD]]
    if len(named) > TOLD:
        told.append(f"and {len(named) - TOLD} more")
    return problem(400, f"{'; '.join(told)}.", code, errors=errors)


def _each(fault: InvalidModel) -> list[InvalidModel]:
    if hasattr(fault, "error_dict"):
        return [error for errors in fault.error_dict.values() for error in errors]
    return list(fault.error_list)


def _code_of(codes: Iterable[str | None]) -> str:
    """The one code of all errors, where it is one of ours: those are CamelCase."""
    found = set(codes)
    code = found.pop() if len(found) == 1 else None
    return code if code and code[0].isupper() else "Invalid"


def by_field(error: InvalidModel, names: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """A model's errors by the API's field; `names` tells those that differ."""
    if not hasattr(error, "error_dict"):
        return {BODY: error.messages}
    names = {NON_FIELD_ERRORS: BODY, **(names or {})}
    found: dict[str, list[str]] = {}
    for name, texts in error.message_dict.items():
        found.setdefault(names.get(name, camel(name)), []).extend(texts)
    return found


def _told_by_framework(fault: exceptions.APIException) -> HttpResponse:
    if isinstance(fault, exceptions.ValidationError):
        return invalid(flat(fault.detail), _code_of(_leaves(fault.get_codes())))
    headers = {}
    if challenge := getattr(fault, "auth_header", None):
        headers["WWW-Authenticate"] = str(challenge)
    if wait := getattr(fault, "wait", None):
        headers["Retry-After"] = str(max(1, int(wait)))
    code = fault.get_codes()
    return problem(fault.status_code, str(fault.detail), pascal(str(code)), headers=headers)


def _leaves(codes: Any) -> Iterator[str]:
    if isinstance(codes, dict | list):
        for one in codes.values() if isinstance(codes, dict) else codes:
            yield from _leaves(one)
    elif codes:
        yield str(codes)


def flat(detail: Any, path: str = "") -> dict[str, list[str]]:
    """Nested errors by path: `{"source": {"cluster_id": …}}` as `{"source.clusterId": …}`."""
    if isinstance(detail, dict):
        items = [(_step(path, str(name)), value) for name, value in detail.items()]
    elif isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        items = [(_step(path, str(number)), value) for number, value in enumerate(detail)]
    else:
        texts = detail if isinstance(detail, list) else [detail]
        return {path or BODY: [str(text) for text in texts]} if texts else {}
    found: dict[str, list[str]] = {}
    for step, value in items:
        for name, texts in flat(value, step).items():
            found.setdefault(name, []).extend(texts)
    return found


def _step(path: str, name: str) -> str:
    if name == BODY and path:
        return path
    return f"{path}.{camel(name)}" if path else camel(name)


def pascal(code: str) -> str:
    """`not_found` as `NotFound`; what is CamelCase stays."""
    if "_" not in code and not code.islower():
        return code
    return "".join(part.capitalize() for part in code.split("_"))


# Django's own handlers, named in the URLs: an address under /api/ is answered as the API answers.


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if of_api(request):
        return handle(SuspiciousOperation(), {"request": request})
    return defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if of_api(request):
        return handle(Http404(), {"request": request})
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    if of_api(request):
        return problem(500, "Switchyard failed. The log says why.", "InternalError")
    return defaults.server_error(request)


def of_api(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")
