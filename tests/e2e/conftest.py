"""A browser, and a Switchyard with an empty control plane; once for each file."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from fallback.simulator.client import Simulator
from tests.e2e.yard import Yard, launch, opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = launch(playwright)
        yield found
        found.close()


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    with Simulator.start() as simulator, opened(simulator) as found:
        yield found
