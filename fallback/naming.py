"""Names and addresses at a TrueFoundry: pure, no network, no models."""

import copy
import hashlib
import ipaddress
import json
import re
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

JOB_NAME = re.compile(r"^[a-z](?:[a-z0-9]|-(?!-)){1,30}[a-z0-9]\Z")
LONGEST_NAME, DIGEST_LENGTH = 32, 10
SHORTEST, PIECE = 4, 8  # characters by which a value is recognized in somebody's words
LEFT_OUT = "The remote's words repeat what it was sent, so they are left out."
DEFAULT_PREFIX = "/api/svc"
DEFAULT_PORTS = {"http": 80, "https": 443}


def base_url_of(url: str) -> str:
    """`url` without a trailing slash; one without a path gets `/api/svc`."""
    parts = urlsplit(url.strip())
    path = parts.path.rstrip("/") or DEFAULT_PREFIX
    return f"{parts.scheme.lower()}://{parts.netloc}{path}"


def remote_of(url: str) -> str:
    """What tells two control planes apart: scheme, host and port, each in one spelling.

    Two connections to one control plane must not both move a run.
    """
    parts = urlsplit(url.strip())
    scheme, host = parts.scheme.lower(), _one_spelling((parts.hostname or "").rstrip("."))
    return f"{scheme}://{host}:{parts.port or DEFAULT_PORTS.get(scheme, 0)}"


def _one_spelling(host: str) -> str:
    """An IP address as it is usually written, a name as DNS has it."""
    with suppress(ValueError):
        return ipaddress.IPv6Address(host).compressed
    with suppress(OSError):
        return socket.inet_ntoa(socket.inet_aton(host))
    with suppress(UnicodeError):
        return host.encode("idna").decode()
    return host.lower()


def destination_name(job_name: str, source_workspace_id: str, source_application_id: str) -> str:
    """The job's name, shortened, plus 10 hex digits that tell its source workspace and job.

    Two jobs whose names begin alike, or are the same in two workspaces, never meet in one name.
    """
    source = f"{source_workspace_id}/{source_application_id}".encode()
    digest = hashlib.sha256(source).hexdigest()[:DIGEST_LENGTH]
    slug = re.sub(r"[^a-z0-9]+", "-", job_name.lower()).strip("-")
    if not slug or not slug[0].isalpha():
        slug = f"job-{slug}".rstrip("-")
    slug = slug[: LONGEST_NAME - DIGEST_LENGTH - 1].rstrip("-")
    return f"{slug}-{digest}"


def moved_manifest(manifest: dict[str, Any], name: str, workspace_fqn: str) -> dict[str, Any]:
    """The manifest for the destination: all of it, but it must not start runs by itself."""
    moved = copy.deepcopy(manifest)
    moved["name"] = name
    moved["workspace_fqn"] = workspace_fqn
    moved["trigger"] = {"type": "manual"}
    moved["trigger_on_deploy"] = False
    return moved


def trigger_input(command: str) -> dict[str, Any]:
    """A run's `command` as the `input` that triggers its like: `params` for a JSON object.

    Without parameters there is no input: a remote may not tell the two apart.
    """
    if not command:
        return {}
    try:
        params = json.loads(command)
    except ValueError:
        return {"command": command}
    if not isinstance(params, dict):
        return {"command": command}
    return {"params": params} if params else {}


def can_be_sent(command: str) -> bool:
    """Whether JSON can carry the input: Python writes NaN and Infinity, and others refuse them.
    Half a character can be neither stored nor sent as it is."""
    try:
        command.encode()
        json.dumps(trigger_input(command), allow_nan=False)
    except ValueError:
        return False
    return True


def canonical_command(command: str) -> str:
    """One form for commands that trigger the same: a remote may reorder or respace JSON, and tell
    its numbers and nulls as JavaScript does."""
    try:
        params = json.loads(command)
    except ValueError:
        return command
    if not isinstance(params, dict):
        return command
    plain = _plain(params)
    return json.dumps(plain, sort_keys=True, separators=(",", ":")) if plain else ""


def _plain(value: Any) -> Any:
    """Without nulls, and each number as the nearest double, whole ones as whole ones."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        number = float(value)
    except OverflowError:
        return value
    return int(number) if number.is_integer() else number


def discreet(words: str, body: dict[str, Any]) -> str:
    """A remote's words about `body`, or a sentence instead where they repeat what is in it.

    A refusal may repeat what it was sent, escaped, cut or reworded; so where any piece of an input
    or of a manifest's values is found, nothing of the words is kept.
    """
    manifest = body.get("manifest") or {}
    others = {leaf for leaf in _leaves(manifest) if len(leaf) >= PIECE}
    private = _leaves(manifest.get("env")) | _leaves(body.get("input")) | others
    private -= {str(manifest.get("name")), str(manifest.get("workspace_fqn"))}
    return LEFT_OUT if any(_repeats(words, secret) for secret in private) else words


def _repeats(words: str, secret: str) -> bool:
    spellings = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return any(
        spelling[at : at + PIECE] in words
        for spelling in spellings
        for at in range(max(1, len(spelling) - PIECE + 1))
    )


def _leaves(value: Any) -> set[str]:
    """All the values in a JSON value that are long enough to be recognized in a message."""
    if isinstance(value, dict):
        return set().union(*(_leaves(item) for item in value.values()), set())
    if isinstance(value, list):
        return set().union(*(_leaves(item) for item in value), set())
    text = str(value)
    return {text} if isinstance(value, str | int | float) and len(text) >= SHORTEST else set()


def same_manifest(wanted: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether `found` is `wanted`, give or take defaults that the remote filled in."""
    return all(found.get(name) == value for name, value in wanted.items())
