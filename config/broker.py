"""The broker's transport: kombu's own for Redis, which outlives a broker that went away.

Celery 5.7 closes a lost connection twice. Where the worker holds a task, the second closing wants
to give it back over a connection that has no address any more, and the AttributeError ends the
worker, with whatever its processes are doing. Here it is a lost connection, which Celery expects.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis
from redis.exceptions import ConnectionError


class Channel(redis.Channel):
    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        if client is None and self.connection.client is None:
            raise ConnectionError("The connection to the broker is closed.")
        with super().conn_or_acquire(client) as found:
            yield found


class Transport(redis.Transport):
    Channel = Channel


def use() -> None:
    """For `redis://` and `rediss://`, and for Unix sockets, too."""
    name = f"{__name__}:{Transport.__name__}"
    TRANSPORT_ALIASES.update(redis=name, rediss=name)
