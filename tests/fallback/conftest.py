"""A control plane in this process, seeded anew for each test, and connections."""

from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import Membership, Organization
from fallback.models import Connection
from fallback.simulator.client import Simulator
from tests.factories import ConnectionFactory
from tests.fallback.pages import NOWHERE
from tests.fallback.simulating import serving

Json = dict[str, Any]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with serving() as found:
        yield found


@pytest.fixture
def seeded(simulator: Simulator) -> Json:
    simulator.reset()
    return simulator.seed(jobs=2, runsPerJob=2, destinations=2, healthyRuns=1)


@pytest.fixture
def connection(simulator: Simulator, organization: Organization) -> Connection:
    return ConnectionFactory.create(
        organization=organization, name="Remote", base_url=simulator.url, token=simulator.token
    )


@pytest.fixture
def away(owner: Membership) -> Connection:
    """A control plane that does not answer."""
    return ConnectionFactory.create(organization=owner.organization, base_url=f"{NOWHERE}/api/svc")
