"""How often somebody may try to sign in: counted in the cache, in windows of five minutes.

Only failures count. Without the cache nothing is counted and nobody is kept out.
"""

import time

from django.core.cache import cache

from config.base.addresses import neighbourhood
from config.base.redaction import keyed_hash

WINDOW = 300  # seconds
MOST = {
    "sign-in": {"account": 10, "address": 100},
    "password": {"account": 10, "address": 100},  # the current one, asked for again
    "reset": {"account": 3, "address": 20},  # mails
    "sign-up": {"address": 30},  # those that succeed count, too
}


class TooMany(Exception):
    """One attempt too many. `wait` is how long the next one has to, in seconds."""

    def __init__(self, wait: int) -> None:
        super().__init__("Too many failed attempts.")
        self.wait = wait


class Attempt:
    """One try. It counts from its beginning, so that many at once count, too."""

    def __init__(self, account: str, address: str, kind: str = "sign-in") -> None:
        window = int(time.time()) // WINDOW
        given = {"account": account.strip().lower(), "address": neighbourhood(address)}
        self.most = MOST[kind]
        self.keys = {
            name: f"{kind}:{name}:{keyed_hash(value, 32)}:{window}"
            for name, value in given.items()
            if value
        }

    def begin(self) -> int:
        """Seconds to wait, or 0 where one may try now."""
        wait = 0
        for name, key in self.keys.items():
            cache.add(key, 0, WINDOW)
            if (_counted(key, 1) or 0) > self.most[name]:
                wait = WINDOW - int(time.time()) % WINDOW
        return wait

    def must_begin(self) -> None:
        """Raises TooMany where one has to wait."""
        if wait := self.begin():
            raise TooMany(wait)

    def succeeded(self) -> None:
        for key in self.keys.values():
            _counted(key, -1)


def _counted(key: str, step: int) -> int | None:
    try:
        return cache.incr(key, step)
    except ValueError:  # it ran out in between
        return None
