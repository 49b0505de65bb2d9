"""/connections."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Activity
from fallback.external import caller_of
from fallback.models import Connection, ConnectionState, FallbackConfig, Move
from fallback.simulator.client import Simulator
from fallback.truefoundry import TrueFoundry
from tests.calling import NOBODYS, problem, results
from tests.factories import ConnectionFactory
from tests.fallback.factories import (
    FallbackConfigFactory,
    MoveFactory,
)
from tests.fallback.simulating import serving

pytestmark = pytest.mark.django_db
SECRET = "hunter2hunter2"


class TestConnections:
    @pytest.fixture
    def simulator(self) -> Iterator[Simulator]:
        with serving() as found:
            yield found

    BODY = {"name": "Remote", "baseUrl": "https://tfy.example.org", "token": SECRET}

    def test_making_one(self, caller, owner):
        answer = caller.post("connections", self.BODY)
        assert answer.status_code == 201
        told = answer.json()
        assert told["baseUrl"] == "https://tfy.example.org/api/svc"
        assert (told["hasToken"], told["enabled"], told["state"]) == (True, True, "unknown")
        connection = Connection.objects.get()
        assert (connection.token, connection.organization) == (SECRET, owner.organization)

    def test_the_token_is_never_told(self, caller):
        made = caller.post("connections", self.BODY)
        pk = made.json()["id"]
        answers = [
            made,
            caller.get("connections"),
            caller.get(f"connections/{pk}"),
            caller.patch(f"connections/{pk}", {"token": f"{SECRET}2"}),
            caller.get("activity"),
            caller.patch(f"connections/{pk}", {"token": f"{SECRET} with spaces"}),
        ]
        for answer in answers:
            assert SECRET not in answer.content.decode()
        problem(answers[-1], 400, "Invalid")
        assert Connection.objects.get().token == f"{SECRET}2"

    def test_changing_one(self, caller):
        path = f"connections/{caller.post('connections', self.BODY).json()['id']}"
        told = caller.patch(path, {"name": "Renamed"}).json()
        assert told["name"] == "Renamed"
        told = caller.put(path, told | {"name": "Again"}).json()
        assert (told["name"], told["hasToken"]) == ("Again", True)
        assert Connection.objects.get().token == SECRET
        problem(caller.put(path, {"name": "x"}), 400, "Invalid")
        for verb, enabled in (("disable", False), ("enable", True)):
            told = caller.post(f"{path}/{verb}").json()
            assert told["enabled"] is enabled
        verbs = Activity.objects.filter(verb="connection.changed")
        assert verbs.count() == 4

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": "<b>"}, "name"),
            ({"baseUrl": "ftp://host"}, "baseUrl"),
            ({"baseUrl": "https://user:password@host"}, "baseUrl"),
            ({"baseUrl": "https://host?x=1"}, "baseUrl"),
            ({"baseUrl": "https://[::1"}, "baseUrl"),
            ({"baseUrl": "https://host:port"}, "baseUrl"),
            ({"token": "ü"}, "token"),
            ({"token": "x" * 8001}, "token"),
            ({"assumedUser": "../x"}, "assumedUser"),
            ({"enabled": None}, "enabled"),
            ({"organizationId": NOBODYS}, "organizationId"),
            ({"password": "x"}, "password"),
        ],
    )
    def test_a_mistake_is_named(self, caller, change, field):
        told = problem(caller.post("connections", self.BODY | change), 400, "Invalid")
        assert list(told["errors"]) == [field]
        assert not Connection.objects.exists()

    def test_the_same_mistakes_in_a_change(self, caller, remote):
        for change, field in (({"baseUrl": "https://[::1"}, "baseUrl"), ({"name": ""}, "name")):
            answer = caller.patch(f"connections/{remote.pk}", change)
            assert list(problem(answer, 400, "Invalid")["errors"]) == [field]

    def test_a_second_one_of_a_name(self, caller, remote):
        body = self.BODY | {"name": remote.name.upper()}
        problem(caller.post("connections", body), 409, "NameTaken")
        other = caller.post("connections", self.BODY).json()["id"]
        answer = caller.patch(f"connections/{other}", {"name": remote.name})
        problem(answer, 409, "NameTaken")

    def test_hosts_that_only_superusers_may_use(self, caller, settings):
        settings.TRUEFOUNDRY_ALLOWED_HOSTS = ["allowed.example.org"]
        told = problem(caller.post("connections", self.BODY), 400, "Invalid")
        assert list(told["errors"]) == ["baseUrl"]
        body = self.BODY | {"baseUrl": "https://ALLOWED.example.org"}
        assert caller.post("connections", body).status_code == 201

    def test_private_addresses_in_production(self, caller, settings):
        settings.OUTBOUND_ALLOW_PRIVATE = False
        for host in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]"):
            answer = caller.post("connections", self.BODY | {"baseUrl": f"http://{host}"})
            assert list(problem(answer, 400, "Invalid")["errors"]) == ["baseUrl"]

    def test_deleting(self, caller, remote):
        move = MoveFactory.create(connection=remote)
        told = problem(caller.delete(f"connections/{remote.pk}"), 409, "OpenMoves")
        assert move.source_run_name in told["detail"]
        other = ConnectionFactory.create(organization=remote.organization)
        FallbackConfigFactory.create(connection=other)
        assert caller.delete(f"connections/{other.pk}").status_code == 204
        assert not FallbackConfig.objects.exists()

    def test_it_does_not_leave_its_open_moves(self, caller, remote):
        MoveFactory.create(connection=remote)
        path = f"connections/{remote.pk}"
        answer = caller.patch(path, {"baseUrl": "https://elsewhere.example.org"})
        problem(answer, 409, "OpenMoves")
        same = {"baseUrl": "https://TFY.example.org:443/other/path"}
        assert caller.patch(path, same).status_code == 200
        Move.objects.update(state="Cancelled", finished_at=timezone.now())
        answer = caller.patch(path, {"baseUrl": "https://elsewhere.example.org"})
        assert answer.status_code == 200

    def test_the_one_from_the_environment(self, caller, owner, settings):
        settings.TRUEFOUNDRY_API_URL = "https://tfy.example.org"
        settings.TF_SERVICE_API_TOKEN = SECRET
        connection = Connection.objects.create(
            organization=owner.organization, name="Environment", from_environment=True
        )
        path = f"connections/{connection.pk}"
        told = caller.get(path).json()
        assert (told["fromEnvironment"], told["hasToken"], told["baseUrl"]) == (True, True, "")
        assert caller.patch(path, {"name": "Renamed"}).status_code == 200
        settings.SFY_ASSUMED_USER = "mover"
        told = caller.get(path).json()
        assert told["assumedUser"] == caller_of(Connection.objects.get())._assumed_user == "mover"
        assert caller.put(path, told | {"enabled": False}).status_code == 200
        evil = {"baseUrl": "https://evil.example.org"}
        for change in (evil, {"token": "x"}, {"assumedUser": "x"}):
            problem(caller.patch(path, change), 400, "Invalid")
        settings.TF_SERVICE_API_TOKEN = ""
        assert not caller.get(path).json()["hasToken"]

    def test_testing_one(self, caller, owner, simulator):
        simulator.seed(jobs=1, runsPerJob=1)
        connection = ConnectionFactory.create(
            organization=owner.organization, base_url=simulator.url, token=simulator.token
        )
        told = caller.post(f"connections/{connection.pk}/test").json()
        assert told["works"]
        names = [finding["name"] for finding in told["findings"]]
        assert names == ["token", "clusters", "workspaces", "job runs", "clock"]
        assert caller.get(f"connections/{connection.pk}").json()["state"] == "connected"
        Connection.objects.update(token="another")
        told = caller.post(f"connections/{connection.pk}/test").json()
        assert not told["works"]
        assert Connection.objects.get().state == ConnectionState.UNAUTHORIZED
        Connection.objects.update(token="")
        told = caller.post(f"connections/{connection.pk}/test").json()
        assert told["findings"][0]["message"] == "There is no token."

    def test_a_clock_that_no_answer_told(self, caller, owner, simulator, monkeypatch):
        """One that answers without `Date` can be used."""
        monkeypatch.setattr(TrueFoundry, "_note_clock", lambda *_: None)
        connection = ConnectionFactory.create(
            organization=owner.organization, base_url=simulator.url, token=simulator.token
        )
        told = caller.post(f"connections/{connection.pk}/test").json()
        message = "No answer told the time."
        assert told["findings"][-1] == {"name": "clock", "works": True, "message": message}
        assert told["works"]

    def test_filters(self, caller, remote):
        ConnectionFactory.create(organization=remote.organization, enabled=False)
        for query in ("enabled=true", f"name={remote.name}", "fromEnvironment=false&enabled=true"):
            (row,) = results(caller.get(f"connections?{query}"))
            assert row["id"] == str(remote.pk)
        assert len(results(caller.get("connections?state=unknown&state=connected"))) == 2
        assert "token" not in json.dumps(results(caller.get("connections")))

    def test_it_may_vanish_in_between(self, caller, remote, monkeypatch):
        from fallback.api.connections import Connections

        found = Connections.get_object

        def and_gone(view: Any) -> Any:
            row = found(view)
            Connection.objects.all().delete()
            return row

        monkeypatch.setattr(Connections, "get_object", and_gone)
        problem(caller.patch(f"connections/{remote.pk}", {"name": "x"}), 404, "NotFound")
