"""What can be set while the simulator runs; JSON speaks camelCase, Python snake_case."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from .records import Json

SERVICE, USER = "service", "user"
DEFAULT_TOKEN = "simulator-token"


def camel(name: str) -> str:
    """`rollout_seconds` as `rolloutSeconds`."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


@dataclass
class Settings:
    """Seconds and milliseconds may be fractions. Plans already made keep their times."""

    latency_ms: float = 0
    rollout_seconds: float = 1
    start_seconds: float = 1
    run_seconds: float = 60
    terminate_seconds: float = 0
    clock_offset_seconds: float = 0
    terminate_twice: int = 417
    fail_rollouts: int = 0  # so many of the next rollouts fail; -1: all of them
    rewrites_input: str = ""  # "numbers": as JavaScript would; "defaults": adds a parameter
    triggers_run: str = ""  # this deployment, whichever is asked for
    hidden_workspace: str = ""  # no token has a right to see this one
    max_limit: int = 1000
    tenant_name: str = "simulated"
    tokens: dict[str, str] = field(default_factory=lambda: {DEFAULT_TOKEN: SERVICE})

    def to_json(self) -> Json:
        rows = {camel(f.name): getattr(self, f.name) for f in fields(self)}
        rows["tokens"] = [{"token": t, "kind": kind} for t, kind in self.tokens.items()]
        return rows

    def update(self, changes: Json) -> None:
        """Apply camelCase changes; an unknown name or a value of the wrong type is refused."""
        names = {camel(f.name): f.name for f in fields(self)}
        if unknown := changes.keys() - names.keys():
            raise ValueError(f"no such setting: {', '.join(sorted(unknown))}")
        checked = {names[key]: self._checked(names[key], v) for key, v in changes.items()}
        for name, value in checked.items():
            setattr(self, name, value)

    def _checked(self, name: str, value: Any) -> Any:
        if name == "tokens":
            return dict(_token(entry) for entry in value)
        now = getattr(self, name)
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(now, str) != isinstance(value, str) or isinstance(now, str) == numeric:
            raise ValueError(f"{camel(name)} cannot be {value!r}")
        return value


def _token(entry: Any) -> tuple[str, str]:
    if isinstance(entry, str):
        return entry, SERVICE
    kind = entry.get("kind", SERVICE)
    if kind not in (SERVICE, USER):
        raise ValueError(f"a token is of kind {SERVICE} or {USER}, not {kind!r}")
    return str(entry["token"]), kind
