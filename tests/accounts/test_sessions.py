"""Sessions: what is known of them, ending them, and who is kept out at once."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from cryptography.fernet import Fernet
from django.conf import settings as django_settings
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone

from accounts import agents, deactivating, sessions, tokens
from accounts.middleware import address_of
from accounts.models import Activity, ApiToken, Session, User
from accounts.tasks import prune
from config.asgi import application
from config.base import addresses
from config.base.problems import Conflict
from tests.accounts.browsing import signed_in
from tests.administering import act, as_superuser
from tests.calling import Caller, problem
from tests.factories import PASSWORD, UserFactory, issue_token

pytestmark = pytest.mark.django_db
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def ada(db: None) -> User:
    return UserFactory.create(username="ada")


class TestAddresses:
    PROXIES = addresses.networks("10.0.0.0/8, 192.0.2.7, ::1")

    @pytest.mark.parametrize(
        ("peer", "forwarded", "told"),
        [
            ("203.0.113.5", "", "203.0.113.5"),
            ("203.0.113.5", "198.51.100.1", "203.0.113.5"),  # no proxy of ours: not believed
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            # What the client itself wrote stands before what the proxy has added.
            ("10.0.0.1", "127.0.0.1, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "1.1.1.1, 198.51.100.1, 192.0.2.7, 10.9.9.9", "198.51.100.1"),
            ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
            ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.1, ", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
            ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
            ("::1", "2001:db8::2", "2001:db8::2"),
            ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
            ("fe80::1%eth0<b>", "", "fe80::1"),
            ("", "198.51.100.1", ""),
        ],
    )
    def test_only_our_proxies_are_believed(self, peer, forwarded, told):
        assert addresses.client(peer, forwarded, self.PROXIES) == told

    def test_without_proxies_nobody_is(self):
        assert addresses.client("127.0.0.1", "198.51.100.1", []) == "127.0.0.1"

    def test_nonsense_in_the_setting_is_refused(self):
        with pytest.raises(ValueError, match="nonsense"):
            addresses.networks("10.0.0.0/8, nonsense")

    def test_of_a_request(self, settings):
        ask = RequestFactory().get("/", REMOTE_ADDR="10.1.2.3", HTTP_X_FORWARDED_FOR="192.0.2.9")
        assert address_of(ask) == "10.1.2.3"
        settings.TRUSTED_PROXIES = self.PROXIES
        assert address_of(ask) == "192.0.2.9"

    def test_logs_have_it(self, ada, caplog):
        Client().get("/api/nothing", headers={"X-Forwarded-For": "198.51.100.1"})
        assert "'ip': '127.0.0.1'" in caplog.text and "198.51.100.1" not in caplog.text

    def test_activities_and_sessions_have_it(self, ada, settings):
        settings.TRUSTED_PROXIES = self.PROXIES
        spoofed = "127.0.0.1, 198.51.100.1"
        signed_in(ada, REMOTE_ADDR="10.1.2.3", HTTP_X_FORWARDED_FOR=spoofed)
        assert Activity.objects.get().address == "198.51.100.1"
        assert Session.objects.get().address == "198.51.100.1"


class TestWhatIsKnown:
    def test_whose_it_is_from_where_and_with_what(self, ada):
        signed_in(ada, REMOTE_ADDR="192.0.2.1", HTTP_USER_AGENT=FIREFOX)
        row = Session.objects.get()
        assert (row.user, row.address, row.agent) == (ada, "192.0.2.1", FIREFOX)

    def test_when_it_was_last_seen_once_a_minute(self, ada):
        client = signed_in(ada)
        begun = Session.objects.get().last_seen_at
        for seconds, seen in ((30, 0), (61, 61), (90, 61), (122, 122)):
            with time_machine.travel(begun + timedelta(seconds=seconds), tick=False):
                client.get("/account/", REMOTE_ADDR=f"192.0.2.{seconds}")
            assert Session.objects.get().last_seen_at == begun + timedelta(seconds=seen)
        assert Session.objects.get().address == "192.0.2.122"

    def test_saving_it_keeps_what_is_known(self, ada):
        client = signed_in(ada, REMOTE_ADDR="192.0.2.1", HTTP_USER_AGENT=FIREFOX)
        before = Session.objects.get()
        session = client.session
        session["organization"] = "acme"
        session.save()
        after = Session.objects.get()
        assert (after.id, after.address, after.agent) == (before.id, before.address, before.agent)

    def test_the_key_is_another_one_after_signing_in(self, ada):
        client = Client()
        session = client.session
        session["x"] = 1
        session.save()
        planted = str(session.session_key)
        client.cookies[django_settings.SESSION_COOKIE_NAME] = planted
        client.post("/sign-in/", {"username": "ada", "password": PASSWORD})
        now = client.cookies[django_settings.SESSION_COOKIE_NAME].value
        assert now != planted
        assert not Session.objects.filter(pk=planted).exists()

    def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(self, ada):
        cookie = signed_in(ada).cookies[django_settings.SESSION_COOKIE_NAME]
        assert cookie["httponly"] and cookie["samesite"] == "Lax"
        assert not cookie["secure"]
        with override_settings(SESSION_COOKIE_SECURE=True):
            cookie = signed_in(ada).cookies[django_settings.SESSION_COOKIE_NAME]
        assert cookie["secure"]

    def test_in_production_it_is_sent_over_https_alone(self):
        """The settings of a process of its own: those of the tests are not production's."""
        production = {
            "PRODUCTION": "true",
            "SECRET_KEY": "".join(map(chr, range(48, 108))),
            "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "ALLOWED_HOSTS": "yard.example.org",
        }
        kept = {name: os.environ[name] for name in ("PATH", "DATA_DIR", "ENV_FILE")}
        show = "import config.settings as s; print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE)"
        command = [sys.executable, "-c", show]
        done = subprocess.run(command, env=kept | production, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("True True\n", "")

    @pytest.mark.parametrize(
        ("agent", "told"),
        [
            (FIREFOX, "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0) Chrome/142.0 Safari/537 Edg/142",
                "Edge on Windows",
            ),
            ("Mozilla/5.0 (Linux; Android 16) Chrome/142.0 Safari/537", "Chrome on Android"),
            ("Mozilla/5.0 (iPhone; like Mac OS X) Version/19 Safari/604.1", "Safari on iPhone"),
            ("Mozilla/5.0 (Macintosh; Mac OS X 15) Version/19 Safari/605", "Safari on macOS"),
            ("curl/8.14.1", "curl"),
            ("", "Unknown browser"),
            ("<script>", "Unknown browser"),
        ],
    )
    def test_a_browser_in_words(self, agent, told):
        assert agents.told(agent) == told


class TestEnding:
    def test_who_uses_it_is_signed_out(self, ada):
        here, there = signed_in(ada), signed_in(ada)
        row = Session.objects.get(pk=there.session.session_key)
        sessions.end(row, ada.actor())
        assert there.get("/account/").status_code == 302
        assert here.get("/account/").status_code == 200
        with pytest.raises(Conflict):
            sessions.end(row, ada.actor())
        (told,) = Activity.objects.filter(verb="session.ended")
        assert told.object_id == str(row.id) and row.pk not in str(vars(told))

    def test_all_others(self, ada):
        here, *others = (signed_in(ada) for _ in range(3))
        foreign = signed_in(UserFactory.create())
        assert sessions.end_others(ada, ada.actor(), here.session.session_key) == 2
        assert [client.get("/account/").status_code for client in (here, *others, foreign)] == [
            *(200, 302, 302),
            200,
        ]
        assert sessions.end_others(ada, ada.actor(), here.session.session_key) == 0
        assert Activity.objects.filter(verb="session.others_ended").count() == 1

    def test_expired_ones_are_not_listed(self, ada):
        signed_in(ada)
        assert sessions.of(ada).count() == 1
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        assert not sessions.of(ada).exists()

    def test_expired_ones_are_pruned(self, ada):
        signed_in(ada)
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        kept = signed_in(ada)
        prune()
        assert Session.objects.get().pk == kept.session.session_key


class TestDeactivated:
    def test_pages_and_tokens_stop_at_once(self, ada):
        client, caller = signed_in(ada), Caller(ada)
        deactivating.deactivate(ada, UserFactory.create().actor(), "left")
        assert client.get("/account/").headers["Location"].startswith("/sign-in/")
        problem(caller.get("users/me"), 401, "AccountInactive")
        assert not Session.objects.exists()
        row = Activity.objects.get(verb="user.deactivated")
        assert (row.reason, row.change) == ("left", {"is_active": [True, False]})
        with pytest.raises(Conflict):
            deactivating.deactivate(ada, UserFactory.create().actor())

    def test_a_session_does_not_come_back_with_the_account(self, ada):
        client, caller = signed_in(ada), Caller(ada)
        deactivating.deactivate(ada, UserFactory.create().actor())
        deactivating.reactivate(ada, UserFactory.create().actor())
        assert client.get("/account/").status_code == 302
        assert caller.get("users/me").status_code == 200
        with pytest.raises(Conflict):
            deactivating.reactivate(ada, UserFactory.create().actor())

    def test_nobody_deactivates_themselves(self, ada):
        with pytest.raises(Conflict):
            deactivating.deactivate(ada, ada.actor())

    def test_by_the_admins_action(self, ada, client):
        theirs = signed_in(ada)
        act(as_superuser(client), "deactivate", ada, reason="left")
        assert theirs.get("/account/").status_code == 302
        assert not User.objects.get(pk=ada.pk).is_active


@pytest.mark.usefixtures("bells")
@pytest.mark.django_db(transaction=True)
class TestSockets:
    """Open ones are told at once; nothing here waits for the look of every minute."""

    def closing(self, headers: list[tuple[bytes, bytes]], do: Callable[[], object]) -> int:
        """The code with which an open socket is closed when `do` has been done."""

        async def test() -> int:
            name = ("client", ["10.1.2.3", 4711])
            socket = WebsocketCommunicator(application, "/ws/live", [(b"host", b"testserver")])
            socket.scope["headers"] += headers
            socket.scope[name[0]] = name[1]
            accepted, _ = await socket.connect(timeout=5)
            assert accepted and await socket.receive_nothing(timeout=0.3)
            await sync_to_async(do)()
            message = await socket.receive_output(timeout=5)
            await socket.disconnect()
            assert message["type"] == "websocket.close"
            return int(message["code"])

        return run(test())

    def page(self, user: User) -> list[tuple[bytes, bytes]]:
        client = signed_in(user)
        name = django_settings.SESSION_COOKIE_NAME
        cookie = f"{name}={client.cookies[name].value}".encode()
        return [(b"cookie", cookie), (b"origin", b"http://testserver")]

    def test_of_somebody_who_is_deactivated(self, ada):
        root = UserFactory.create().actor()
        headers = self.page(ada)
        assert self.closing(headers, lambda: deactivating.deactivate(ada, root)) == 4401
        User.objects.update(is_active=True)
        bearer = [(b"authorization", f"Bearer {issue_token(ada)[1]}".encode())]
        assert self.closing(bearer, lambda: deactivating.deactivate(ada, root)) == 4401

    def test_of_a_session_that_is_ended(self, ada):
        headers = self.page(ada)
        row = Session.objects.get()
        assert self.closing(headers, lambda: sessions.end(row, ada.actor())) == 4401

    def test_of_a_token_that_is_revoked_and_its_address(self, ada, settings):
        settings.TRUSTED_PROXIES = addresses.networks("10.0.0.0/8")
        token, secret = issue_token(ada)
        headers = [
            (b"authorization", f"Bearer {secret}".encode()),
            (b"x-forwarded-for", b"127.0.0.1, 198.51.100.1"),
            (b"x-forwarded-for", b"10.9.9.9"),
        ]
        assert self.closing(headers, lambda: tokens.revoke(token, ada.actor())) == 4401
        assert ApiToken.objects.get().last_used_address == "198.51.100.1"


def run(test: Coroutine[Any, Any, int]) -> int:
    return asyncio.run(asyncio.wait_for(test, 20))
