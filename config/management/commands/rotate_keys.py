"""`manage.py rotate_keys`: all secrets under the newest key, so that the older ones can go."""

import sys
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.core.management.base import BaseCommand

from config.base.secrets import Undecryptable, rotate
from config.encrypted import encrypted_fields, replace_stored, stored_values


class Command(BaseCommand):
    help = "Encrypt every stored secret anew with the first of ENCRYPTION_KEYS. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        newest = Fernet(settings.ENCRYPTION_KEYS[0])
        unreadable = 0
        for model, name in encrypted_fields():
            rotated = current = 0
            for pk, stored in stored_values(model, name):
                if opens(newest, stored):
                    current += 1
                    continue
                try:
                    new = rotate(stored)
                except Undecryptable:
                    unreadable += 1
                    self.stderr.write(f"{model._meta.label} {pk}: no key opens {name}")
                    continue
                # Whoever changed it meanwhile did so with the newest key.
                rotated += replace_stored(model, name, pk, stored, new)
            self.stdout.write(
                f"{model._meta.label}.{name}: {rotated} rotated, {current} were current"
            )
        if unreadable:
            self.stderr.write(f"{unreadable} values could not be opened. Keep the older keys.")
            sys.exit(1)


def opens(key: Fernet, stored: str) -> bool:
    try:
        key.decrypt(stored.encode())
    except InvalidToken:
        return False
    return True
