"""Connections and pauses in the admin, at a remote behind real HTTP."""

from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone

from accounts.models import Activity
from fallback.models import (
    Connection,
    Move,
    Pause,
)
from tests.administering import act, messages, url
from tests.fallback.factories import (
    ConnectionFactory,
    FallbackConfigFactory,
    MoveFactory,
    PauseFactory,
)

pytestmark = pytest.mark.django_db


class TestConnections:
    def test_the_token_is_written_and_never_read(self, root, organization):
        data = {
            "organization": str(organization.pk),
            "name": "Remote",
            "base_url": "https://tfy.example.org",
            "assumed_user": "truefoundry",
            "enabled": "on",
            "new_token": "tfy-secret-1",
        }
        response = root.post(url(Connection, "add"), data, follow=True)
        assert response.redirect_chain
        connection = Connection.objects.get()
        assert (connection.token, connection.base_url) == (
            "tfy-secret-1",
            "https://tfy.example.org/api/svc",
        )
        page = root.get(url(Connection, "change", connection.pk)).content
        assert b"A token is stored" in page and b"tfy-secret-1" not in page

        data |= {"new_token": "", "name": "Renamed"}
        root.post(url(Connection, "change", connection.pk), data)
        connection = Connection.objects.get()
        assert (connection.name, connection.token) == ("Renamed", "tfy-secret-1")

        root.post(url(Connection, "change", connection.pk), data | {"new_token": "tfy-secret-2"})
        assert Connection.objects.get().token == "tfy-secret-2"
        assert "tfy-secret" not in str(list(Activity.objects.values_list("change", flat=True)))
        verbs = list(Activity.objects.order_by("id").values_list("verb", flat=True))
        assert verbs == ["connection.created", "connection.changed", "connection.changed"]

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"name": "🚀"}, "name"),
            ({"name": "a" * 10_000}, "name"),
            ({"base_url": ""}, "base_url"),
            ({"base_url": "ftp://tfy.example.org"}, "base_url"),
            ({"base_url": "https://user:pass@tfy.example.org"}, "base_url"),
            ({"assumed_user": "a b"}, "assumed_user"),
            ({"new_token": "tökén"}, "new_token"),
            ({"organization": ""}, "organization"),
        ],
    )
    def test_a_mistake_is_shown_at_its_field(self, root, organization, changes, field):
        data = {
            "organization": str(organization.pk),
            "name": "Remote",
            "base_url": "https://tfy.example.org",
            "assumed_user": "truefoundry",
        }
        response = root.post(url(Connection, "add"), data | changes)
        assert list(response.context["adminform"].errors) == [field]

    def test_with_a_lost_key_the_token_can_be_given_again(self, root, settings):
        connection = ConnectionFactory.create()
        settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        page = url(Connection, "change", connection.pk)
        data = {"name": "Again", "base_url": connection.base_url, "assumed_user": "truefoundry"}
        assert root.post(page, data).status_code == 302
        assert Connection.objects.get().name == "Again"
        assert root.post(page, data | {"new_token": "tfy-new"}).status_code == 302
        assert Connection.objects.get().token == "tfy-new"

    def test_its_address_stays_while_moves_are_open(self, root):
        connection = ConnectionFactory.create()
        MoveFactory.create(connection=connection)
        data = {"name": "Other", "base_url": "https://other.example.org"}
        data |= {"assumed_user": "truefoundry"}
        response = root.post(url(Connection, "change", connection.pk), data)
        assert list(response.context["adminform"].errors) == ["base_url"]

    def test_one_from_the_environment_stores_nothing(self, root, settings):
        settings.TRUEFOUNDRY_API_URL = "https://tfy.example.org"
        settings.TF_SERVICE_API_TOKEN = "tfy-environment"
        connection = ConnectionFactory.create(from_environment=True, base_url="", token="")
        page = url(Connection, "change", connection.pk)
        content = root.get(page).content
        assert b"https://tfy.example.org/api/svc" in content
        assert b"tfy-environment" not in content and b"new_token" not in content
        data = {"name": "Environment", "assumed_user": "another", "enabled": "on"}
        assert root.post(page, data | {"base_url": "https://x.example"}).status_code == 302
        assert Connection.objects.values_list("assumed_user", flat=True).get() == "truefoundry"
        connection.refresh_from_db()
        assert (connection.name, connection.base_url) == ("Environment", "")

    def test_each_finding_of_a_test_is_shown(self, root, connection, seeded):
        response = root.post(url(Connection, "test", connection.pk), {"answered": "1"}, follow=True)
        told = messages(response)
        assert len(told) == 5
        for name in ("token", "clusters", "workspaces", "job runs", "clock"):
            assert any(f"{name}: " in text for text in told)
        assert Activity.objects.get(verb="connection.tested").actor_name == "root"

        Connection.objects.update(token="wrong")
        response = act(root, "test", connection, answered="1")
        assert any("refused" in text for text in messages(response))

    def test_looking_at_the_question_does_nothing(self, root, connection):
        assert root.get(url(Connection, "test", connection.pk)).status_code == 200
        assert root.get(url(Connection, "pause", connection.pk)).status_code == 200
        assert act(root, "pause", connection).status_code == 200
        assert not Activity.objects.exists() and not Pause.objects.exists()

    def test_open_moves_keep_it_and_are_listed(self, root):
        connection = ConnectionFactory.create()
        move = MoveFactory.create(connection=connection)
        page = url(Connection, "delete", connection.pk)
        assert root.get(page).status_code == 200
        response = root.post(page, {"answered": "1", "reason": "x"}, follow=True)
        (told,) = messages(response)
        assert move.source_run_name in told and "pen move" in told
        assert Connection.objects.filter(pk=connection.pk).exists()

        other = MoveFactory.create(state="Failed").connection
        response = act(root, "delete_rows", connection, other, reason="x")
        assert len(messages(response)) == 2
        assert list(Connection.objects.all()) == [connection]
        assert Move.objects.count() == 2
        assert Activity.objects.filter(verb="connection.deleted", actor_name="root").exists()


class TestPausing:
    @pytest.mark.parametrize("make", [ConnectionFactory, FallbackConfigFactory])
    def test_pause_and_resume(self, root, make):
        row = make.create()
        end = timezone.now() + timedelta(hours=2)
        answer = {"reason": "upgrade", "until_0": f"{end:%Y-%m-%d}", "until_1": f"{end:%H:%M:%S}"}
        response = act(root, "pause", row, **answer)
        assert messages(response) == [f"{row}: paused."]
        pause = Pause.objects.get()
        assert (pause.reason, pause.by_name) == ("upgrade", "root")
        assert pause.until and abs(pause.until - end) < timedelta(seconds=2)
        assert b"Paused until" in root.get(url(type(row), "changelist")).content

        response = act(root, "pause", row, **answer)
        assert "paused already" in messages(response)[0]
        response = root.post(url(type(row), "resume", row.pk), {"answered": "1"}, follow=True)
        assert messages(response) == [f"{row}: resumed."]
        assert not Pause.objects.exists()
        verbs = list(Activity.objects.order_by("id").values_list("verb", "actor_name"))
        assert verbs == [("fallback.paused", "root"), ("fallback.resumed", "root")]

    @pytest.mark.parametrize(
        ("answer", "field"),
        [
            ({"reason": ""}, "reason"),
            ({"reason": "a" * 10_000}, "reason"),
            ({"reason": "x", "until_0": "2001-01-01", "until_1": "00:00"}, "until"),
            ({"reason": "x", "until_0": "soon", "until_1": ""}, "until"),
        ],
    )
    def test_an_answer_that_makes_no_sense_is_asked_again(self, root, answer, field):
        page = url(Connection, "pause", ConnectionFactory.create().pk)
        response = root.post(page, {"answered": "1"} | answer)
        assert list(response.context["form"].errors) == [field]
        assert not Pause.objects.exists()

    def test_everything(self, root):
        page = url(Pause, "pause_everything")
        response = root.post(page, {"answered": "1", "reason": "storm"}, follow=True)
        assert messages(response) == ["1 pause: paused."]
        response = root.post(page, {"answered": "1", "reason": "storm"}, follow=True)
        assert "paused already" in messages(response)[0]
        pause = Pause.objects.get()
        response = act(root, "resume", pause, answered="1", reason="over")
        assert messages(response) == ["everything: resumed."]
        assert not Pause.objects.exists()
        assert Activity.objects.get(verb="fallback.resumed").reason == "over"

    def test_a_list_resumes_any_kind(self, root):
        rows = [
            PauseFactory.create(),
            PauseFactory.create(connection=None, config=FallbackConfigFactory.create()),
        ]
        act(root, "resume", *rows, answered="1")
        assert not Pause.objects.exists()
