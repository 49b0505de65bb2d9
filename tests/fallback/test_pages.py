"""Every page of the fallback: who may open it, and how often it asks the database."""

import re

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.models import Membership
from fallback.models import Pause
from tests.factories import PASSWORD, MembershipFactory, OrganizationFactory, UserFactory
from tests.fallback.factories import (
    ConnectionFactory,
    FallbackConfigFactory,
    MoveFactory,
    MoveStepFactory,
    PauseFactory,
    SweepFactory,
)
from tests.fallback.pages import ROLES, Acme, text_of

pytestmark = pytest.mark.django_db
PEOPLE = ("anonymous", "stranger", *ROLES)

READ = {"anonymous": 302, "stranger": 404, "viewer": 200}
LIST = READ | {"stranger": 200}
WRITE_PAGE = {"anonymous": 302, "stranger": 404, "viewer": 403, "member": 403, "admin": 200}
NEW_PAGE = WRITE_PAGE | {"stranger": 403}


def deed(least: str, done: int = 302) -> dict[str, int]:
    """What a POST answers: nothing done below `least`."""
    found = {"anonymous": 302, "stranger": 404}
    for role in ROLES:
        found[role] = done if ROLES.index(role) >= ROLES.index(least) else 403
    return found


# Each address by name: the method, and the status for each kind of person (a weaker role's holds
# for stronger ones). A new address without a line here fails `test_no_address_is_left_out`.
PUBLIC: dict[str, int] = {}
ADDRESSES: dict[str, tuple[str, dict[str, int]]] = {
    "overview": ("get", LIST),
    "overview-now": ("get", LIST),
    "moves": ("get", LIST),
    "move-rows": ("get", LIST),
    "move-waiting": ("get", LIST),
    "move": ("get", READ),
    "move-now": ("get", READ),
    "move-retry": ("post", deed("member")),
    "move-cancel": ("post", deed("member")),
    "configs": ("get", LIST),
    "config-rows": ("get", LIST),
    "config-new": ("get", NEW_PAGE),
    "config-fields": ("post", deed("admin", 200) | dict.fromkeys(("viewer", "member"), 404)),
    "config": ("get", READ),
    "config-now": ("get", READ),
    "config-edit": ("get", WRITE_PAGE),
    "config-switch": ("post", deed("admin")),
    "config-repair": ("post", deed("admin")),
    "config-delete": ("post", deed("admin")),
    "sweeps": ("get", LIST),
    "sweep-rows": ("get", LIST),
    "sweep": ("get", READ),
    "sweep-now": ("get", READ),
    "sweep-request": ("post", deed("member")),
    "connections": ("get", LIST),
    "connection-rows": ("get", LIST),
    "connection-new": ("get", NEW_PAGE),
    "connection": ("get", READ),
    "connection-edit": ("get", WRITE_PAGE),
    "connection-test": ("post", deed("admin", 200)),
    "connection-rotate": ("post", deed("admin")),
    "connection-switch": ("post", deed("admin")),
    "connection-delete": ("post", deed("admin")),
    "pause": ("post", deed("admin")),
    "resume": ("post", deed("admin")),
    "activity": ("get", LIST),
    "activity-rows": ("get", LIST),
}
ELSEWHERE = {"activity-export"}  # tests/accounts/test_export.py
ELSEWHERE |= {"sign-in", "sign-out", "theme"}  # tests/config/test_frame.py
ELSEWHERE |= {"metrics"}  # tests/config/test_metrics.py
# tests/accounts/test_pages_account.py
ELSEWHERE |= {"account", "account-password", "sessions", "session-end", "sessions-end-others"}
ELSEWHERE |= {"tokens", "token", "token-new", "token-revoke"}
ELSEWHERE |= {"password-forgotten", "password-sent", "password-new"}
# tests/accounts/test_pages_webhooks.py
ELSEWHERE |= {"webhooks", "webhook-rows", "webhook-new", "webhook", "webhook-now", "webhook-edit"}
ELSEWHERE |= {"webhook-pause", "webhook-resume", "webhook-rotate", "webhook-test"}
ELSEWHERE |= {"webhook-delete", "delivery", "delivery-now", "delivery-replay"}
# tests/accounts/test_pages_organizations.py, test_pages_joining.py
ELSEWHERE |= {"sign-up", "join", "roles", "organizations", "organization-rows", "organization-new"}
ELSEWHERE |= {"organization", "member-rows", "invite-rows", "organization-rename"}
ELSEWHERE |= {"organization-delete", "organization-leave", "organization-rotate", "invite-new"}
ELSEWHERE |= {"invite-revoke", "member", "member-role", "member-remove"}


@pytest.fixture
def acme() -> Acme:
    return Acme()


def status_for(expected: dict[str, int], who: str) -> int:
    """That of the strongest role at or below `who` which the table names."""
    if who in ("anonymous", "stranger"):
        return expected[who]
    below = [role for role in ROLES[: ROLES.index(who) + 1] if role in expected]
    return expected[below[-1]]


class TestWho:
    @pytest.mark.parametrize("name", ADDRESSES)
    def test_each_address_answers_each_person_as_the_table_says(self, acme, name):
        method, expected = ADDRESSES[name]
        found = {}
        for who in PEOPLE:
            response = getattr(acme.client(who), method)(acme.address(name), acme.sent(name))
            found[who] = response.status_code
            if who == "anonymous":
                assert response.url.startswith(reverse("sign-in"))
        assert found == {who: status_for(expected, who) for who in PEOPLE}

    def test_no_address_is_left_out(self):
        names = set()
        for found in get_resolver().url_patterns:
            # The admin and the API have tables of their own.
            if isinstance(found, URLResolver) and not found.namespace:
                names |= {getattr(pattern, "name", "") for pattern in found.url_patterns}
            elif isinstance(found, URLPattern):
                names.add(found.name)
        assert names == set(ADDRESSES) | ELSEWHERE

    @pytest.mark.parametrize("name", [n for n, (_, e) in ADDRESSES.items() if e is LIST])
    def test_a_stranger_sees_nothing_of_it(self, acme, name):
        response = acme.client("stranger").get(acme.address(name))
        assert "acme" not in text_of(response).lower()

    @pytest.mark.parametrize("name", [n for n, (m, _) in ADDRESSES.items() if m == "post"])
    def test_what_does_something_is_not_done_by_get(self, acme, name):
        assert acme.client("owner").get(acme.address(name)).status_code == 405

    @pytest.mark.parametrize("name", [n for n, (_, e) in ADDRESSES.items() if e in (LIST, READ)])
    def test_a_viewer_sees_no_button_that_would_be_refused(self, acme, name):
        response = acme.client("viewer").get(acme.address(name))
        actions = re.findall(r'<form[^>]*action="([^"]+)"', response.content.decode())
        kept = {reverse("theme"), reverse("sign-out"), reverse("moves")}
        assert set(actions) <= kept

    def test_a_superuser_sees_everything_and_may(self, acme):
        client = Client()
        client.force_login(UserFactory.create(is_superuser=True))
        for name, (method, _) in ADDRESSES.items():
            if method == "get":
                assert client.get(acme.address(name)).status_code == 200, name
        response = client.post(reverse("pause"), {"scope": "everything", "reason": "x"})
        assert response.headers["Location"] == "/"
        assert Pause.objects.get().connection is None

    def test_pausing_everything_takes_a_superuser(self, acme):
        client = acme.client("owner")
        sent = {"scope": "everything", "reason": "x"}
        assert client.post(reverse("pause"), sent).status_code == 403
        PauseFactory.create(connection=None)
        assert client.post(reverse("resume"), sent).status_code == 403

    def test_a_fragment_of_somebody_signed_out_sends_the_page_to_sign_in(self, acme):
        headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/moves/?state=moving"}
        response = Client().get(reverse("move-rows"), headers=headers)
        assert response.status_code == 401
        assert response.headers["HX-Redirect"] == "/sign-in/?next=/moves/"


class TestNothingYet:
    """Before the first connection the one thing to do is to create it, for those who may."""

    @pytest.mark.parametrize(("role", "may"), [("viewer", False), ("admin", True)])
    def test_the_overview(self, role, may):
        membership = MembershipFactory.create(role=role)
        client = Client()
        client.force_login(membership.user)
        page = client.get("/").content.decode()
        assert ("Create connection" in page) is may
        assert "Sweep now" not in page and "Pause fallback" not in page


class TestOrganizations:
    def test_the_session_remembers_which_one_is_shown(self, acme):
        other = MoveFactory.create(job_name="other-job")
        user = acme.people["viewer"]
        MembershipFactory.create(user=user, organization=other.organization, role="viewer")
        client = acme.client("viewer")
        both = text_of(client.get("/moves/"))
        assert "acme-job" in both and "other-job" in both
        assert "other-job" not in text_of(client.get("/moves/?organization=acme"))
        assert "other-job" not in text_of(client.get("/moves/"))
        assert "other-job" in text_of(client.get("/moves/?organization="))
        assert client.get(reverse("move", args=[other.pk])).status_code == 200

    def test_an_unknown_or_foreign_one_is_not_there(self, acme):
        foreign = OrganizationFactory.create(name="Foreign")
        client = acme.client("owner")
        assert client.get("/moves/?organization=nope").status_code == 404
        assert client.get(f"/moves/?organization={foreign.slug}").status_code == 404

    def test_leaving_it_forgets_the_choice(self, acme):
        client = acme.client("viewer")
        client.get("/?organization=acme")
        Membership.objects.filter(user=acme.people["viewer"]).delete()
        assert client.get("/moves/").status_code == 200


class TestQueries:
    """However many rows there are, a page asks the database equally often."""

    PAGES = ["/", "/moves/", "/configs/", "/sweeps/", "/connections/", "/activity/"]

    def grow(self, acme: Acme, count: int) -> None:
        for number in range(count):
            config = FallbackConfigFactory.create(connection=acme.connection, destinations=2)
            MoveFactory.create(connection=acme.connection, config=config)
            MoveFactory.create(connection=acme.connection, config=config, state="NeedsAttention")
            SweepFactory.create(organization=acme.organization)
            PauseFactory.create(connection=None, config=config)
            ConnectionFactory.create(organization=acme.organization)
            if number % 10 == 0:
                MembershipFactory.create(
                    user=acme.people["owner"], organization=OrganizationFactory.create()
                )

    @pytest.mark.parametrize("path", PAGES)
    def test_lists(self, acme, django_assert_max_num_queries, path):
        client = acme.client("owner")
        counts = []
        for count in (10, 50):
            self.grow(acme, count)
            client.get(path)
            with django_assert_max_num_queries(30) as seen:
                assert client.get(path).status_code == 200
            counts.append(len(seen))
        assert counts[0] == counts[1]

    @pytest.mark.parametrize("name", ["move", "config", "sweep", "connection"])
    def test_details(self, acme, django_assert_max_num_queries, name):
        client = acme.client("owner")
        counts = []
        for count in (10, 50):
            self.grow(acme, count)
            for _ in range(count):
                MoveStepFactory.create(move=acme.move)
                MoveFactory.create(connection=acme.connection, sweep=acme.sweep, config=acme.config)
            with django_assert_max_num_queries(25) as seen:
                assert client.get(acme.address(name)).status_code == 200
            counts.append(len(seen))
        assert counts[0] == counts[1]


def test_signing_in_leads_back_to_where_one_wanted_to_go(acme):
    client = Client()
    wanted = client.get("/moves/?state=moving").headers["Location"]
    response = client.post(
        wanted, {"username": "viewer@example.org", "password": PASSWORD, "next": "/moves/"}
    )
    assert response.headers["Location"] == "/moves/"
