"""What no view can use is refused before any sees it: too large, not UTF-8, with NUL characters.

Django hands such requests on, and each view, form and query would have to expect them.
"""

from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.core.exceptions import BadRequest, ValidationError
from django.http import HttpRequest, HttpResponse

from config.base.parsing import length_of
from config.base.problems import TooLarge, bad_request, of_api, problem

FORM, PARTS = "application/x-www-form-urlencoded", "multipart/form-data"
UTF_8 = {"utf-8", "utf8", "us-ascii", "ascii"}
NUL = "NUL characters are not allowed."


class GuardMiddleware:
    """Answers what is wrong with a request as a whole."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return too_large(request) or unreadable(request) or self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The admin's own pickers look an id up as it was sent, be it one or not."""
        if isinstance(error, ValidationError) and request.path_info.startswith("/admin/"):
            return refused(request, 400, "BadRequest", "The form makes no sense.")
        return None


def too_large(request: HttpRequest) -> HttpResponse | None:
    """413 for more than DATA_UPLOAD_MAX_MEMORY_SIZE bytes, files included; nothing is read."""
    try:
        length = length_of(request)
    except ValueError:
        return refused(request, 400, "BadRequest", "Content-Length is not a number.")
    if length <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        return None
    text = f"The body is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes."
    return refused(request, 413, TooLarge.default_code, text)


def unreadable(request: HttpRequest) -> HttpResponse | None:
    charset = (request.content_params or {}).get("charset", "utf-8").lower()
    if charset not in UTF_8:
        request.encoding = "utf-8"
        return refused(request, 415, "UnsupportedMediaType", "Send UTF-8.")
    if of_api(request):
        return None  # it tells parameters and fields by name
    if "\0" in request.path_info or b"\0" in unquote_to_bytes(request.META.get("QUERY_STRING", "")):
        return refused(request, 400, "BadRequest", f"Address: {NUL}")
    if request.method == "POST" and request.content_type in (FORM, PARTS):
        return unreadable_form(request)
    return None


def unreadable_form(request: HttpRequest) -> HttpResponse | None:
    """Names and values at once: what is between them is ASCII."""
    raw = request.body
    if request.content_type == FORM:
        raw = unquote_to_bytes(raw)
    try:
        raw.decode()
    except UnicodeDecodeError:
        return refused(request, 400, "BadRequest", "The form is not UTF-8.")
    if b"\0" in raw:
        return refused(request, 400, "BadRequest", NUL)
    return None


def refused(request: HttpRequest, status: int, code: str, text: str) -> HttpResponse:
    """Told as the API tells it, or as a page."""
    if of_api(request):
        return problem(status, text, code)
    response = bad_request(request, BadRequest(text))
    response.status_code = status
    return response
