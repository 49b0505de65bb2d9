"""Skips what this machine cannot run, and says at the end what that was and how to get it."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LONG = ("e2e", "faults")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser() -> str:
    """The path of a Chromium, or ''."""
    return next(filter(None, map(shutil.which, BROWSERS)), "")


def on_postgres() -> bool:
    return os.environ.get("DATABASE_URL", "").startswith("postgres")


def soaking() -> bool:
    return os.environ.get("SOAK") == "1"


# marker: (is it here?, how to get it)
NEEDS: dict[str, tuple[Callable[[], Any], str]] = {
    "browser": (browser, "Chromium is not installed: apt-get install chromium"),
    "kubernetes": (
        lambda: os.environ.get("TEST_KUBECONFIG"),
        "no cluster: set TEST_KUBECONFIG to the kubeconfig of one that may be written to",
    ),
    "postgres": (on_postgres, "needs PostgreSQL: make test-postgres"),
    "soak": (soaking, "takes minutes: make soak"),
}


def in_turns(items: list[pytest.Item]) -> list[pytest.Item]:
    """Long files first, so that they do not come last: those that compute and those that wait in
    turns, so that processes beside each other do both; then many short ones."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    seen: Counter[str] = Counter()

    def turn(path: Path) -> tuple[bool, int, bool]:
        kind = path.parent.name
        seen[kind] += 1
        return kind not in LONG, seen[kind] if kind in LONG else kind != "tests", kind != LONG[0]

    return [item for path in sorted(files, key=turn) for item in files[path]]


# As it stands, neither first nor last: after pytest-django has sorted, before `-m` selects.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put in order, and mark what touches the database: `make test-postgres` runs that again."""
    items[:] = in_turns(items)
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if item.get_closest_marker("django_db") or {"db", "transactional_db"} & set(fixtures):
            item.add_marker("database")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, (here, how) in NEEDS.items():
        if item.get_closest_marker(marker) and not here():
            pytest.skip(how)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = terminalreporter.stats.get("skipped", [])
    left_out = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)
    if not on_postgres():
        left_out.setdefault("the same tests on PostgreSQL: make test-postgres", 0)
    terminalreporter.section("left out on this machine")
    for how, count in sorted(left_out.items()):
        terminalreporter.write_line(f"{count or 'all':>5}  {how}")
