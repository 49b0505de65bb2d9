"""Fixtures: one simulator for all, emptied before each test; an installation for each."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker

from fallback.simulator.client import Simulator
from tests.faults.databases import Databases
from tests.faults.world import Installation, Json, environment

QUICK = {"latencyMs": 0, "rolloutSeconds": 0, "startSeconds": 0, "runSeconds": 3600}
USUAL: Json = {
    "terminateSeconds": 0,
    "clockOffsetSeconds": 0,
    "failRollouts": 0,
    "hiddenWorkspace": "",
    "maxLimit": 1000,
    "rewritesInput": "",
}

Install = Callable[[], AbstractContextManager[Installation]]


@contextmanager
def directory() -> Iterator[Path]:
    # Short, and not pytest's own: a Unix socket's path ends at 107 bytes.
    path = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def one_simulator() -> Iterator[Simulator]:
    with Simulator.start() as simulator:
        yield simulator


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    with directory() as home:
        databases = Databases(home, environment(home))
        try:
            yield databases
        finally:
            databases.close()


@pytest.fixture(scope="session")
def install(
    one_simulator: Simulator, databases: Databases, django_db_blocker: DjangoDbBlocker
) -> Install:
    """Makes an installation, for a test or for several; one at a time, for the simulator is one.

    So tests that share one come last in their module.
    """
    busy: list[bool] = []

    @contextmanager
    def installing() -> Iterator[Installation]:
        assert not busy, "another installation has the simulator"
        busy.append(True)
        one_simulator.reset()
        tokens = {"tokens": [one_simulator.token]}
        one_simulator.settings(**QUICK, **USUAL, **tokens)
        with (
            directory() as home,
            databases.copy(home) as name,
            django_db_blocker.unblock(),
            databases.used_here(name, home),
        ):
            env = environment(home) | databases.environment(name, home)
            installation = Installation(one_simulator, home, env)
            try:
                yield installation
            finally:
                installation.end()
                busy.clear()

    return installing


@pytest.fixture
def world(install: Install) -> Iterator[Installation]:
    with install() as installation:
        yield installation
