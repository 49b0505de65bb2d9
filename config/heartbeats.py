"""Signs of life of the worker and of beat: times in the cache, so that every web server sees them.

The worker leaves one when it ends a task, beat one when it sends a tick. Celery's signals say so
(config/celery.py); ticks are due every few seconds, so nothing else has to be sent for it.
"""

import time
from threading import Lock

from django.core.cache import cache

NAMES = ("worker", "beat")
EVERY = 3.0  # seconds between two writes of one process
LATE = 90.0  # a task may take 60 s
KEPT = 86_400

_lock = Lock()
_left: dict[str, float] = {}


def leave(name: str) -> None:
    """Say that `name` is alive. Costs nothing when it was said just before."""
    now = time.monotonic()
    with _lock:
        if now - _left.get(name, -EVERY) < EVERY:
            return
        _left[name] = now
    cache.set(f"heartbeat:{name}", time.time(), KEPT)


def ages() -> dict[str, float | None]:
    """Seconds since the last sign of each; None where none is known."""
    found = cache.get_many([f"heartbeat:{name}" for name in NAMES])
    now = time.time()
    at = {name: found.get(f"heartbeat:{name}") for name in NAMES}
    return {name: None if then is None else max(0.0, now - then) for name, then in at.items()}
