"""A webhook, and what receives from it."""

from collections.abc import Iterator

import pytest

from accounts.models import Organization, Webhook
from tests.accounts.webhooking import Receiver, make, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def hook(organization: Organization, receiver: Receiver) -> Webhook:
    return make(organization, receiver.url)
