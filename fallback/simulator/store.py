"""The world in a file, so that a restart, even after a kill, goes on where it was.

An SQLite file: only what has changed is written, all of it in one transaction.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields
from pathlib import Path
from typing import Any

from . import arriving, deploying, running
from .records import Application, Cluster, Deployment, Json, Record, Run, Workspace
from .world import World

# In the order in which they refer to each other.
KINDS: list[type[Record]] = [Cluster, Workspace, Application, Deployment, Run]
NAMES = {kind: [f.name for f in fields(kind) if f.name != "encoded"] for kind in KINDS}


class Store:
    """Loads a world from a file, and saves what has changed since the last time."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        # Safe against a killed process, if not against a power cut: nobody's money is in here.
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE IF NOT EXISTS record (id TEXT PRIMARY KEY, kind, fields)")
        self._db.execute("CREATE TABLE IF NOT EXISTS extra (name TEXT PRIMARY KEY, value)")
        self._extra = ""

    def load(self, world: World) -> bool:
        """Fill an empty world; says whether there was anything to fill it with."""
        rows = self._db.execute("SELECT kind, fields FROM record ORDER BY rowid").fetchall()
        for kind in KINDS:
            for _, values in (row for row in rows if row[0] == kind.__name__):
                world.add(_record(kind, json.loads(values)))
        self._load_extra(world)
        for deployment in world.deployments.values():
            deploying.follow(world, deployment)
        for run in world.runs.values():
            running.follow(world, run)
        world.start_ids()
        world.changed.clear()
        world.cleared = False
        return bool(rows)

    def save(self, world: World) -> None:
        """Write what has changed, if anything has."""
        extra = json.dumps({"settings": world.settings.to_json(), "arrivals": world.arrivals})
        if not (world.changed or world.cleared or extra != self._extra):
            return
        with self._db:
            self._db.execute("BEGIN")
            if world.cleared:
                self._db.execute("DELETE FROM record")
            self._db.executemany(
                "INSERT INTO record VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET fields = excluded.fields",
                [_row(record) for record in world.changed.values()],
            )
            self._db.execute("INSERT OR REPLACE INTO extra VALUES ('extra', ?)", (extra,))
        world.changed.clear()
        world.cleared, self._extra = False, extra

    def close(self) -> None:
        self._db.close()

    def _load_extra(self, world: World) -> None:
        row = self._db.execute("SELECT value FROM extra").fetchone()
        if row is None:
            return
        extra: Json = json.loads(row[0])
        world.settings.update(extra["settings"])
        world.arrivals = extra["arrivals"]
        for workspace_id in world.arrivals:
            arriving.resume(world, workspace_id)


def _row(record: Record) -> tuple[str, str, str]:
    values = [getattr(record, name) for name in NAMES[type(record)]]
    return record.id, type(record).__name__, json.dumps(values)


def _record(kind: type[Record], values: list[Any]) -> Record:
    return kind(**dict(zip(NAMES[kind], values, strict=True)))
