"""/fallback-configs: changing, repairing, listing."""

from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Activity, Membership
from fallback import configuring
from fallback.models import Connection, FallbackConfig, Pause
from fallback.simulator.client import Simulator
from tests.calling import problem, results
from tests.factories import ConnectionFactory
from tests.fallback.config_bodies import plain
from tests.fallback.factories import FallbackConfigFactory, MoveFactory, PauseFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def remote(owner: Membership, simulator: Simulator) -> Connection:
    return ConnectionFactory.create(
        organization=owner.organization, base_url=simulator.url, token=simulator.token
    )


class TestChange:
    @pytest.fixture
    def config(self, away: Connection) -> FallbackConfig:
        return FallbackConfigFactory.create(
            connection=away, source_workspace_id="a", destinations=2, max_hops=5
        )

    def test_a_patch_changes_what_it_holds(self, caller, config):
        before = caller.get(f"fallback-configs/{config.pk}").json()
        told = caller.patch(f"fallback-configs/{config.pk}", {"enabled": False}).json()
        changed = {name for name in told if told[name] != before[name]}
        assert changed == {"enabled", "updatedAt"}
        row = Activity.objects.get(verb="config.changed")
        assert row.change == {"enabled": [True, False]}

    def test_it_does_not_ask_the_control_plane_for_nothing(self, caller, config, monkeypatch):
        monkeypatch.setattr("fallback.external.Caller", None)  # it could not be called
        for change in ({"maxHops": 2}, {"source": {"workspaceId": "a"}}):
            assert caller.patch(f"fallback-configs/{config.pk}", change).status_code == 200

    def test_destinations_are_replaced_whole(self, caller, config):
        body = {"destination": {"clusterId": "two", "workspaceId": "z"}}
        told = caller.patch(f"fallback-configs/{config.pk}", body).json()
        assert [place["workspaceId"] for place in told["destinations"]] == ["z"]
        body = {"destination": {"workspaceId": "y"}}
        answer = caller.patch(f"fallback-configs/{config.pk}", body)
        assert list(problem(answer, 400, "Invalid")["errors"]) == ["destination.clusterId"]

    def test_a_job_can_be_given_and_taken_away(self, caller, config):
        path = f"fallback-configs/{config.pk}"
        told = caller.patch(path, {"source": {"jobId": "job"}}).json()
        assert told["source"]["jobId"] == "job"
        for nothing in (None, ""):
            caller.patch(path, {"source": {"jobId": "job"}})
            told = caller.patch(path, {"source": {"jobId": nothing}}).json()
            assert told["source"]["jobId"] is None
            assert told["source"]["workspaceId"] == "a"

    def test_what_was_got_can_be_put_back(self, caller, config):
        path = f"fallback-configs/{config.pk}"
        before = caller.get(path).json()
        after = caller.put(path, before).json()
        assert after | {"updatedAt": before["updatedAt"]} == before

    def test_what_a_put_leaves_out_gets_its_default(self, caller, config):
        told = caller.put(f"fallback-configs/{config.pk}", plain("a", "z")).json()
        assert (told["maxHops"], len(told["destinations"])) == (3, 1)
        answer = caller.put(f"fallback-configs/{config.pk}", {"enabled": True})
        assert set(problem(answer, 400, "Invalid")["errors"]) == {"source"}

    def test_it_stays_where_it_is(self, caller, config, owner):
        other = ConnectionFactory.create(organization=owner.organization)
        body = {"connectionId": str(other.pk)}
        answer = caller.patch(f"fallback-configs/{config.pk}", body)
        assert list(problem(answer, 400, "Invalid")["errors"]) == ["connectionId"]

    def test_source_and_destination_stay_apart(self, caller, config):
        there = config.destinations.first()
        assert there is not None
        body = {"source": {"workspaceId": there.workspace_id}}
        answer = caller.patch(f"fallback-configs/{config.pk}", body)
        problem(answer, 400, "Invalid")

    def test_it_may_vanish_in_between(self, caller, config, monkeypatch):
        def gone(*_: Any) -> Any:
            FallbackConfig.objects.all().delete()
            return configuring.LookUp({})

        monkeypatch.setattr(configuring, "look_up_names", gone)
        answer = caller.patch(f"fallback-configs/{config.pk}", {"source": {"workspaceId": "q"}})
        problem(answer, 404, "NotFound")

    def test_two_who_change_different_fields_at_once_both_get_what_they_wanted(
        self, caller, config, monkeypatch
    ):
        path = f"fallback-configs/{config.pk}"
        there = {"clusterId": "x", "workspaceId": "y"}

        def meanwhile(*_: Any) -> Any:
            monkeypatch.setattr(configuring, "look_up_names", lambda *_: configuring.LookUp({}))
            other = caller.patch(path, {"destination": there, "cooldownMinutes": 7})
            assert other.status_code == 200
            return configuring.LookUp({})

        monkeypatch.setattr(configuring, "look_up_names", meanwhile)
        body = {"source": {"workspaceId": "elsewhere"}, "maxHops": 9}
        told = caller.patch(path, body).json()
        assert (told["source"]["workspaceId"], told["maxHops"]) == ("elsewhere", 9)
        assert told["cooldownMinutes"] == 7
        assert [place["workspaceId"] for place in told["destinations"]] == ["y"]

    def test_so_may_its_connection(self, caller, config, monkeypatch):
        def gone(*_: Any) -> Any:
            Connection.objects.all().delete()
            return configuring.LookUp({})

        monkeypatch.setattr(configuring, "look_up_names", gone)
        answer = caller.patch(f"fallback-configs/{config.pk}", {"source": {"workspaceId": "q"}})
        problem(answer, 409, "Stale")

    def test_deleting_leaves_open_moves(self, caller, config):
        move = MoveFactory.create(connection=config.connection, config=config)
        assert caller.delete(f"fallback-configs/{config.pk}").status_code == 204
        move.refresh_from_db()
        assert (move.config, move.state) == (None, "Planned")
        assert Activity.objects.filter(verb="config.deleted").exists()
        problem(caller.delete(f"fallback-configs/{config.pk}"), 404, "NotFound")


class TestRepair:
    def test_it_finds_what_is_missing(self, caller, remote, seeded):
        there = seeded["destinations"][0]
        config = FallbackConfigFactory.create(
            connection=remote,
            source_workspace_name="kept",
            source_job_id="gone",
            destinations=[
                {
                    "cluster_id": there["clusterId"],
                    "workspace_id": there["workspaceId"],
                    "workspace_fqn": "",
                },
                {"cluster_id": "x", "workspace_id": "nobodys", "workspace_fqn": ""},
            ],
        )
        told = caller.post(f"fallback-configs/{config.pk}/repair").json()
        assert told["repaired"] == 1
        assert "nobodys" in told["problems"][0]
        assert told["needsRepair"]
        row = caller.get(f"fallback-configs/{config.pk}").json()
        assert row["destination"]["workspaceFqn"] == there["fqn"]
        assert row["source"]["workspaceName"] == "kept"
        assert results(caller.get("fallback-configs", needsRepair="true"))
        assert results(caller.get("fallback-configs", needsRepair="false")) == []


class TestList:
    def test_filters(self, caller, away):
        one = FallbackConfigFactory.create(connection=away, source_workspace_id="a", mode="observe")
        FallbackConfigFactory.create(connection=away, enabled=False)
        place = one.destinations.get()
        for query in (
            "sourceWorkspaceId=a",
            "mode=observe",
            "enabled=true",
            f"destinationWorkspaceId={place.workspace_id}",
            f"connectionId={away.pk}&mode=observe",
            "search=a&mode=observe",
        ):
            (row,) = results(caller.get(f"fallback-configs?{query}"))
            assert row["id"] == str(one.pk)
        assert len(results(caller.get("fallback-configs?sourceJobId="))) == 2

    def test_what_is_paused_says_so(self, caller, away, owner):
        config = FallbackConfigFactory.create(connection=away)
        scopes = {
            "config": {"connection": None, "config": config},
            "connection": {"connection": away},
        }
        for scope, fields in scopes.items():
            pause = PauseFactory.create(**fields)
            (row,) = results(caller.get("fallback-configs"))
            assert (row["paused"], row["pause"]["scope"]) == (True, scope)
            assert row["pause"]["reason"] == pause.reason
        PauseFactory.create(connection=None)
        assert caller.get(f"fallback-configs/{config.pk}").json()["pause"]["scope"] == "everything"
        Pause.objects.update(until=timezone.now())
        assert not results(caller.get("fallback-configs"))[0]["paused"]
