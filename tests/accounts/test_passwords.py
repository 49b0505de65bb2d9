"""Changing a password, setting a new one by mail, and another email or user name."""

import re
import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from accounts import passwords, renaming
from accounts.models import Activity, Session, User
from config.base.problems import Conflict
from config.base.redaction import redact
from tests.accounts.at_once import at_once, shared
from tests.administering import as_superuser
from tests.calling import Caller, problem
from tests.factories import PASSWORD, MembershipFactory, UserFactory

pytestmark = pytest.mark.django_db
NEW = "a crane at dawn"
WANTED = {"username": "wanted"}


@pytest.fixture
def ada(db: None) -> User:
    return UserFactory.create(username="ada", email="ada@example.org")


@pytest.fixture
def counting(settings: Any) -> Any:
    backend = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "passwords"}}
    cache.clear()
    yield
    cache.clear()


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def wrong(answer: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = problem(answer, 400, "Invalid")["errors"]
    return found


def can_sign_in(password: str) -> bool:
    answer = Caller().post("token", {"username": "ada", "password": password})
    if answer.status_code != 200:
        problem(answer, 401, "BadCredentials")
    return bool(answer.status_code == 200)


class TestByTheApi:
    def change(self, caller: Caller, current: str = PASSWORD, new: str = NEW) -> Any:
        return caller.post("users/me/password", {"currentPassword": current, "newPassword": new})

    def test_the_new_one_works_and_the_old_one_does_not(self, ada):
        answer = self.change(Caller(ada))
        assert (answer.status_code, answer.content) == (204, b"")
        assert can_sign_in(NEW) and not can_sign_in(PASSWORD)

    def test_sessions_and_sign_ins_end_and_tokens_stay(self, ada):
        browser = signed_in(ada)
        answer = Caller().post("token", {"username": "ada", "password": PASSWORD})
        by_password, made = Caller(secret=answer.json()["accessToken"]), Caller(ada)
        assert self.change(made).status_code == 204
        assert browser.get("/account/").status_code == 302
        assert not Session.objects.filter(user=ada).exists()
        problem(by_password.get("users/me"), 401, "TokenRevoked")
        assert made.get("users/me").status_code == 200

    def test_with_a_session_that_one_stays(self, ada):
        here, there = signed_in(ada), signed_in(ada)
        body = {"currentPassword": PASSWORD, "newPassword": NEW}
        answer = here.post("/api/users/me/password", body, content_type="application/json")
        assert answer.status_code == 204
        assert here.get("/account/").status_code == 200
        assert there.get("/account/").status_code == 302
        assert Session.objects.filter(user=ada).count() == 1

    def test_an_activity_tells_of_it_and_of_no_password(self, ada):
        self.change(Caller(ada))
        row = Activity.objects.get()
        assert (row.verb, row.object_id) == ("account.password_changed", str(ada.pk))
        assert row.organization_id is None and row.change == {}
        assert PASSWORD not in str(vars(row)) and NEW not in str(vars(row))

    def test_what_is_wrong_is_named(self, ada):
        caller = Caller(ada)
        assert set(wrong(self.change(caller, current="x"))) == {"currentPassword"}
        for weak in ("short", "12345678", "password", "ada@example.org", PASSWORD):
            assert set(wrong(self.change(caller, new=weak))) == {"newPassword"}, weak
        body = {"password": NEW}
        errors = wrong(caller.post("users/me/password", body))
        assert set(errors) == {"currentPassword", "newPassword", "password"}
        assert can_sign_in(PASSWORD)

    def test_spaces_count(self, ada):
        assert self.change(Caller(ada), new=f" {NEW} ").status_code == 204
        assert can_sign_in(f" {NEW} ") and not can_sign_in(NEW)

    @time_machine.travel("2026-01-01T00:01:00Z", tick=False)
    def test_guessing_is_throttled(self, ada, counting):
        caller = Caller(ada, expires_at=None)
        for _ in range(10):
            wrong(self.change(caller, current="x"))
        answer = self.change(caller)
        problem(answer, 429, "Throttled")
        assert answer.headers["Retry-After"] == "240"

    def test_of_two_at_once_one_is_told(self, ada):
        first, second = User.objects.get(), User.objects.get()
        passwords.change(first, ada.actor(), PASSWORD, NEW)
        with pytest.raises(Conflict):
            passwords.change(second, ada.actor(), PASSWORD, "another one here")
        assert can_sign_in(NEW)


def test_set_in_the_admin_it_ends_what_the_old_one_opened(ada, client):
    browser, made = signed_in(ada), Caller(ada)
    answer = Caller().post("token", {"username": "ada", "password": PASSWORD})
    root = as_superuser(client)
    address = f"/admin/accounts/user/{ada.pk}/password/"
    sent = {"password1": NEW, "password2": NEW, "usable_password": "true"}
    assert root.post(address, sent).status_code == 302
    assert browser.get("/account/").status_code == 302
    assert not Session.objects.filter(user=ada).exists()
    problem(Caller(secret=answer.json()["accessToken"]).get("users/me"), 401, "TokenRevoked")
    assert made.get("users/me").status_code == 200
    mine = User.objects.get(username="root")
    assert root.post(address.replace(str(ada.pk), str(mine.pk)), sent).status_code == 302
    assert root.get("/admin/").status_code == 200


class TestByMail:
    @pytest.fixture(autouse=True)
    def outbox(self):
        mail.outbox = []

    def ask(self, email: str = "ada@example.org") -> Any:
        return Client().post("/password/forgotten/", {"email": email})

    def letter(self) -> Any:
        deadline = time.monotonic() + 5
        while not mail.outbox and time.monotonic() < deadline:
            time.sleep(0.01)
        return mail.outbox[-1]

    def link(self) -> str:
        found = re.search(r"https?://testserver(/\S+)", str(self.letter().body))
        assert found
        return found[1]

    def follow(self, client: Client, link: str, new: str = NEW) -> Any:
        page = client.get(link, follow=True)
        if not page.context.get("validlink"):
            return page
        where = page.request["PATH_INFO"]
        assert link.split("/")[-2] not in where  # the secret is not in the address any more
        return client.post(where, {"new_password": new, "repeated": new})

    def test_a_link_comes_and_works_once(self, ada):
        browser, made = signed_in(ada), Caller(ada)
        answer = self.ask("ADA@example.org")
        assert answer.headers["Location"] == "/password/sent/"
        letter = self.letter()
        assert (letter.to, letter.from_email) == (["ada@example.org"], "switchyard@localhost")
        assert letter.subject == "A new password for Switchyard"
        link = self.link()
        assert link.split("/")[-2] not in redact(f"GET {link}")  # as it comes into the log
        client = Client()
        answer = self.follow(client, link)
        assert answer.headers["Location"] == "/sign-in/"
        assert "The new password is set." in client.get("/sign-in/").content.decode()
        assert can_sign_in(NEW) and not can_sign_in(PASSWORD)
        assert browser.get("/account/").status_code == 302
        assert made.get("users/me").status_code == 200
        again = self.follow(Client(), link)
        assert "This link does not work" in again.content.decode()
        row = Activity.objects.get(verb="account.password_reset")
        assert (row.object_id, row.address) == (str(ada.pk), "127.0.0.1")

    @pytest.mark.parametrize("email", ["nobody@example.org", "gone@example.org"])
    def test_nobody_learns_who_has_an_account(self, ada, email):
        UserFactory.create(username="gone", email="gone@example.org", is_active=False)
        known, unknown = self.ask(), self.ask(email)
        self.letter()
        time.sleep(0.1)
        assert len(mail.outbox) == 1
        assert known.status_code == unknown.status_code == 302
        assert known.headers["Location"] == unknown.headers["Location"]

    def test_a_link_ends_with_time_with_the_account_and_with_another_email(self, ada):
        self.ask()
        link = self.link()
        with time_machine.travel(time.time() + 3700):
            assert "does not work" in Client().get(link, follow=True).content.decode()
        for field, value in (("is_active", False), ("email", "other@example.org")):
            before = getattr(ada, field)
            User.objects.update(**{field: value})
            assert "does not work" in Client().get(link, follow=True).content.decode()
            User.objects.update(**{field: before})
        assert "does not work" not in Client().get(link, follow=True).content.decode()

    @pytest.mark.parametrize("path", ["x/y", "MQ/c0ffee-abc", "MQ/set-password", "é/ü"])
    def test_a_link_that_is_none(self, db, path):
        answer = Client().get(f"/password/new/{path}/")
        assert answer.status_code == 200
        assert "This link does not work" in answer.content.decode()

    def test_a_link_with_a_nul(self, db):
        assert Client().get("/password/new/%00/set-password/").status_code == 400

    def test_a_weak_one_is_refused(self, ada):
        self.ask()
        shown = self.follow(Client(), self.link(), "password")
        assert "too common" in shown.content.decode()
        assert 'aria-invalid="true"' in shown.content.decode()
        assert can_sign_in(PASSWORD)

    @time_machine.travel("2026-01-01T00:01:00Z", tick=False)
    def test_asking_is_throttled_whether_there_is_an_account_or_not(self, ada, counting):
        for email in ("ada@example.org", "nobody@example.org"):
            for _ in range(3):
                assert self.ask(email).status_code == 302
            answer = self.ask(email.upper())
            assert (answer.status_code, answer.headers["Retry-After"]) == (429, "240")
            assert "at 00:05:00" in answer.content.decode()


class TestRenaming:
    def test_by_the_api(self, ada):
        body = {"email": "Ada@Elsewhere.Example", "username": "ada.l"}
        answer = Caller(ada).patch("users/me", body)
        assert answer.status_code == 200
        told = answer.json()
        assert (told["email"], told["username"]) == ("Ada@elsewhere.example", "ada.l")
        row = Activity.objects.get()
        assert row.verb == "account.changed"
        assert row.change["username"] == ["ada", "ada.l"]

    def test_nothing_changed_is_nothing_written(self, ada):
        for body in ({}, {"email": "ada@example.org"}):
            assert Caller(ada).patch("users/me", body).status_code == 200
        assert not Activity.objects.exists()

    def test_case_alone_may_change(self, ada):
        assert Caller(ada).patch("users/me", {"username": "ADA"}).json()["username"] == "ADA"

    def test_what_is_taken_is_a_conflict(self, ada):
        UserFactory.create(username="bob", email="bob@example.org")
        caller = Caller(ada)
        problem(caller.patch("users/me", {"email": "BOB@example.org"}), 409, "EmailTaken")
        problem(caller.patch("users/me", {"username": "Bob"}), 409, "UsernameTaken")
        assert (User.objects.get(pk=ada.pk).username, Activity.objects.count()) == ("ada", 0)

    @pytest.mark.parametrize(
        "body",
        [{"email": "x"}, {"email": ""}, {"username": "a@b"}, {"username": ""}, {"isActive": True}],
    )
    def test_what_is_wrong_is_named(self, ada, body):
        assert set(wrong(Caller(ada).patch("users/me", body))) == set(body)

    def test_who_has_given_a_password_can(self, ada):
        answer = Caller().post("token", {"username": "ada", "password": PASSWORD})
        caller = Caller(secret=answer.json()["accessToken"])
        assert caller.patch("users/me", {"username": "ada2"}).status_code == 200

    def test_a_token_that_is_bound_expires_or_reads_cannot(self, ada):
        home = MembershipFactory.create(user=ada).organization
        body = {"email": "mallory@example.org"}
        soon = timezone.now() + timedelta(hours=1)
        for narrow in ({"organization": home}, {"expires_at": soon}):
            problem(Caller(ada, **narrow).patch("users/me", body), 403, "TokenTooNarrow")
        problem(Caller(ada, read_only=True).patch("users/me", body), 403, "ReadOnlyToken")
        assert User.objects.get(pk=ada.pk).email == "ada@example.org"

    def test_the_verb_names_each_field(self, ada):
        with pytest.raises(ValidationError) as caught:
            renaming.rename(ada, ada.actor(), email="x", username="-")
        assert set(caught.value.message_dict) == {"email", "username"}


@pytest.mark.django_db(transaction=True)
def test_of_many_who_want_a_name_at_once_one_gets_it():
    with shared():
        callers = [Caller(user) for user in UserFactory.create_batch(8)]
        answers = at_once([partial(caller.patch, "users/me", WANTED) for caller in callers])
        assert sorted(answer.status_code for answer in answers) == [200, *[409] * 7]
        assert User.objects.filter(username="wanted").count() == 1
        assert Activity.objects.count() == 1
