"""How often somebody may try to sign in: counted in the cache, in windows of five minutes.

Only failures count. Without the cache nothing is counted and nobody is kept out.
"""

import time

from django.core.cache import cache

from config.base.redaction import keyed_hash

WINDOW = 300  # seconds
MOST = {"account": 10, "address": 100}


class Attempt:
    """One try. It counts from its beginning, so that many at once count, too."""

    def __init__(self, account: str, address: str) -> None:
        window = int(time.time()) // WINDOW
        given = {"account": account.strip().lower(), "address": address}
        self.keys = {
            kind: f"sign-in:{kind}:{keyed_hash(value, 32)}:{window}"
            for kind, value in given.items()
            if value
        }

    def begin(self) -> int:
        """Seconds to wait, or 0 where one may try now."""
        wait = 0
        for kind, key in self.keys.items():
            cache.add(key, 0, WINDOW)
            if (_counted(key, 1) or 0) > MOST[kind]:
                wait = WINDOW - int(time.time()) % WINDOW
        return wait

    def succeeded(self) -> None:
        for key in self.keys.values():
            _counted(key, -1)


def _counted(key: str, step: int) -> int | None:
    try:
        return cache.incr(key, step)
    except ValueError:  # it ran out in between
        return None
