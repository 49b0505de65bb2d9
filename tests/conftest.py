"""What every test shares. tests/environment.py has already set the environment."""

import pytest
from django.conf import settings

from accounts.models import Membership, Organization, User
from tests import needs
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory

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
