"""Asking a control plane on somebody's behalf, now, while they wait: ten seconds at most.

With the organization's stored connection, or with the caller's own TrueFoundry token, which goes
to that connection's host and nowhere else.
"""

import re
import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import requests
from django.conf import settings
from rest_framework.exceptions import APIException, ValidationError

from config.base.actor import Actor
from config.base.problems import Conflict
from fallback import naming
from fallback.models import Connection
from fallback.models.config import REMOTE_ID_PATTERN
from fallback.replies import to_application, to_workspace
from fallback.truefoundry import (
    Answer,
    Application,
    Missing,
    Rejected,
    TrueFoundry,
    TrueFoundryError,
    Unauthorized,
    Unavailable,
    Workspace,
)

SECONDS = 10.0
CONNECT_SECONDS = 3.0
LEAST_SECONDS = 0.05  # with less than that left no call begins
LONGEST_TOKEN = 8000
OWN_TOKEN = "X-TrueFoundry-Token"
Json = dict[str, Any]
T = TypeVar("T")


class Upstream(APIException):
    """What the control plane's failure means to who asked."""

    def __init__(self, status: int, detail: str, code: str) -> None:
        super().__init__(detail, code)
        self.status_code = status
        if status == 401:
            self.auth_header = f'{OWN_TOKEN} realm="TrueFoundry"'


class TimeIsUp(Unavailable):
    """No answer within the ten seconds."""


class Caller(TrueFoundry):
    """A client for one request: its calls share ten seconds, and none is repeated."""

    def __init__(
        self, url: str, token: str, assumed_user: str = "truefoundry", request_id: str = ""
    ) -> None:
        super().__init__(url, token, assumed_user, concurrency=1, read_retries=0)
        self._headers = {"X-Request-ID": request_id} if request_id else {}
        self._ends_at = time.monotonic() + SECONDS

    def page(self, path: str, params: Json) -> tuple[list[Json], Json]:
        """The items of one page, and what was said of the rest."""
        body = self._get(path, params=params).body
        try:
            items, pagination = body["data"], body.get("pagination") or {}
            if all(isinstance(item, dict) for item in items) and isinstance(pagination, dict):
                return items, pagination
        except (KeyError, TypeError, AttributeError):
            pass
        raise Unavailable(f"GET {path}: the answer is not a list")

    def one(self, path: str, key: str) -> Json:
        """One object by its id. Raises Missing for what cannot be an id."""
        if not re.match(REMOTE_ID_PATTERN, key):
            raise Missing(404, "", f"GET {path}")
        body = self._get(f"{path}/{quote(key, safe='')}").body
        data = body.get("data") if isinstance(body, dict) else None
        if not isinstance(data, dict):
            raise Unavailable(f"GET {path}: the answer holds no data")
        return data

    # What others call: an answer of any other shape is no usable answer.

    def user_info(self) -> Json:
        return self._as(dict, super().user_info)

    def workspace(self, workspace_id: str) -> Workspace:
        return self._as(to_workspace, lambda: self.one("/v1/workspaces", workspace_id))

    def application(self, application_id: str) -> Application:
        return self._as(to_application, lambda: self.one("/v1/apps", application_id))

    def _as(self, convert: Callable[[Any], T], fetch: Callable[[], Any]) -> T:
        try:
            return convert(fetch())
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Unavailable("The answer has another shape than it should") from None

    def _call(self, method: Literal["GET", "PUT", "POST"], path: str, **kwargs: Any) -> Answer:
        left = self._ends_at - time.monotonic()
        if left < LEAST_SECONDS:
            raise TimeIsUp(f"{method} {path}: no time is left")
        self._timeout = (min(CONNECT_SECONDS, left), left)
        headers = self._headers | (kwargs.pop("headers", None) or {})
        try:
            return super()._call(method, path, headers=headers, **kwargs)
        except Unavailable as error:
            if isinstance(error.__context__, requests.Timeout):
                raise TimeIsUp(str(error)) from None
            raise


def caller_of(connection: Connection, own_token: str = "", request_id: str = "") -> Caller:
    """A client with the caller's own token, else the connection's, else the developer's."""
    token = own_token or connection.secret or developers_token(connection)
    if not connection.url:
        raise Conflict("The connection has no address: TRUEFOUNDRY_API_URL is not set.", "NoUrl")
    if not token:
        raise Conflict(f"The connection has no token. Send one in {OWN_TOKEN}.", "NoToken")
    return Caller(connection.url, token, connection.assumed_user, request_id)


def developers_token(connection: Connection) -> str:
    """It is the environment's control plane's, and goes to no other that somebody connects."""
    url = settings.TRUEFOUNDRY_API_URL
    ours = url and connection.remote == naming.remote_of(naming.base_url_of(url))
    return settings.TF_USER_API_TOKEN if ours else ""


def developers_caller(request_id: str = "") -> Caller | None:
    """Outside production, and without any connection: what the environment names."""
    if not (settings.TF_USER_API_TOKEN and settings.TRUEFOUNDRY_API_URL):
        return None
    url = naming.base_url_of(settings.TRUEFOUNDRY_API_URL)
    return Caller(url, settings.TF_USER_API_TOKEN, request_id=request_id)


def own_token_of(header: str) -> str:
    """Raises ValidationError for what is no token."""
    token = header.strip().removeprefix("Bearer ").strip()
    plain = all(32 < ord(character) < 127 for character in token)
    if not plain or len(token) > LONGEST_TOKEN:
        raise ValidationError({OWN_TOKEN: ["A token has no spaces and plain ASCII only."]})
    return token


def connection_for(
    actor: Actor, organizations: list[Any] | None, connection_id: Any
) -> Connection | None:
    """The connection that was named, or the only one; None where there is none at all.

    `organizations` narrows the choice. Raises ValidationError for an unknown one, and where one
    has to be named.
    """
    visible = Connection.objects.visible_to(actor)
    if organizations is not None:
        visible = visible.filter(organization__in=organizations)
    if connection_id is not None:
        found = visible.filter(pk=connection_id).first()
        if found is None:
            raise ValidationError({"connection_id": ["There is no such connection."]})
        return found
    several = list(visible.filter(enabled=True)[:2]) or list(visible[:2])
    if len({connection.organization_id for connection in several}) > 1:
        text = "You are in several organizations with a connection: say which one."
        raise ValidationError({"organization": [text]})
    if len(several) > 1:
        raise ValidationError({"connection_id": ["There are several connections: say which one."]})
    return several[0] if several else None


def asked(call: Callable[[], T]) -> T:
    """`call()`; what the control plane does wrong becomes an answer of ours. Raises Upstream."""
    try:
        return call()
    except Unauthorized as error:
        raise Upstream(401, f"{error}: the token is refused.", "UpstreamUnauthorized") from None
    except Missing as error:
        raise Upstream(404, f"{error}.", "UpstreamNotFound") from None
    except Rejected as error:
        if error.status == 403:
            raise Upstream(403, f"{error}: not allowed.", "UpstreamForbidden") from None
        raise Upstream(502, f"{error}.", "UpstreamRejected") from None
    except TimeIsUp as error:
        raise Upstream(504, f"{error}.", "UpstreamTimeout") from None
    except TrueFoundryError as error:
        raise Upstream(502, f"{error}.", "UpstreamFailed") from None
