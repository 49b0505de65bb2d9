"""Reads settings from the environment and says which variable is wrong, in one sentence."""

import base64
import hashlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

PLACEHOLDER = re.compile(
    r"insecure|change[-_ ]?(me|this)|example|placeholder|secret[-_ ]?key", re.IGNORECASE
)
TRUE, FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


class Environment:
    """Typed access to environment variables; `NAME_FILE` names a file that holds the value."""

    def __init__(self, env_file: Path) -> None:
        if os.environ.get("ENV_FILE", "") != "none" and env_file.is_file():
            environ.Env.read_env(str(env_file))
        self._env = environ.FileAwareEnv()

    def text(self, name: str, default: str = "") -> str:
        return str(self._env.str(name, default=default)).strip()

    def list(self, name: str) -> list[str]:
        return [part.strip() for part in self.text(name).split(",") if part.strip()]

    def flag(self, name: str, default: bool = False) -> bool:
        raw = (self.text(name) or str(default)).lower()  # empty is not set
        if raw in TRUE:
            return True
        if raw in FALSE:
            return False
        raise ImproperlyConfigured(f"{name} must be true or false, not {raw!r}.")

    def number(self, name: str, default: int, least: int = 0, most: int = 10**9) -> int:
        raw = self.text(name, str(default))
        try:
            value = int(raw)
        except ValueError:
            raise ImproperlyConfigured(f"{name} must be a whole number, not {raw!r}.") from None
        if not least <= value <= most:
            raise ImproperlyConfigured(f"{name} must be from {least} to {most}, not {value}.")
        return value

    def choice(self, name: str, default: str, choices: set[str]) -> str:
        raw = self.text(name, default)
        if raw not in choices:
            known = ", ".join(sorted(choices))
            raise ImproperlyConfigured(f"{name} must be one of {known}, not {raw!r}.")
        return raw

    def url(self, name: str, schemes: set[str]) -> str:
        """A URL of one of `schemes`, or ''. The value is not repeated: it may hold a password."""
        raw = self.text(name)
        try:
            parts = urlsplit(raw)
            usable = parts.scheme in schemes and (parts.hostname or parts.path)
            _ = parts.port
        except ValueError:
            usable = ""
        if raw and not usable:
            known = ", ".join(f"{scheme}://" for scheme in sorted(schemes))
            raise ImproperlyConfigured(f"{name} must be a URL that begins with one of {known}.")
        return raw

    def parsed(self, name: str, parse: Callable[[str], Any], form: str) -> Any:
        """`parse(value)`; its ValueError or KeyError becomes a sentence that shows `form`."""
        try:
            return parse(self.text(name))
        except (ValueError, KeyError, ImproperlyConfigured):
            raise ImproperlyConfigured(f"{name} must look like {form}.") from None

    def required(self, name: str, why: str) -> str:
        value = self.text(name)
        if not value:
            raise ImproperlyConfigured(f"{name} is required in production: {why}")
        return value

    def database_url(self, data_dir: Path) -> str:
        """`DATABASE_URL`, or composed from the older `DB_*` names, or SQLite in `data_dir`."""
        schemes = {"postgres", "postgresql", "sqlite"}
        if url := self.url("DATABASE_URL", schemes):
            return url
        if not (host := self.text("DB_HOST")):
            return f"sqlite:///{data_dir}/switchyard.sqlite3"
        name = self.text("DB_NAME") or self.text("DB_DATABASE")
        user = self.text("DB_USER") or self.text("DB_USERNAME")
        if not name or not user:
            raise ImproperlyConfigured("DB_HOST is set, so DB_NAME and DB_USER must be, too.")
        password = quote(self.text("DB_PASSWORD"), safe="")
        port = self.number("DB_PORT", 5432, 1, 65535)
        return f"postgres://{quote(user, safe='')}:{password}@{host}:{port}/{quote(name, safe='')}"

    def redis_url(self, embedded_socket: Path) -> str:
        """`REDIS_URL`, or composed from `REDIS_*`, or the embedded server's Unix socket."""
        if url := self.url("REDIS_URL", {"redis", "rediss", "unix"}):
            return url
        if not (host := self.text("REDIS_HOST")):
            return f"unix://{embedded_socket}"
        port, db = self.number("REDIS_PORT", 6379, 1, 65535), self.number("REDIS_DB", 0, 0, 255)
        return f"redis://{host}:{port}/{db}"


def plain(text: str) -> str:
    """Raises ValueError for what no header can carry."""
    if re.search(r"[^!-~]", text):
        raise ValueError("not plain ASCII")
    return text


def user_name(text: str) -> str:
    """As a connection takes it, or ''. Raises ValueError."""
    if text and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", text):
        raise ValueError("not a user name")
    return text


def made_once(path: Path) -> str:
    """The secret in `path`, made on first use and readable by its owner only."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may start at once: the link is atomic, so both end up with one key.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(50))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text().strip()


def derived_key(secret: str, purpose: str) -> str:
    """A Fernet key (32 bytes, URL-safe base64) derived from `secret`."""
    digest = hashlib.sha256(f"{purpose}:{secret}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()


def refuse_weak_secret(secret: str) -> None:
    """A key for production that others may know or guess stops the start."""
    weak = ""
    if len(secret) < 50:
        weak = "is shorter than 50 characters"
    elif len(set(secret)) < 5:
        weak = "repeats a few characters"
    elif PLACEHOLDER.search(secret):
        weak = "is a placeholder"
    if weak:
        raise ImproperlyConfigured(
            f"SECRET_KEY {weak}, so production cannot start with it. "
            "`python -c 'import secrets; print(secrets.token_urlsafe(50))'` makes one."
        )


def refuse_weak_keys(keys: list[str], secret: str) -> None:
    """The default outside production, or a key that is no random one: not in production."""
    for position, key in enumerate(keys, start=1):
        # Of 43 random characters 10 or fewer different ones do not happen.
        if key == derived_key(secret, "encryption") or len(set(key)) <= 10:
            raise ImproperlyConfigured(
                f"ENCRYPTION_KEYS: key {position} is a default or a placeholder, so production "
                "cannot start with it. `PRODUCTION=false manage.py encryption_key` makes one."
            )


def embedded_socket(data_dir: Path) -> Path:
    """Where the embedded Valkey listens: short, because a socket's path ends at 107 bytes."""
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    return Path("/tmp") / f"switchyard-{os.getuid()}-{digest}" / "valkey.sock"
