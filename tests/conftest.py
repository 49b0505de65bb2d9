"""What every test shares. tests/environment.py has already set the environment."""

import asyncio
from collections.abc import Iterator

import pytest
from asgiref.sync import sync_to_async
from channels import layers
from django.conf import settings
from django.db import connections
from django.test import Client, override_settings

from accounts.models import Membership, Organization, User
from config.base import live
from fallback.models import Connection
from tests import needs
from tests.administering import as_superuser
from tests.calling import Caller
from tests.factories import ConnectionFactory, MembershipFactory, OrganizationFactory, UserFactory

# The real hasher is slow on purpose. Static files are plain outside production already.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

pytest_collection_modifyitems = needs.pytest_collection_modifyitems
pytest_runtest_setup = needs.pytest_runtest_setup
pytest_terminal_summary = needs.pytest_terminal_summary


@pytest.fixture
def organization(db: None) -> Organization:
    return OrganizationFactory.create()


@pytest.fixture
def user(db: None) -> User:
    return UserFactory.create()


@pytest.fixture
def owner(organization: Organization) -> Membership:
    return MembershipFactory.create(organization=organization, role="owner")


@pytest.fixture
def caller(owner: Membership) -> Caller:
    """A program of the owner's."""
    return Caller(owner.user)


@pytest.fixture
def remote(owner: Membership) -> Connection:
    """A control plane that nobody asks."""
    return ConnectionFactory.create(organization=owner.organization)


@pytest.fixture
def root(client: Client) -> Client:
    """A superuser at the admin."""
    return as_superuser(client)


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For sockets: a channel layer in memory, and no thread's connection left behind."""
    monkeypatch.setattr(live, "_away_until", 0.0)  # an earlier test may have found no broker
    memory = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    with override_settings(CHANNEL_LAYERS=memory):
        layers.channel_layers.backends = {}
        yield
    layers.channel_layers.backends = {}
    # Consumers ask the database in a thread of its own, whose connection would outlive the tests.
    asyncio.run(sync_to_async(connections.close_all)())
