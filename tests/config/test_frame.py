"""What every page shares: headers, error pages, theme, times, signing in and out."""

import contextlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.messages import constants
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from config.base import showing, tones, verbs
from config.pages import LOOSE, STRICT, zone_of
from config.templatetags.ui import icon
from fallback.models import ConnectionState, Mode, MoveState, StepEvent
from tests.factories import PASSWORD, UserFactory

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 10, 23, 12, 6, 2, tzinfo=UTC)


@pytest.fixture
def client(db, user):
    found = Client()
    found.force_login(user)
    return found


class TestHeaders:
    POLICY = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )

    @pytest.mark.parametrize("path", ["/", "/sign-in/", "/nope/", "/moves/"])
    def test_pages_have_the_strict_policy(self, client, path):
        headers = client.get(path).headers
        assert headers["Content-Security-Policy"] == self.POLICY == STRICT
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "private" in headers["Cache-Control"]

    def test_a_form_from_elsewhere_is_refused_with_a_page_of_ours(self, user):
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        response = client.post(reverse("theme"), {"theme": "dark"})
        assert response.status_code == 403
        assert response.headers["Content-Security-Policy"] == STRICT
        assert "Form expired" in response.content.decode()

    def test_the_admin_has_a_policy_of_its_own_from_the_same_origin(self, db):
        headers = Client().get("/admin/login/").headers
        assert headers["Content-Security-Policy"] == LOOSE
        assert "unsafe-inline" in LOOSE and "http" not in LOOSE and "*" not in LOOSE

    def test_templates_hold_nothing_that_the_policy_forbids(self):
        for path in (ROOT / "templates").rglob("*.html"):
            if "admin" in path.parts:
                continue
            text = path.read_text()
            assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:|https?://", text), path
            for script in re.findall(r"<script[^>]*>", text):
                assert "src=" in script, path


class TestErrors:
    def test_only_what_broke_leaves_a_trace_in_the_log(self, client, monkeypatch, caplog):
        client.raise_request_exception = False
        monkeypatch.setattr("fallback.outlook.last_sweeps", lambda _: 1 // 0)
        for path, status, traced in (
            ("/configs/new/", 403, False),
            ("/nope/", 404, False),
            ("/", 500, True),
        ):
            caplog.clear()
            assert client.get(path).status_code == status
            (told,) = (row for row in caplog.records if row.name == "django.request")
            assert bool(told.exc_info) is traced, path

    def test_not_found_and_not_allowed_are_pages_of_ours(self, client):
        for path, status, words in (
            ("/nope/", 404, "There is nothing at this address"),
            ("/configs/new/", 403, "Your role does not allow this"),
        ):
            response = client.get(path)
            assert response.status_code == status
            assert words in response.content.decode()

    def test_something_that_breaks_shows_a_page_without_a_trace(self, client, monkeypatch):
        def fail(request):
            raise RuntimeError("secret detail")

        monkeypatch.setattr("fallback.outlook.last_sweeps", fail)
        client.raise_request_exception = False
        response = client.get("/")
        assert response.status_code == 500
        assert "Something broke" in response.content.decode()
        assert "secret detail" not in response.content.decode()


class TestTheme:
    def test_it_is_kept_in_a_cookie_and_rendered_by_the_server(self, client):
        assert '<html lang="en">' in client.get("/").content.decode()
        response = client.post(reverse("theme"), {"theme": "dark", "next": "/moves/?page=1"})
        assert response.headers["Location"] == "/moves/?page=1"
        assert 'data-theme="dark"' in client.get("/").content.decode()
        client.post(reverse("theme"), {"theme": "system"})
        assert "data-theme" not in client.get("/").content.decode()

    @pytest.mark.parametrize("theme", ['"><script>', "blue", ""])
    def test_a_theme_that_is_none_is_the_systems(self, client, theme):
        client.cookies["theme"] = theme
        assert "data-theme" not in client.get("/").content.decode()

    def test_it_works_before_signing_in_and_leads_nowhere_else(self, db):
        sent = {"theme": "light", "next": "//elsewhere.example"}
        assert Client().post(reverse("theme"), sent).headers["Location"] == "/"


class TestSigningIn:
    def test_by_email_or_user_name_without_regard_to_case(self, user):
        for name in (user.email.upper(), user.username.upper()):
            client = Client()
            response = client.post("/sign-in/", {"username": name, "password": PASSWORD})
            assert response.headers["Location"] == "/"
            assert client.get("/").status_code == 200
            assert client.session.get_expire_at_browser_close()

    def test_staying_signed_in(self, user):
        client = Client()
        sent = {"username": user.username, "password": PASSWORD, "stay": "on"}
        client.post("/sign-in/", sent)
        assert client.session.get_expiry_age() == 14 * 24 * 60 * 60

    @pytest.mark.parametrize("wrong", [{"password": "x"}, {"username": "nobody"}])
    def test_what_is_wrong_is_not_told_apart(self, user, wrong):
        sent = {"username": user.username, "password": PASSWORD, **wrong}
        shown = Client().post("/sign-in/", sent).content.decode()
        assert "Email, user name or password is wrong." in shown

    @pytest.mark.parametrize(
        ("path", "told"),
        [
            (
                "/sign-in/",
                {"username": "Enter the email or user name.", "password": "Enter the password."},
            ),
            ("/password/forgotten/", {"email": "Enter the email."}),
        ],
    )
    def test_what_is_missing_is_said_at_its_field(self, db, path, told):
        html = Client().post(path, {}).content.decode()
        for name, sentence in told.items():
            (field,) = re.findall(rf'<input[^>]* name="{name}"[^>]*>', html)
            assert 'aria-invalid="true"' in field
            assert f'aria-describedby="id_{name}_error"' in field
            assert f'id="id_{name}_error"' in html and sentence in html
            assert (" autofocus" in field) is (name == next(iter(told)))

    def test_a_deactivated_person_stays_out(self, user):
        user.is_active = False
        user.save(update_fields=["is_active"])
        sent = {"username": user.username, "password": PASSWORD}
        assert Client().post("/sign-in/", sent).status_code == 200

    def test_signing_out_takes_a_post(self, client):
        assert client.get("/sign-out/").status_code == 405
        assert client.post("/sign-out/").status_code == 302
        assert client.get("/").status_code == 302


class TestTimes:
    def test_a_time_is_relative_with_local_and_utc_on_hover(self, settings):
        moment = timezone.now() - timedelta(minutes=5)
        with timezone.override("Europe/Berlin"):
            html = Template("{% load ui %}{% ago moment %}").render(Context({"moment": moment}))
        assert ">5\N{NO-BREAK SPACE}min\N{NO-BREAK SPACE}ago</time>" in html
        assert "data-relative" in html and " UTC)" in html and moment.strftime("%H:%M:%S") in html
        assert Template("{% load ui %}{% ago x %}").render(Context({"x": None})).count("never") == 1

    @pytest.mark.parametrize(
        ("ahead", "told"),
        [
            (0, "just now"),
            (-4, "just now"),
            (-42, "42 s ago"),
            (-119, "1 min ago"),
            (-7300, "2 h ago"),
            (-3 * 86400, "3 d ago"),
            (540, "in 9 min"),
            (-31 * 86400, "22 Sep 2026"),
        ],
    )
    def test_relative(self, ahead, told):
        found = showing.relative(NOW + timedelta(seconds=ahead), NOW)
        assert found.replace("\N{NO-BREAK SPACE}", " ") == told

    @pytest.mark.parametrize(
        ("zone", "told"),
        [
            ("UTC", "23 Oct 2026, 12:06:02 UTC"),
            ("Europe/Berlin", "23 Oct 2026, 14:06:02 CEST (12:06:02 UTC)"),
            ("Pacific/Auckland", "24 Oct 2026, 01:06:02 NZDT (23 Oct, 12:06:02 UTC)"),
        ],
    )
    def test_absolute(self, zone, told):
        with timezone.override(zone):
            assert showing.absolute(NOW) == told

    @pytest.mark.parametrize(
        ("seconds", "told"),
        [
            (0, "0 ms"),
            (0.412, "412 ms"),
            (1, "1 s"),
            (3.24, "3.2 s"),
            (42.9, "42 s"),
            (76, "1 min 16 s"),
            (60, "1 min"),
            (14 * 60, "14 min"),
            (4380, "1 h 13 min"),
            (7200, "2 h"),
            (273600, "3 d 4 h"),
            (-5, "0 ms"),
        ],
    )
    def test_durations_have_two_units_at_most(self, seconds, told):
        assert showing.plain_duration(seconds) == told
        assert " " not in showing.duration(timedelta(seconds=seconds))

    def test_the_reader_s_zone_comes_from_a_cookie(self, client):
        ask = RequestFactory().get("/")
        for value, zone in (
            ("Europe%2FBerlin", "Europe/Berlin"),
            ("", "UTC"),
            ("../../etc/passwd", "UTC"),
            ("Nowhere", "UTC"),
            ("x" * 5000, "UTC"),
            ("\0", "UTC"),
        ):
            ask.COOKIES["zone"] = value
            assert str(zone_of(ask)) == zone

    def test_numbers_and_units(self):
        assert showing.number(1318) == "1,318"
        assert showing.count(1, "config") == "1\N{NO-BREAK SPACE}config"
        assert showing.count(2, "pass", "passes") == "2\N{NO-BREAK SPACE}passes"
        assert (
            showing.units("Stuck for 42 of 60 min.") == "Stuck for 42 of 60\N{NO-BREAK SPACE}min."
        )


class TestLooks:
    @pytest.mark.parametrize(
        ("kind", "states"),
        [
            ("move", MoveState.values),
            ("mode", Mode.values),
            ("connection", ConnectionState.values),
            ("event", StepEvent.values),
            ("toast", constants.DEFAULT_TAGS.values()),
        ],
    )
    def test_each_state_has_a_look(self, kind, states):
        known = set(tones.LOOKS[kind])
        assert set(states) - {"debug"} <= known

    def test_each_icon_can_be_drawn(self):
        looks = [look for table in tones.LOOKS.values() for look in table.values()]
        looks += [look for _, look in verbs.VERBS.values()]
        for look in looks:
            assert "<svg" in icon(look.icon)
        known = {"", "idle", "active", "good", "warn", "bad", "person"}
        assert {look.tone for look in looks} <= known

    def test_plum_is_only_for_what_waits_for_a_person(self):
        plum = {
            s
            for table in tones.LOOKS.values()
            for s, look in table.items()
            if look.tone == "person"
        }
        assert plum == {"AwaitingApproval", "NeedsAttention", "paused", "repair", "no-token"}

    def test_an_unknown_state_or_verb_is_spelled_out(self):
        assert tones.look_of("move", "Brandnew").word == "Brandnew"
        assert verbs.told("membership.created") == "Created the membership"


class TestScripts:
    """The words of times.js are those of showing.py; the rest runs in tests/e2e."""

    def test_sizes_agree(self):
        script = (ROOT / "static/js/times.js").read_text()
        assert f'[{showing.DAY}, "d"], [{showing.HOUR}, "h"], [{showing.MINUTE}, "min"]' in script

    def test_htmx_is_served_from_here(self, client):
        for source in re.findall(r'src="([^"]+)"', client.get("/").content.decode()):
            assert source.startswith("/static/")
            with contextlib.closing(client.get(source)) as response:
                assert response.status_code == 200, source


def test_a_superuser_finds_the_admin_in_the_navigation(db):
    client = Client()
    client.force_login(UserFactory.create(is_superuser=True, is_staff=True))
    assert 'href="/admin/"' in client.get("/").content.decode()


def test_a_host_that_is_not_ours_gets_a_page_and_no_error(db, settings):
    settings.ALLOWED_HOSTS = ["yard.example.org"]
    response = Client().get("/", headers={"Host": "elsewhere.example"})
    assert response.status_code == 400
    assert "Bad request" in response.content.decode()


def test_buttons_say_what_they_do_to_what():
    """'Delete config', not 'Delete'; in a list of people the row says whom to edit."""
    verbs = "Edit|Test|Delete|Rename|Leave|Disable|Enable|Pause|Cancel|Retry|Revoke|OK|Submit"
    alone = re.compile(rf"%}}({verbs})</(?:button|a)>")
    found = {
        (path.name, verb)
        for path in (ROOT / "templates").rglob("*.html")
        for verb in alone.findall(path.read_text())
    }
    assert found == {("_members.html", "Edit")}
