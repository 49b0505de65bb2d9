"""Masks what must not be seen: in pages, answers, activities and logs."""

import hashlib
import hmac
import json
import re
from typing import Any

from django.conf import settings

SECRET_KEY_NAME = re.compile(r"secret|token|password|passwd|key|authorization|cookie", re.I)
# Names that match the pattern above and are no secrets.
HARMLESS = {"secret_keys", "idempotency_key", "primary_key", "key_path", "keys", "token_id"}
# A code that lets somebody in, where an address holds it: as it is, or quoted in `next=…`.
SLASH = r"(?:/|%(?:25)*2F)+"
CODE = re.compile(
    rf"(?i)({SLASH}join{SLASH}|{SLASH}organizations{SLASH}(?=[^/?&%\s]+{SLASH}join))"
    r"[^/?&%\s\"']+"
)
RESET = re.compile(
    rf"(?i)({SLASH}password{SLASH}new{SLASH}[^/?&%\s\"']+{SLASH})"
    r"(?!set-password\b)[^/?&%\s\"']+"
)
# Our own, wherever they stand: somebody puts a token into an address.
OURS = re.compile(r"(swy|whsec)_[\w+/=-]{16,}")
BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")


def keyed_hash(text: str, length: int = 64) -> str:
    """`length` hex digits (at most 64) that tell values apart and tell nobody the value.

    Keyed with SECRET_KEY, not with an encryption key: rotation must not change it.
    """
    key = hashlib.sha256(b"keyed-hash:" + settings.SECRET_KEY.encode()).digest()
    return hmac.new(key, text.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:length]


def mask(value: Any) -> str:
    """`•••` and 8 hex digits, so that a change can be seen and the value cannot."""
    if value in (None, ""):
        return ""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return f"••• {keyed_hash(text, 8)}"


def is_secret(key: str) -> bool:
    """Whether what has this name looks like a secret."""
    return bool(key and key not in HARMLESS and SECRET_KEY_NAME.search(key))


def redact(value: Any, key: str = "") -> Any:
    """`value` with every `env` value and everything under a secret-looking key masked."""
    if is_secret(key):
        return mask(value)
    if isinstance(value, dict):
        if key == "env":
            return {name: mask(content) for name, content in value.items()}
        return {name: redact(content, str(name)) for name, content in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, key if key == "env" else "") for item in value]
    if isinstance(value, str):
        return without_codes(BEARER.sub(r"\1 •••", value))
    return value


def without_codes(text: str) -> str:
    """An address, or a sentence with one, that lets nobody in."""
    folded = text.lower()
    text = CODE.sub(r"\1•••", text) if "join" in folded else text
    text = RESET.sub(r"\1•••", text) if "password" in folded else text
    return OURS.sub(r"\1_•••", text) if "_" in text else text
