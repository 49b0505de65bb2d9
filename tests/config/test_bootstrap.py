"""`manage.py bootstrap`: makes what is missing and says so; a second time changes nothing."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import Activity, Membership, Organization, User
from accounts.roles import Role
from fallback.models import Connection
from fallback.tasks import why_idle
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory

PASSWORD = "a long enough passphrase"
pytestmark = pytest.mark.django_db


def bootstrap(**changes: str) -> str:
    options = {"email": "ada@example.org", "password": PASSWORD, "organization": "Analytics"}
    out = StringIO()
    call_command("bootstrap", stdout=out, **(options | changes))
    return out.getvalue()


@pytest.fixture(autouse=True)
def without_token(settings):
    settings.TF_SERVICE_API_TOKEN = ""


def test_it_makes_owner_organization_and_membership():
    out = bootstrap()
    user, organization = User.objects.get(), Organization.objects.get()
    assert (user.username, user.email) == ("ada", "ada@example.org")
    assert user.is_superuser and user.is_staff and user.check_password(PASSWORD)
    assert organization.name == "Analytics"
    assert Membership.objects.get().role == Role.OWNER
    assert list(Activity.objects.order_by("pk").values_list("actor_name", "verb")) == [
        ("bootstrap", "user.created"),
        ("bootstrap", "organization.created"),
        ("bootstrap", "member.added"),
    ]
    assert "No connection" in out
    assert PASSWORD not in out


def test_a_second_time_changes_nothing():
    bootstrap()
    before = User.objects.values().get()
    out = bootstrap(
        email="ADA@example.org", password="another passphrase", organization="analytics"
    )
    assert User.objects.values().get() == before
    assert Organization.objects.count() == Membership.objects.count() == 1
    assert Activity.objects.count() == 3
    assert "Made" not in out


def test_the_password_may_come_from_the_environment(settings):
    settings.BOOTSTRAP_PASSWORD = PASSWORD
    out = StringIO()
    call_command("bootstrap", email="ada@example.org", organization="Analytics", stdout=out)
    assert User.objects.get().check_password(PASSWORD)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"password": ""}, "BOOTSTRAP_PASSWORD"),
        ({"password": "short"}, "password: "),
        ({"password": "12345678901234"}, "password: "),
        ({"email": "nobody"}, "email: "),
        ({"username": "white space"}, "username: "),
        ({"organization": "<b>"}, "name: "),
    ],
)
def test_a_mistake_is_named_and_nothing_is_made(changes, named):
    with pytest.raises(CommandError, match=named):
        bootstrap(**changes)
    assert not User.objects.exists()
    assert not Organization.objects.exists()
    assert not Activity.objects.exists()


def test_an_existing_person_becomes_the_owner_and_keeps_the_password():
    membership = MembershipFactory.create(role=Role.VIEWER)
    user = membership.user
    bootstrap(email=user.email, password="", organization=membership.organization.name)
    after = User.objects.get()
    assert after.is_superuser and after.is_staff
    assert after.password == user.password
    assert Membership.objects.get().role == Role.OWNER
    verbs = set(Activity.objects.values_list("verb", flat=True))
    assert verbs == {"user.promoted", "member.changed"}


def test_a_taken_user_name_gets_a_number():
    UserFactory.create(username="Ada", email="other@example.org")
    bootstrap()
    assert User.objects.get(email="ada@example.org").username == "ada2"


def test_a_deactivated_person_stays_out():
    UserFactory.create(email="ada@example.org", is_active=False)
    with pytest.raises(CommandError, match="deactivated"):
        bootstrap()


def test_a_deleted_organization_stays_deleted():
    OrganizationFactory.create(name="Analytics", deleted_at=timezone.now())
    with pytest.raises(CommandError, match="deleted"):
        bootstrap()


def test_a_service_token_without_an_address_is_told(settings):
    settings.TF_SERVICE_API_TOKEN, settings.TRUEFOUNDRY_API_URL = "tfy-service-token", ""
    assert "It leads nowhere: TRUEFOUNDRY_API_URL is not set." in bootstrap()
    assert why_idle() == "JOB_FALLBACK_ENABLED is off."
    settings.JOB_FALLBACK_ENABLED = True
    assert why_idle() == "There is no enabled connection with address and token."
    settings.TRUEFOUNDRY_API_URL = "https://tfy.example.org"
    assert why_idle() == ""


def test_with_a_service_token_the_connection_from_the_environment_is_made_once(settings):
    settings.TF_SERVICE_API_TOKEN = "tfy-service-token"
    settings.TRUEFOUNDRY_API_URL = "https://tfy.example.org"
    assert "Made the connection" in bootstrap()
    assert "Found the connection" in bootstrap()
    connection = Connection.objects.get()
    assert connection.from_environment
    assert connection.organization.name == "Analytics"
    assert connection.token == connection.base_url == ""
