"""The pages of connections: creating, testing, rotating, deleting; and tokens that stay secret."""

import pytest
from django.db import connection as database
from django.urls import reverse
from django.utils import timezone

from accounts.models import Activity
from fallback.models import Connection, Move
from tests.factories import MembershipFactory, OrganizationFactory
from tests.fallback.pages import Acme, text_of, told
from tests.fallback.test_pages import ADDRESSES

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Acme:
    return Acme()


def fields(**more: str) -> dict[str, str]:
    return {
        **{"name": "Second plane", "base_url": "https://second.example.org"},
        **{"assumed_user": "truefoundry", "token": "s3cret", **more},
    }


def test_create(acme):
    response = acme.client("admin").post(reverse("connection-new"), fields())
    made = Connection.objects.get(name="Second plane")
    assert response.url == reverse("connection", args=[made.pk])
    assert (made.organization, made.token) == (acme.organization, "s3cret")
    assert made.base_url == "https://second.example.org/api/svc"
    assert "s3cret" not in str(Activity.objects.get(verb="connection.created").change)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"name": ""}, "Enter the name."),
        ({"name": "ACME plane"}, "The organization has a connection of this name."),
        ({"base_url": "ftp://x"}, "The URL must begin with"),
        ({"base_url": "https://a:b@x"}, "Leave user name and password out"),
        ({"token": "two words"}, "A token has no spaces"),
        ({"assumed_user": "a b"}, "Use a plain user name."),
    ],
)
def test_what_is_wrong_is_said_at_its_field(acme, wrong, sentence):
    response = acme.client("admin").post(reverse("connection-new"), fields(**wrong))
    assert response.status_code == 400
    assert sentence in text_of(response)
    assert Connection.objects.count() == 1


def test_only_allowed_hosts_unless_one_is_a_superuser(acme, settings):
    settings.TRUEFOUNDRY_ALLOWED_HOSTS = ["tfy.example.org"]
    response = acme.client("owner").post(reverse("connection-new"), fields())
    assert "not among the hosts" in text_of(response)


def test_who_is_admin_in_several_says_where(acme):
    other = OrganizationFactory.create(name="Other")
    MembershipFactory.create(user=acme.people["admin"], organization=other, role="admin")
    client = acme.client("admin")
    assert "Choose an organization" in text_of(client.post(reverse("connection-new"), fields()))
    client.post(reverse("connection-new"), fields(organization="other"))
    assert Connection.objects.get(name="Second plane").organization == other


def test_editing_keeps_the_token_and_shows_it_nowhere(acme):
    client = acme.client("admin")
    assert acme.connection.token not in client.get(acme.address("connection-edit")).content.decode()
    elsewhere = fields(name="Renamed", token="")
    refused = client.post(acme.address("connection-edit"), elsewhere)
    assert refused.status_code == 400
    assert "Open moves use it" in text_of(refused)
    here = elsewhere | {"base_url": acme.connection.base_url}
    client.post(acme.address("connection-edit"), here)
    acme.connection.refresh_from_db()
    assert (acme.connection.name, acme.connection.token) == ("Renamed", "tfy-token")


def test_rotate_switch_and_delete(acme):
    client = acme.client("admin")
    assert told(client.post(acme.address("connection-rotate"), {}, follow=True)) == [
        "Give the new token."
    ]
    client.post(acme.address("connection-rotate"), {"token": "fresh"})
    client.post(acme.address("connection-switch"), {"enabled": "no"})
    acme.connection.refresh_from_db()
    assert (acme.connection.token, acme.connection.enabled) == ("fresh", False)
    wrong = client.post(acme.address("connection-delete"), {"confirm": "x"}, follow=True)
    assert told(wrong)[-1] == "Type Acme plane to delete it."
    named = {"confirm": "Acme plane", "reason": "old"}
    refused = client.post(acme.address("connection-delete"), named, follow=True)
    assert "Open moves use it" in told(refused)[0]
    Move.objects.update(state="Failed", finished_at=timezone.now())
    client.post(acme.address("connection-delete"), named)
    assert not Connection.objects.exists()


def test_each_finding_of_a_test_is_shown(acme):
    shown = text_of(acme.client("admin").post(acme.address("connection-test")))
    for sentence in (
        "Token GET /v1/x/users/info: no connection does not work",
        "Clusters GET /v1/clusters: no connection does not work",
        "Workspaces GET /v1/workspaces: no connection does not work",
        "Job runs GET /v1/workspaces: no connection does not work",
        "Clock No answer told the time. does not work",
    ):
        assert sentence in shown
    acme.connection.refresh_from_db()
    assert acme.connection.state == "unreachable"


def test_one_from_the_environment_has_no_token_of_its_own(acme, settings):
    settings.TF_SERVICE_API_TOKEN = ""
    Move.objects.all().delete()
    Connection.objects.update(from_environment=True, base_url="", token="")
    client = acme.client("admin")
    assert "No token" in text_of(client.get("/connections/"))
    response = client.post(acme.address("connection-rotate"), {"token": "x"}, follow=True)
    assert "in the environment" in told(response)[0]
    assert "from the environment" in text_of(client.get(acme.address("connection-edit")))


def test_a_token_that_no_key_opens_breaks_no_page(acme):
    with database.cursor() as cursor:
        cursor.execute("UPDATE fallback_connection SET token = 'gAAAAAnonsense'")
    client = acme.client("admin")
    for name, (method, _) in ADDRESSES.items():
        if method == "get":
            assert client.get(acme.address(name)).status_code == 200, name
    for name, status in (
        ("config-fields", 200),
        ("config-repair", 302),
        ("connection-test", 200),
        ("connection-switch", 302),
    ):
        response = client.post(acme.address(name), acme.sent(name))
        assert response.status_code == status, name


def test_the_list_is_searched_by_name_and_address(acme):
    fields_of = {"organization": acme.organization, "base_url": "https://west.example.org/api/svc"}
    Connection.objects.create(name="West", **fields_of)
    client = acme.client("viewer")
    for wanted, found in (("acme PLANE", "Acme plane"), ("west.exam", "West")):
        page = text_of(client.get("/connections/", {"search": wanted}))
        assert [name for name in ("Acme plane", "West") if name in page] == [found]
    assert "No connection matches" in text_of(client.get("/connections/", {"search": "east"}))
