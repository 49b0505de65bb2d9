"""The cache on the broker, which may be away: then nothing is remembered, and nothing fails."""

import time
from collections.abc import Callable
from typing import Any

import structlog
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)
AWAY_SECONDS = 5.0
WARN_SECONDS = 60.0


class FailOpen(RedisCache):
    """Django's own, but that a broker that is away means a miss. It is tried no more for 5 s."""

    _away_until = _warned_at = 0.0

    def _or(self, missing: Any, call: Callable[[], Any]) -> Any:
        now = time.monotonic()
        if now < FailOpen._away_until:
            return missing
        try:
            return call()
        except (RedisError, OSError) as error:
            FailOpen._away_until = now + AWAY_SECONDS
            if now - FailOpen._warned_at > WARN_SECONDS or not FailOpen._warned_at:
                FailOpen._warned_at = now
                log.warning("cache_away", error=type(error).__name__)
            return missing

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return bool(self._or(True, lambda: super(FailOpen, self).add(*args, **kwargs)))

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        return self._or(default, lambda: super(FailOpen, self).get(key, default, version))

    def set(self, *args: Any, **kwargs: Any) -> None:
        self._or(None, lambda: super(FailOpen, self).set(*args, **kwargs))

    def touch(self, *args: Any, **kwargs: Any) -> bool:
        return bool(self._or(False, lambda: super(FailOpen, self).touch(*args, **kwargs)))

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        return bool(self._or(False, lambda: super(FailOpen, self).delete(*args, **kwargs)))

    def get_many(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(self._or({}, lambda: super(FailOpen, self).get_many(*args, **kwargs)))

    def has_key(self, *args: Any, **kwargs: Any) -> bool:
        return bool(self._or(False, lambda: super(FailOpen, self).has_key(*args, **kwargs)))

    def incr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """0 where nothing can be counted. Raises ValueError for a key that is not there."""
        return int(self._or(0, lambda: super(FailOpen, self).incr(key, delta, version)))

    def set_many(self, data: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return list(
            self._or(list(data), lambda: super(FailOpen, self).set_many(data, *args, **kwargs))
        )

    def delete_many(self, *args: Any, **kwargs: Any) -> None:
        self._or(None, lambda: super(FailOpen, self).delete_many(*args, **kwargs))

    def clear(self) -> None:
        self._or(None, lambda: super(FailOpen, self).clear())
