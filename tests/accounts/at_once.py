"""Several threads at once, with connections of their own, on whichever database tests run."""

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connection, connections
from django.db.utils import load_backend


@contextmanager
def shared() -> Iterator[None]:
    """A database that threads can share. SQLite's in memory locks whole tables: a copy on disk.

    For tests with `django_db(transaction=True)`; rows are to be made inside of it.
    """
    if connection.vendor != "sqlite":
        yield
        return
    with tempfile.TemporaryDirectory(prefix="swy-") as home:
        name = str(Path(home) / "at-once.sqlite3")
        with connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [name])
        before, ours = connections.settings["default"], connections["default"]
        copy = {**before, "NAME": name}
        connections.settings["default"] = copy
        connections["default"] = load_backend(copy["ENGINE"]).DatabaseWrapper(copy, "default")
        try:
            yield
        finally:
            connections["default"].close()
            connections["default"] = ours
            connections.settings["default"] = before


def at_once(acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """Begin all of them together; answers what each returned, or the exception that it raised."""
    ready = threading.Barrier(len(acts))
    found: list[Any] = [None] * len(acts)

    def run(number: int) -> None:
        try:
            ready.wait(20)
            found[number] = acts[number]()
        except Exception as error:  # for the test to look at
            found[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    return found
