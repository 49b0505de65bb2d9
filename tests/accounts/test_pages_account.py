"""The pages of one's own account: who may open them, what they do, and what they never show."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Activity, ApiToken, Session, User
from tests.accounts.browsing import crumbs_of, signed_in
from tests.calling import Caller
from tests.factories import (
    PASSWORD,
    MembershipFactory,
    OrganizationFactory,
    UserFactory,
    issue_token,
)
from tests.fallback.pages import text_of, told

pytestmark = pytest.mark.django_db
LISTS = ["account", "account-password", "sessions", "tokens", "token-new"]
GATES = ["password-forgotten", "password-sent"]
NEW = "a crane at dawn"


@pytest.fixture
def ada(db: None) -> User:
    return UserFactory.create(username="ada", email="ada@example.org")


@pytest.fixture
def client(ada: User) -> Client:
    return signed_in(ada)


def errors_of(response: Any) -> set[str]:
    """The fields that a page says are wrong; each is marked for screen readers."""
    assert response.status_code == 400
    html = response.content.decode()
    found = set(re.findall(r'class="error" id="id_(\w+)_error"', html))
    for name in found:
        (field,) = re.findall(rf'<\w+[^>]* id="id_{name}"[^>]*>|<\w+[^>]*name="{name}"[^>]*>', html)
        assert 'aria-invalid="true"' in field and f"id_{name}_error" in field
    return found


class TestWho:
    @pytest.mark.parametrize("name", LISTS)
    def test_whoever_has_signed_in_and_nobody_else(self, ada, client, name):
        assert client.get(reverse(name)).status_code == 200
        assert Client().get(reverse(name)).headers["Location"].startswith("/sign-in/?next=/account")
        User.objects.update(is_active=False)
        assert client.get(reverse(name)).status_code == 302

    @pytest.mark.parametrize("name", GATES)
    def test_who_has_forgotten_a_password_has_not_signed_in(self, db, name):
        assert Client().get(reverse(name)).status_code == 200

    @pytest.mark.parametrize("name", ["sessions-end-others", "session-end", "token-revoke"])
    def test_what_does_something_is_not_done_by_get(self, ada, client, name):
        row = issue_token(ada)[0].pk if name == "token-revoke" else Session.objects.get().id
        address = reverse(name, args=[row] if "others" not in name else [])
        assert client.get(address).status_code == 405
        assert Client().post(address).status_code == 302
        assert Session.objects.filter(user=ada).exists()

    def test_what_is_somebody_elses_is_not_there(self, ada):
        token, _ = issue_token(ada)
        signed_in(ada)
        session = Session.objects.get()
        for other in (UserFactory.create(), UserFactory.create(is_superuser=True)):
            client = signed_in(other)
            assert client.get(reverse("token", args=[token.pk])).status_code == 404
            assert client.post(reverse("token-revoke", args=[token.pk])).status_code == 404
            assert client.post(reverse("session-end", args=[session.id])).status_code == 404
            assert token.prefix not in text_of(client.get("/account/tokens/"))
        assert ApiToken.objects.get().revoked_at is None
        assert Session.objects.filter(pk=session.pk).exists()

    def test_they_are_found_in_the_menu(self, client):
        page = client.get("/").content.decode()
        for name in ("account", "sessions", "tokens"):
            assert page.count(f'href="{reverse(name)}"') == 2  # at the top, and on small screens

    @pytest.mark.parametrize("name", ["sessions", "tokens", "account"])
    def test_they_ask_equally_often_however_much_there_is(
        self, ada, client, name, django_assert_max_num_queries
    ):
        counts = []
        for count in (5, 20):
            for _ in range(count):
                home = MembershipFactory.create(user=ada).organization
                ApiToken.objects.issue(ada, "More", organization=home)
                Session.objects.create(
                    session_key=f"{count}-{_}",
                    user=ada,
                    expire_date=timezone.now() + timedelta(days=1),
                )
            client.get(reverse(name))
            with django_assert_max_num_queries(15) as seen:
                client.get(reverse(name))
            counts.append(len(seen))
        assert counts[0] == counts[1]


class TestAccount:
    def test_email_and_user_name(self, ada, client):
        sent = {"username": "ada.l", "email": "ada@elsewhere.example"}
        response = client.post("/account/", sent, follow=True)
        assert told(response) == ["Saved account."]
        ada.refresh_from_db()
        assert (ada.username, ada.email) == ("ada.l", "ada@elsewhere.example")
        assert Activity.objects.latest("id").verb == "account.changed"

    def test_what_is_wrong_or_taken_is_said_at_its_field(self, ada, client):
        UserFactory.create(username="bob", email="bob@example.org")
        for field, value in (
            ("username", "a b"),
            ("username", "BOB"),
            ("email", "x"),
            ("email", "bob@example.org"),
            ("email", ""),
        ):
            sent = {"username": "ada", "email": "ada@example.org", field: value}
            assert errors_of(client.post("/account/", sent)) == {field}
        # The frame still names who has signed in, not what was typed.
        sent = {"username": "BOB", "email": "ada@example.org"}
        shown = client.post("/account/", sent).content.decode()
        assert '<p class="quiet account-name">ada</p>' in shown

    def test_where_one_belongs(self, ada, client):
        nowhere = client.get("/account/")
        assert "No organization yet" in text_of(nowhere)
        assert 'href="/organizations/new/"' in nowhere.content.decode()
        home = OrganizationFactory.create(name="Acme")
        MembershipFactory.create(user=ada, organization=home, role="viewer")
        shown = client.get("/account/")
        assert "Acme viewer" in text_of(shown)
        assert f'href="/organizations/{home.pk}/"' in shown.content.decode()

    def test_what_happened_to_it(self, ada, client):
        wrong = {"username": "ada", "password": "x"}
        Client().post("/sign-in/", wrong, REMOTE_ADDR="198.51.100.9")
        signed_in(UserFactory.create(username="bob"))
        shown = text_of(client.get("/account/"))
        assert "Was not allowed to sign in anonymous 198.51.100.9 just now" in shown
        assert shown.count("Signed in") == 1 and "bob" not in shown


class TestPassword:
    SENT = {"current_password": PASSWORD, "new_password": NEW, "repeated": NEW}

    def test_this_session_stays_and_others_end(self, ada, client):
        other = signed_in(ada)
        response = client.post("/account/password/", self.SENT, follow=True)
        assert told(response) == ["Changed the password. All other sessions have ended."]
        assert response.status_code == 200
        assert other.get("/account/").status_code == 302
        assert client.get("/account/sessions/").content.decode().count("this one") == 1

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"current_password": "x"}, "current_password"),
            ({"new_password": "short", "repeated": "short"}, "new_password"),
            ({"new_password": PASSWORD, "repeated": PASSWORD}, "new_password"),
            ({"repeated": "x"}, "repeated"),
            ({"new_password": ""}, "new_password"),
        ],
    )
    def test_what_is_wrong_is_said_at_its_field(self, client, changed, field):
        response = client.post("/account/password/", self.SENT | changed)
        assert errors_of(response) == {field}
        assert PASSWORD not in response.content.decode()

    def test_what_stays_is_said(self, client):
        assert "Your API tokens go on working" in text_of(client.get("/account/password/"))


class TestSessions:
    def test_which_there_are(self, ada):
        phone = "Mozilla/5.0 (iPhone; like Mac OS X) Version/19 Safari/604.1"
        signed_in(ada, HTTP_USER_AGENT=phone, REMOTE_ADDR="192.0.2.9")
        here = signed_in(ada, HTTP_USER_AGENT="curl/8.14.1")
        page = here.get("/account/sessions/")
        shown = text_of(page)
        assert re.search(r"curl this one.*Safari on iPhone 192\.0\.2\.9", shown)
        for key in Session.objects.values_list("session_key", flat=True):
            assert key not in page.content.decode()

    def test_one_is_ended(self, ada, client):
        other = signed_in(ada)
        row = Session.objects.get(pk=other.session.session_key)
        response = client.post(reverse("session-end", args=[row.id]), follow=True)
        assert told(response) == ["Ended the session of Unknown browser."]
        assert other.get("/account/").status_code == 302
        assert client.post(reverse("session-end", args=[row.id])).status_code == 404

    def test_all_others_are_ended(self, ada, client):
        assert "End all other sessions" not in text_of(client.get("/account/sessions/"))
        others = [signed_in(ada), signed_in(ada)]
        assert "End all other sessions" in text_of(client.get("/account/sessions/"))
        response = client.post("/account/sessions/end/", follow=True)
        assert told(response) == ["Ended 2 other sessions."]
        assert {other.get("/account/").status_code for other in others} == {302}
        response = client.post("/account/sessions/end/", follow=True)
        assert told(response) == ["There was no other session."]


class TestTokens:
    def make(self, client: Client, **sent: str) -> Any:
        return client.post("/account/tokens/new/", {"name": "Nightly", "days": "30", **sent})

    def test_the_secret_is_shown_once_with_what_to_do_next(self, client):
        response = self.make(client)
        assert response.headers["Cache-Control"] == "no-store"
        page = response.content.decode()
        (secret,) = re.findall(r'<code id="secret">(swy_[\w-]+)</code>', page)
        command = re.search(r'<code id="call">(.*?)</code>', page)
        assert command is not None
        assert command[1].replace("&quot;", '"') == (
            f'curl --header "Authorization: Bearer {secret}" http://testserver/api/users/me'
        )
        assert 'data-copy-from="secret"' in page
        assert Caller(secret=secret).get("users/me").status_code == 200
        token = ApiToken.objects.get()
        for address in ("/account/tokens/", f"/account/tokens/{token.pk}/"):
            shown = client.get(address).content.decode()
            assert secret not in shown and token.prefix in shown
        assert secret not in str(list(Activity.objects.values()))

    def test_the_way_back_leads_by_the_tokens_to_the_account(self, client):
        made = self.make(client)
        path = reverse("token", args=[ApiToken.objects.get().pk])
        for page in (made, client.get(path), client.get(reverse("token-new"))):
            assert crumbs_of(page)[:-1] == [
                ("Account", reverse("account")),
                ("API tokens", reverse("tokens")),
            ]

    def test_as_it_was_asked_for(self, ada, client):
        home = MembershipFactory.create(user=ada).organization
        MembershipFactory.create(user=ada)
        self.make(client, read_only="on", organization_id=str(home.pk), days="7")
        token = ApiToken.objects.get()
        assert (token.read_only, token.organization) == (True, home)
        assert token.expires_at is not None
        assert timedelta(days=6) < token.expires_at - timezone.now() < timedelta(days=8)
        self.make(client, days="")
        assert ApiToken.objects.latest("created_at").expires_at is None

    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": "<b>"}, "name"),
            ({"name": "Signed in with a password"}, "name"),
            ({"days": "9999"}, "days"),
        ],
    )
    def test_what_is_wrong_is_said_at_its_field(self, client, sent, field):
        assert errors_of(self.make(client, **sent)) == {field}
        assert not ApiToken.objects.exists()

    def test_a_foreign_organization_cannot_be_chosen(self, ada, client):
        MembershipFactory.create_batch(2, user=ada)
        foreign = OrganizationFactory.create()
        assert errors_of(self.make(client, organization_id=str(foreign.pk))) == {"organization_id"}

    def test_what_the_list_tells(self, ada, client):
        assert "No tokens yet" in text_of(client.get("/account/tokens/"))
        token, secret = issue_token(ada, read_only=True)
        Client().get(
            "/api/users/me",
            headers={"Authorization": f"Bearer {secret}"},
            REMOTE_ADDR="192.0.2.4",
        )
        shown = text_of(client.get("/account/tokens/"))
        assert f"{token.prefix}…" in shown and "Usable" in shown
        assert "just now 192.0.2.4" in shown
        assert " read all of yours " in shown and "never" in shown

    def test_filters(self, ada, client):
        for name in ("Living", "Past", "Gone"):
            ApiToken.objects.issue(ada, name)
        now = timezone.now()
        ApiToken.objects.filter(name="Past").update(expires_at=now)
        ApiToken.objects.filter(name="Gone").update(revoked_at=now)

        def names(query: str) -> set[str]:
            page = client.get(f"/account/tokens/?{query}")
            return {row.name for row in page.context["page"].rows}

        assert names("") == names("state=nonsense") == {"Living", "Past", "Gone"}
        assert names("state=usable") == {"Living"}
        assert names("state=expired") == {"Past"}
        assert names("state=revoked") == {"Gone"}
        assert names("search=LIV") == {"Living"}
        assert "No token of yours is like that." in text_of(
            client.get("/account/tokens/?search=nope-nope")
        )

    def test_revoking(self, ada, client):
        token, secret = issue_token(ada)
        address = reverse("token-revoke", args=[token.pk])
        assert address in client.get(reverse("token", args=[token.pk])).content.decode()
        response = client.post(address, {"reason": "lost"}, follow=True)
        assert told(response) == ["Revoked test. What used it is refused from now on."]
        assert Caller(secret=secret).get("users/me").status_code == 401
        assert Activity.objects.latest("id").reason == "lost"
        assert address not in client.get(reverse("token", args=[token.pk])).content.decode()
        assert "already" in told(client.post(address, follow=True))[0]


class TestForgotten:
    def test_the_way_there(self, db):
        assert 'href="/password/forgotten/"' in Client().get("/sign-in/").content.decode()
        shown = Client().post("/password/forgotten/", {"email": "x"}).content.decode()
        assert 'id="id_email_error"' in shown
