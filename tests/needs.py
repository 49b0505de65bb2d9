"""Skips what this machine cannot run, and says at the end what that was and how to get it."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what touches the database: `make test-postgres` runs just that again."""
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
