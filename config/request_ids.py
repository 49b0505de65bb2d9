"""Every request has an id: taken from who asks, or made; told with the answer, and in the logs."""

import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

HEADER = "X-Request-ID"
USABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,63}\Z")


class RequestIdMiddleware:
    """Before structlog's, which takes the id from the request's header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = str(request.META.get("HTTP_X_REQUEST_ID", ""))
        request_id = given if USABLE.match(given) else str(uuid.uuid4())
        request.META["HTTP_X_REQUEST_ID"] = request_id
        response = self.get_response(request)
        response.headers[HEADER] = request_id
        return response
