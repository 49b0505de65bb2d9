"""A migrated database for each test: migrated once, then copied, on SQLite and on PostgreSQL."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import OperationalError, connections
from django.db.utils import load_backend

from tests import needs
from tests.faults import nursery

SQLITE = "switchyard.sqlite3"


class Databases:
    """Hands out databases. `environment` is that of the process which migrates the template."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self._home = home
        self.url = os.environ["DATABASE_URL"] if needs.on_postgres() else ""
        self._template = self._named("template")
        if self.url:
            self._execute(f'CREATE DATABASE "{self._template}"')
        self._migrate(environment | self.environment(self._template, home))

    def environment(self, name: str, data_dir: Path) -> dict[str, str]:
        """What leads a process to the database."""
        found = {"DATA_DIR": str(data_dir)}
        return found | {"DATABASE_URL": self._url_of(name)} if self.url else found

    @contextmanager
    def copy(self, data_dir: Path) -> Iterator[str]:
        """A database of one's own; answers its name (that of SQLite is always the same)."""
        name = self._named("test")
        if not self.url:
            shutil.copy(self._home / SQLITE, data_dir / SQLITE)
            yield name
            return
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"')
        try:
            yield name
        finally:
            self._drop(name)

    @contextmanager
    def used_here(self, name: str, data_dir: Path) -> Iterator[None]:
        """This process's rows are those of the database, too."""
        config: dict[str, Any] = dict(settings.DATABASES["default"])
        config["NAME"] = name if self.url else str(data_dir / SQLITE)
        ours = load_backend(config["ENGINE"]).DatabaseWrapper(config, "default")
        others = connections["default"]
        connections["default"] = ours
        try:
            yield
        finally:
            ours.close()
            connections["default"] = others

    def close(self) -> None:
        if self.url:
            self._drop(self._template)

    def _migrate(self, environment: dict[str, str]) -> None:
        out = self._home / "migrate.log"
        process = nursery.start("manage", ["migrate", "--verbosity", "0"], environment, out, out)
        process.join()
        if process.exitcode:
            raise RuntimeError(out.read_text())

    def _named(self, what: str) -> str:
        return f"switchyard_{what}_{uuid.uuid4().hex[:12]}"

    def _url_of(self, name: str) -> str:
        return f"{self.url.rpartition('/')[0]}/{name}"

    def _drop(self, name: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        at = settings.DATABASES["default"]
        parts = {"host": at["HOST"], "port": at["PORT"], "user": at["USER"]}
        parts |= {"password": at["PASSWORD"], "dbname": "postgres"}
        given = {name: value for name, value in parts.items() if value}
        with psycopg.connect(**given, autocommit=True) as connection:
            connection.execute(statement)


def somebody_writes() -> bool:
    """Whether another process is in a transaction now."""
    with connections["default"].cursor() as cursor:
        if connections["default"].vendor == "postgresql":
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND xact_start IS NOT NULL AND pid != pg_backend_pid()"
            )
            return bool(cursor.fetchone()[0])
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("ROLLBACK")
        except OperationalError:
            return True
        finally:
            cursor.execute("PRAGMA busy_timeout = 20000")
    return False
