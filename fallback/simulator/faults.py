"""What goes wrong on purpose: which call, how, how often."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .calls import Call
from .records import Json

BEFORE = frozenset({"refuse", "late", "status"})
AFTER = frozenset({"lost", "hang", "status_after", "garbage", "truncated"})
LISTING = frozenset({"arrive", "depart"})
FIELDS = {
    "call": str,
    "effect": str,
    "times": int,
    "skip": int,
    "probability": float,
    "status": int,
    "retryAfter": float,
    "seconds": float,
    "count": int,
    "headers": dict,
    "match": dict,
}


@dataclass
class Fault:
    """One rule. `times` None means for ever; `match` holds substrings that must all occur."""

    call: str
    effect: str
    times: int | None = None
    skip: int = 0
    probability: float = 1
    status: int = 503
    retry_after: float | None = None
    seconds: float = 1
    count: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    match: Mapping[str, str] = field(default_factory=dict)
    seen: int = 0
    fired: int = 0

    @classmethod
    def from_json(cls, given: Json, known_calls: Iterable[str]) -> Fault:
        for key, value in given.items():
            kinds = (int, float) if FIELDS.get(key) is float else FIELDS.get(key)
            if kinds is None or not (value is None or isinstance(value, kinds)):
                raise ValueError(f"a fault cannot have {key}: {value!r}")
        if given.get("call") not in {"*", *known_calls}:
            raise ValueError(f"no such call: {given.get('call')!r}")
        if given.get("effect") not in BEFORE | AFTER | LISTING:
            raise ValueError(f"no such effect: {given.get('effect')!r}")
        names = {"retryAfter": "retry_after"}
        filled = {names.get(k, k): v for k, v in given.items() if v is not None}
        return cls(**filled)

    def to_json(self) -> Json:
        rows: Json = {"call": self.call, "effect": self.effect}
        rows |= {"times": self.times, "skip": self.skip}
        rows |= {"probability": self.probability, "match": dict(self.match)}
        if self.effect in ("status", "status_after"):
            rows |= {"status": self.status, "retryAfter": self.retry_after}
        if self.effect in ("hang", "late"):
            rows["seconds"] = self.seconds
        return rows | {"seen": self.seen, "fired": self.fired}

    def strikes(self, call: Call, chance: random.Random) -> bool:
        """Whether this call is hit; counts it."""
        if self.call not in ("*", call.route.name) or self.spent or not self._matches(call):
            return False
        self.seen += 1
        if self.seen <= self.skip or chance.random() >= self.probability:
            return False
        self.fired += 1
        return True

    @property
    def spent(self) -> bool:
        return self.times is not None and self.fired >= self.times

    @property
    def answer_headers(self) -> dict[str, str]:
        """Headers of an answer that this fault makes up."""
        headers = {name: str(value) for name, value in self.headers.items()}
        if self.retry_after is not None:
            headers["Retry-After"] = f"{self.retry_after:g}"
        return headers

    def _matches(self, call: Call) -> bool:
        return all(str(part) in _part(call, where) for where, part in self.match.items())


class Faults:
    """The list of faults; the first that strikes a call has it."""

    def __init__(self, known_calls: Iterable[str], chance: random.Random | None = None) -> None:
        self._known = frozenset(known_calls)
        self._chance = chance or random.Random()
        self._faults: list[Fault] = []

    def replace(self, given: Iterable[Json]) -> None:
        self._faults = [Fault.from_json(entry, self._known) for entry in given]

    def strike(self, call: Call) -> Fault | None:
        for fault in self._faults:
            if fault.strikes(call, self._chance):
                return fault
        return None

    def to_json(self) -> list[Json]:
        return [fault.to_json() for fault in self._faults]


def _part(call: Call, where: str) -> str:
    """What a `match` entry is looked for in: path, query, body, or one field of the last two."""
    if where == "path":
        return call.path
    if where == "body":
        return call.raw.decode(errors="replace")
    if where == "query":
        return "&".join(f"{name}={value}" for name, value in call.query.items())
    if where in call.query:
        return ",".join(call.query.getall(where))
    try:
        value = json.loads(call.raw or b"{}").get(where, "")
    except (ValueError, AttributeError):
        return ""
    return value if isinstance(value, str) else json.dumps(value)
