"""What a call of the vendor's API is: read, authenticated, carried out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from multidict import MultiMapping

from .records import Json, Run
from .settings import SERVICE
from .world import Refusal, World

ASSUMED = re.compile(r"^serviceaccount/([^/]+)/[^/]+/tfy-system$")


@dataclass(slots=True)
class Call:
    """One request, and in `note` what the log and the faults want to know of it."""

    route: Route
    args: Mapping[str, str]
    query: MultiMapping[str]
    headers: Mapping[str, str]
    raw: bytes
    path: str
    token_kind: str = SERVICE
    note: Json = field(default_factory=dict)
    listed: list[Run] = field(default_factory=list)

    def body(self) -> Json:
        try:
            body = json.loads(self.raw or b"{}")
        except ValueError:
            raise Refusal(400, "the body is no JSON") from None
        if not isinstance(body, dict):
            raise Refusal(422, "the body is no object")
        return body

    def number(self, name: str, default: int, most: int | None = None) -> int:
        text = self.query.get(name, "")
        if text and not text.isdigit():
            raise Refusal(422, f"{name} must be a number")
        value = int(text) if text else default
        if most is not None and value > most:
            raise Refusal(422, f"{name} must not be more than {most}")
        return value


Handler = Callable[[World, Call], bytes]


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API. `assumes`: a service token has to say for whom it acts."""

    name: str
    method: str
    path: str
    handler: Handler
    assumes: bool = False
    mutates: bool = False


def carry_out(world: World, call: Call) -> tuple[int, bytes]:
    """Answer a call, as the vendor would."""
    world.settle()
    try:
        call.token_kind = _authenticate(world, call)
        return 200, call.route.handler(world, call)
    except Refusal as refusal:
        return refusal.status, error(refusal.status, refusal.message)


def error(status: int, message: str) -> bytes:
    """The vendor's error body."""
    return encoded({"statusCode": status, "message": message})


def _authenticate(world: World, call: Call) -> str:
    scheme, _, token = call.headers.get("Authorization", "").partition(" ")
    kind = world.settings.tokens.get(token.strip()) if scheme.lower() == "bearer" else None
    if kind is None:
        raise Refusal(401, "Unauthorized")
    if call.route.assumes and kind == SERVICE:
        assumed = ASSUMED.match(call.headers.get("x-tfy-assume-user", ""))
        if assumed is None or assumed[1] != world.settings.tenant_name:
            raise Refusal(403, "a service token needs a valid x-tfy-assume-user header")
    return kind


def encoded(body: Any) -> bytes:
    """JSON text."""
    return json.dumps(body).encode()


def page(world: World, call: Call) -> tuple[int, int]:
    """Offset and limit, as asked for."""
    return call.number("offset", 0), call.number("limit", 100, world.settings.max_limit)


def listing(
    world: World, call: Call, found: list[Any], shape: Callable[[World, Any], Json]
) -> bytes:
    """One page of what was found."""
    offset, limit = page(world, call)
    rows = [shape(world, record) for record in found[offset : offset + limit]]
    pagination = {"total": len(found), "offset": offset, "limit": limit}
    return encoded({"data": rows, "pagination": pagination})
