"""Secrets, encrypted at rest with the newest of `ENCRYPTION_KEYS`, readable with any of them."""

import json
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


class Undecryptable(Exception):
    """None of `ENCRYPTION_KEYS` opens this value."""


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(text: str) -> str:
    return _fernet(tuple(settings.ENCRYPTION_KEYS)).encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """Raises Undecryptable where no key fits."""
    try:
        return _fernet(tuple(settings.ENCRYPTION_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken:
        raise Undecryptable("no key in ENCRYPTION_KEYS opens this value") from None


def rotate(token: str) -> str:
    """The same secret under the newest key. Raises Undecryptable where no key fits."""
    try:
        return _fernet(tuple(settings.ENCRYPTION_KEYS)).rotate(token.encode()).decode()
    except InvalidToken:
        raise Undecryptable("no key in ENCRYPTION_KEYS opens this value") from None


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Text that is encrypted in the database. Filter by a `keyed_hash` beside it, not by this."""

    def get_prep_value(self, value: Any) -> Any:
        return encrypt(value) if value else value

    def from_db_value(self, value: Any, *_: Any) -> Any:
        return decrypt(value) if value else value


class Unreadable(str):
    """A secret that no key opens: empty to whoever reads it, and stored again as it was."""

    stored: str

    def __new__(cls, stored: str) -> "Unreadable":
        self = super().__new__(cls, "")
        self.stored = stored
        return self


class CredentialField(EncryptedTextField):
    """A secret that can be entered again: a lost key must not keep its row from being mended."""

    def get_prep_value(self, value: Any) -> Any:
        return value.stored if isinstance(value, Unreadable) else super().get_prep_value(value)

    def from_db_value(self, value: Any, *_: Any) -> Any:
        try:
            return super().from_db_value(value)
        except Undecryptable:
            return Unreadable(value)


class EncryptedJSONField(EncryptedTextField):
    """JSON that is encrypted in the database."""

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else encrypt(json.dumps(value))

    def from_db_value(self, value: Any, *_: Any) -> Any:
        return json.loads(decrypt(value)) if value else None

    def to_python(self, value: Any) -> Any:
        return value
