"""What a TrueFoundry's response, or the lack of one, means for the call."""

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from urllib3.exceptions import NewConnectionError

from config.base import outbound
from fallback import naming
from fallback.replies import Missing, NotActive, Rejected, Unauthorized, Unavailable, storable

LONGEST_RETRY_AFTER = 300.0
NOT_ACTIVE = "Active deployment not found"


def unavailable(error: Exception, call: str, request_id: str) -> Unavailable:
    """Says what happened without the library's words: those hold addresses and parameters."""
    if isinstance(error, outbound.Refused):
        return Unavailable(f"{call}: {error}", call, request_id, happened=False)
    if isinstance(error, requests.ConnectTimeout):
        return Unavailable(f"{call}: no connection in time", call, request_id, happened=False)
    if isinstance(error, requests.Timeout):
        return Unavailable(f"{call}: no answer in time", call, request_id)
    cause = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(cause, NewConnectionError):
        return Unavailable(f"{call}: no connection", call, request_id, happened=False)
    return Unavailable(f"{call}: the connection broke", call, request_id)


def raise_for_status(
    response: requests.Response, call: str, request_id: str, sent: dict[str, Any]
) -> None:
    status = response.status_code
    if 200 <= status < 300:
        return
    # A 404 without the API's own words is a gateway's: it does not tell what became of a run.
    gateway = status == 404 and not _is_problem(response)
    if gateway or status in (408, 425, 429) or status >= 500 or 300 <= status < 400:
        raise Unavailable(
            f"{call}: HTTP {status}",
            call,
            request_id,
            happened=status != 429,
            retry_after=_retry_after(response),
            status=status,
        )
    message, code = _problem(response, sent)
    if status == 400 and NOT_ACTIVE.lower() in message.lower():
        raise NotActive(status, message, call, request_id, code)
    kind = {401: Unauthorized, 404: Missing}.get(status, Rejected)
    raise kind(status, message, call, request_id, code)


def _is_problem(response: requests.Response) -> bool:
    try:
        body = response.json()
    except ValueError:
        return False
    return isinstance(body, dict) and bool(body.keys() & {"statusCode", "message", "code"})


def _problem(response: requests.Response, sent: dict[str, Any]) -> tuple[str, str]:
    try:
        body = response.json()
        told = str(body.get("message", "")), str(body.get("code", ""))
        message, code = (naming.discreet(storable(words), sent) for words in told)
        return message[:400], code[:60]
    except (ValueError, AttributeError):
        return "", ""


def _retry_after(response: requests.Response) -> float | None:
    """Seconds to wait, as `Retry-After` or else `x-ratelimit-reset` has it."""
    for name in ("Retry-After", "x-ratelimit-reset"):
        raw = response.headers.get(name, "")
        try:
            seconds = float(raw)
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(raw) - datetime.now(UTC)).total_seconds()
            except (ValueError, TypeError):
                continue
        if seconds > 1_000_000_000:  # a moment, not a span
            seconds -= time.time()
        return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
    return None
