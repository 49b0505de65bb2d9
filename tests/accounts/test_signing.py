"""Signing in on the page, in the admin and by the API: written down, and throttled alike."""

from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client

from accounts.models import Activity, User
from accounts.throttling import Attempt
from config.base import addresses
from tests.accounts.browsing import signed_in
from tests.calling import Caller, problem
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(db: None) -> User:
    return UserFactory.create(username="ada")


class TestWrittenDown:
    def verbs(self) -> list[tuple[str, bool]]:
        return list(Activity.objects.order_by("id").values_list("verb", "refused"))

    def test_signing_in_and_out(self, ada):
        signed_in(ada).post("/sign-out/")
        assert self.verbs() == [("account.signed_in", False), ("account.signed_out", False)]
        for row in Activity.objects.all():
            assert (row.object_id, row.organization_id) == (str(ada.pk), None)
            assert PASSWORD not in str(vars(row))

    def test_a_superuser_in_the_admin(self):
        root = UserFactory.create(is_superuser=True, is_staff=True)
        client = Client()
        client.post("/admin/login/", {"username": root.username, "password": PASSWORD})
        assert client.get("/admin/").status_code == 200
        client.post("/admin/logout/")
        assert self.verbs() == [("account.signed_in", False), ("account.signed_out", False)]

    def test_being_refused_where_there_is_such_an_account(self, ada):
        for name in ("ada", "nobody"):
            wrong = {"username": name, "password": "wrong-secret"}
            Client().post("/sign-in/", wrong)
            Client().post("/admin/login/", wrong)
            Caller().post("token", wrong)
        assert self.verbs() == [("account.sign_in_failed", True)] * 3
        for row in Activity.objects.all():
            assert (row.actor_name, row.object_id) == ("anonymous", str(ada.pk))
            assert row.address == "127.0.0.1" and "wrong-secret" not in str(vars(row))

    def test_why_where_the_account_is_deactivated(self, ada):
        User.objects.update(is_active=False)
        Client().post("/sign-in/", {"username": "ada", "password": PASSWORD})
        assert "deactivated" in Activity.objects.get().reason


class TestThrottle:
    @pytest.fixture(autouse=True)
    def counting(self, settings):
        backend = "django.core.cache.backends.locmem.LocMemCache"
        settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "sign-in"}}
        cache.clear()
        yield
        cache.clear()

    @pytest.fixture(autouse=True)
    def still(self):
        with time_machine.travel("2026-01-01T00:01:00Z", tick=False):
            yield

    def tries(self, path: str, count: int, password: str = "x", name: str = "ada") -> Any:
        sent = {"username": name, "password": password}
        return [Client().post(path, sent) for _ in range(count)][-1]

    @pytest.mark.parametrize("path", ["/sign-in/", "/admin/login/"])
    def test_after_ten_failures_one_waits(self, ada, path):
        User.objects.update(is_superuser=True, is_staff=True)
        assert self.tries(path, 10).status_code == 200
        answer = self.tries(path, 1, PASSWORD)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "240")
        told = answer.content.decode().replace("\N{NO-BREAK SPACE}", " ")
        assert "Try again in 4 min, at 00:05:00." in told
        with time_machine.travel("2026-01-01T00:05:01Z"):
            assert self.tries(path, 1, PASSWORD).status_code == 302

    def test_page_admin_and_api_count_together_by_email_or_name(self, ada):
        self.tries("/sign-in/", 4)
        self.tries("/admin/login/", 3, name=ada.email)
        for _ in range(3):
            Caller().post("token", {"email": ada.email.upper(), "password": "x"})
        answer = Caller().post("token", {"username": "ada", "password": PASSWORD})
        assert problem(answer, 429, "Throttled")
        assert self.tries("/sign-in/", 1, PASSWORD).status_code == 429

    def test_success_does_not_count(self, ada):
        assert self.tries("/sign-in/", 12, PASSWORD).status_code == 302

    def test_who_is_made_to_wait_is_not_even_checked(self, ada):
        self.tries("/sign-in/", 15)
        assert Activity.objects.count() == 10

    def test_by_the_address_behind_the_proxy(self, settings):
        settings.TRUSTED_PROXIES = addresses.networks("127.0.0.1")

        assert not any(Attempt(f"user{n}", "192.0.2.1").begin() for n in range(100))
        for address, status in (("192.0.2.1", 429), ("192.0.2.2", 200)):
            headers = {"X-Forwarded-For": f"1.1.1.1, {address}"}
            sent = {"username": "another", "password": "x"}
            assert Client().post("/sign-in/", sent, headers=headers).status_code == status

    def test_all_of_one_ipv6_network_count_as_one(self):
        assert not any(Attempt("", f"2001:db8::{n:x}", "sign-up").begin() for n in range(30))
        assert Attempt("", "2001:db8::ffff:1", "sign-up").begin()
        assert not Attempt("", "2001:db8:0:1::1", "sign-up").begin()

    def test_without_the_cache_nobody_is_kept_out(self, ada, settings):
        away = {"BACKEND": "config.base.cache.FailOpen", "LOCATION": "unix:///nowhere/v.sock"}
        settings.CACHES = {"default": away}
        assert self.tries("/sign-in/", 12).status_code == 200
        assert self.tries("/sign-in/", 1, PASSWORD).status_code == 302

    @pytest.mark.parametrize("name", ["", "x" * 300, "ü@ü"])
    def test_names_that_are_none(self, name):
        assert self.tries("/sign-in/", 1, name=name).status_code == 200


def test_who_is_signed_in_is_not_sent_to_sign_in_again(ada):
    answer = signed_in(ada).get("/sign-in/", {"next": "/sign-in/"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
