"""`Idempotency-Key`: who sends a POST again within a day gets the first answer, and it acts once.

Claimed by INSERT against a unique constraint, so of two at once exactly one acts. What is kept:

- an answer of success, and a conflict (409, 410, 422): status, body (encrypted) and headers;
- of an answer that held a secret only that it did: a secret is shown once.

Any other refusal did nothing and a 5xx promises nothing: they are not kept, and the key is free
again. A request that died with its process may have acted: nobody can tell, and nothing here acts
a second time for it. Its key says so (`OutcomeUnknown`) until the day is over.
"""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus

import structlog
from django.db import DatabaseError, IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request

from accounts.models import IdempotencyKey
from accounts.permissions import actor_of
from config.base.problems import Answered, Conflict, of_api
from config.base.redaction import keyed_hash
from config.base.secrets import Unreadable

log = structlog.get_logger(__name__)
HEADER, REPLAYED = "Idempotency-Key", "Idempotency-Replayed"
USABLE = re.compile(r"[!-~]{1,255}")
KEPT_FOR = timedelta(hours=24)
LONGEST = timedelta(seconds=60)  # no request takes longer: one that does has died
CONFLICTS = {HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY}
HEADERS = ("Content-Type", "Location", "Cache-Control")  # of an answer; others are made anew
TRIES = 5  # a key may be freed between our INSERT and our look at it
# Our own tokens and signing secrets wherever they stand, and strings named like a secret.
SECRET = re.compile(
    rb"\b(?:swy|whsec)_[\w+/=-]{16,}"
    rb'|"\w*(?:secret|token|password)"\s*:\s*"[^"]',
    re.IGNORECASE,
)


class OnceMiddleware:
    """Gives each POST of the API that brings a key its `once`; `Strict` begins and ends it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER)
        if given is not None and request.method == "POST" and of_api(request):
            request.once = Once(given)  # type: ignore[attr-defined]
        return self.get_response(request)


class Once:
    """One request with a key. A view begins it once it knows who calls and that they may."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.row: IdempotencyKey | None = None

    def begin(self, request: Request) -> None:
        """Claim the key. Without a caller there is nobody to keep an answer for: ignored.

        Raises ValidationError for an unusable key, Answered with the first answer, KeyReused where
        that was to another body, and Conflict where there is no answer to give.
        """
        actor = actor_of(request)
        caller = actor.token_id or actor.user_id
        if caller is None or not request.successful_authenticator:
            return
        if not USABLE.fullmatch(self.key):
            text = "Use 1 to 255 visible ASCII characters: a new UUID for each new request."
            raise ValidationError({HEADER: [text]})
        claim = {
            "caller": caller,
            "method": "POST",
            "path": path_of(request._request),
            "key": self.key,
        }
        digest = digest_of(request._request)
        for _ in range(TRIES):
            try:
                with transaction.atomic():
                    self.row = IdempotencyKey.objects.create(**claim, body_digest=digest)
                return
            except IntegrityError:
                found = IdempotencyKey.objects.filter(**claim).first()
            if found and not self._outlived(found):
                raise self._told_of(found, digest)
        raise in_progress()

    def _outlived(self, found: IdempotencyKey) -> bool:
        """Whether its day is over; then it goes, and the key may be claimed again."""
        if found.created_at > timezone.now() - KEPT_FOR:
            return False
        IdempotencyKey.objects.filter(pk=found.pk).delete()
        return True

    def _told_of(self, found: IdempotencyKey, digest: str) -> Exception:
        if found.body_digest != digest:
            return KeyReused()
        if found.status is None:
            return in_progress() if found.created_at > timezone.now() - LONGEST else unknown()
        if found.had_secret:
            text = "The first answer held a secret, which is shown once. It was made: look for it."
            return Conflict(text, "SecretAlreadyShown")
        if isinstance(found.answer, Unreadable):
            text = "The first request was carried out. Its answer was stored with a key that is "
            return Conflict(text + "gone: look at what there is.", "OutcomeUnknown")
        response = HttpResponse(found.answer.encode("latin-1"), status=found.status)
        del response.headers["Content-Type"]
        for name, value in {**found.headers, REPLAYED: "true"}.items():
            response.headers[name] = value
        return Answered(response)

    def end(self, response: HttpResponse) -> None:
        """Keep the answer, or free the key. Never fails: the answer is on its way."""
        if self.row is None:
            return
        mine = IdempotencyKey.objects.filter(pk=self.row.pk, status=None)
        try:
            if not kept(response):
                mine.delete()
                return
            had_secret = SECRET.search(response.content) is not None
            mine.update(
                status=response.status_code,
                had_secret=had_secret,
                answer="" if had_secret else response.content.decode("latin-1"),
                headers={n: response.headers[n] for n in HEADERS if n in response.headers},
            )
        except DatabaseError:  # then the outcome is unknown to whoever asks again
            log.warning("answer_not_kept", status=response.status_code, exc_info=True)


class KeyReused(APIException):
    status_code = 422
    default_detail = "This key was used for another request. Use a new key for each new request."
    default_code = "IdempotencyKeyReused"


def in_progress() -> Conflict:
    return Conflict("The first request with this key is under way.", "RequestInProgress")


def unknown() -> Conflict:
    text = "The first request with this key never ended: it may have acted, or not. Look at what "
    return Conflict(text + "there is before you send it with another key.", "OutcomeUnknown")


def kept(response: HttpResponse) -> bool:
    """Whether a request with this answer counts as done."""
    return not response.streaming and (
        200 <= response.status_code < 300 or response.status_code in CONFLICTS
    )


def path_of(request: HttpRequest) -> str:
    """The route's name and a hash of the path, which may hold an invite's code.

    The same under both roots of the API, with and without a slash at the end.
    """
    path = request.path_info.removeprefix("/api/").removeprefix("v1/").rstrip("/")
    match = request.resolver_match
    return f"{match.url_name if match else ''} {keyed_hash(path, 32)}"


def digest_of(request: HttpRequest) -> str:
    """Tells bodies apart, byte for byte, and queries. Keyed: a body may hold a password."""
    query = request.META.get("QUERY_STRING", "")
    digest = hashlib.sha256(request.body).hexdigest()
    return keyed_hash(f"{request.content_type}\n{query}\n{digest}")


def prune_keys() -> int:
    """Delete the keys whose day is over; answers how many."""
    old = IdempotencyKey.objects.filter(created_at__lte=timezone.now() - KEPT_FOR)
    return old.delete()[0]
