"""/fallback-configs: making one."""

import time
import uuid

import pytest

from accounts.models import Activity, Membership
from fallback import configuring
from fallback.models import Connection, FallbackConfig
from fallback.simulator.client import Simulator
from tests.calling import NOBODYS, problem
from tests.factories import ConnectionFactory, MembershipFactory
from tests.fallback.config_bodies import body_of, place, plain

pytestmark = pytest.mark.django_db
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def remote(owner: Membership, simulator: Simulator) -> Connection:
    return ConnectionFactory.create(
        organization=owner.organization, base_url=simulator.url, token=simulator.token
    )


class TestCreate:
    def test_the_documented_form(self, caller, remote, seeded, owner):
        answer = caller.post("fallback-configs", body_of(seeded, stuckThresholdMinutes=30))
        assert answer.status_code == 201
        told = answer.json()
        there = seeded["destinations"][0]
        assert told["source"] == {
            **place(seeded["source"]),
            "workspaceName": told["source"]["workspaceName"],
            "jobId": None,
            "jobName": "",
        }
        assert told["source"]["workspaceName"]
        assert told["destination"] == {
            **place(there),
            "workspaceFqn": there["fqn"],
            "enabled": True,
            "maxOpenMoves": None,
        }
        assert told["destinations"] == [told["destination"]]
        assert told["stuckThresholdMinutes"] == 30
        assert (told["mode"], told["purgeMode"], told["enabled"]) == ("auto", "AfterAccept", True)
        assert told["statuses"] == ["CREATED", "SCHEDULED"]
        assert told["createdBy"] == owner.user.username
        assert (told["needsRepair"], told["paused"], told["pause"]) == (False, False, None)
        assert told["organizationId"] == str(owner.organization_id)
        config = FallbackConfig.objects.get()
        assert (config.created_by, config.connection) == (owner.user, remote)
        row = Activity.objects.get(verb="config.created")
        assert (row.actor_kind, row.organization_id) == ("token", owner.organization_id)

    def test_for_one_job_with_several_destinations(self, caller, remote, seeded):
        job = next(
            job for job in seeded["jobs"] if job["workspaceId"] == seeded["source"]["workspaceId"]
        )
        body = body_of(seeded)
        body["source"]["jobId"] = job["id"]
        del body["destination"]
        body["destinations"] = [
            {**place(found), "maxOpenMoves": 5} for found in seeded["destinations"]
        ]
        told = caller.post("fallback-configs", body).json()
        assert told["source"]["jobName"] == job["name"]
        assert [found["workspaceFqn"] for found in told["destinations"]] == [
            found["fqn"] for found in seeded["destinations"]
        ]
        assert told["destination"] == told["destinations"][0]

    def test_what_the_control_plane_does_not_know_is_named(self, caller, remote, seeded):
        body = body_of(seeded)
        body["source"]["jobId"] = "nobodys"
        body["destination"]["workspaceId"] = "nobodys"
        told = problem(caller.post("fallback-configs", body), 400, "Invalid")
        assert set(told["errors"]) == {"source.jobId", "destination"}
        body = body_of(seeded)
        body["source"]["workspaceId"] = "nobodys"
        told = problem(caller.post("fallback-configs", body), 400, "Invalid")
        assert set(told["errors"]) == {"source.workspaceId"}
        body = body_of(seeded)
        body["destination"]["workspaceFqn"] = "another:one"
        told = problem(caller.post("fallback-configs", body), 400, "Invalid")
        there = seeded["destinations"][0]
        told_of = [f"{there['workspaceId']} is {there['fqn']}."]
        assert told["errors"] == {"destination.workspaceFqn": told_of}
        assert not FallbackConfig.objects.exists()

    def test_a_control_plane_that_is_away_leaves_something_to_repair(self, caller, away):
        told = caller.post("fallback-configs", plain()).json()
        assert told["needsRepair"]
        assert told["destination"]["workspaceFqn"] == ""

    def test_one_that_hangs_costs_ten_seconds_at_most(
        self, caller, remote, seeded, simulator, monkeypatch
    ):
        monkeypatch.setattr("fallback.external.SECONDS", 1.0)
        simulator.faults({"call": "*", "effect": "hang", "seconds": 6})
        begun = time.monotonic()
        answer = caller.post("fallback-configs", body_of(seeded))
        simulator.faults()
        assert answer.status_code == 201
        assert answer.json()["needsRepair"]
        assert time.monotonic() - begun < 5

    @pytest.mark.parametrize(("field", "value"), [("mode", "approve"), ("purgeMode", "Gracefully")])
    def test_what_is_not_supported_yet_is_told_as_such(self, caller, away, field, value):
        answer = caller.post("fallback-configs", plain() | {field: value})
        told = problem(answer, 400, "NotYetSupported")
        assert list(told["errors"]) == [field]

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"source": None}, "source"),
            ({"source": "x"}, "source"),
            ({"source": {"clusterId": "one"}}, "source.workspaceId"),
            ({"source": {"clusterId": "", "workspaceId": "a"}}, "source.clusterId"),
            ({"source": {"clusterId": "a b", "workspaceId": "a"}}, "source.clusterId"),
            ({"source": {"clusterId": "..", "workspaceId": "a"}}, "source.clusterId"),
            ({"source": {"clusterId": "x" * 129, "workspaceId": "a"}}, "source.clusterId"),
            ({"source": {"clusterId": "one", "workspaceId": "a", "jobId": "/"}}, "source.jobId"),
            ({"source": {"clusterId": "one", "workspaceId": "a", "job": "x"}}, "source.job"),
            ({"destination": None}, "destination"),
            ({"destination": []}, "destination"),
            ({"destination": {}}, "destination.clusterId"),
            ({"destination": {"clusterId": "one", "workspaceId": "a"}}, "destination"),
            (
                {"destination": {"clusterId": "t", "workspaceId": "b", "workspaceFqn": "a b"}},
                "destination.workspaceFqn",
            ),
            ({"destinations": []}, "destinations"),
            ({"destinations": [{"clusterId": "two"}]}, "destinations.0.workspaceId"),
            ({"destinations": [{"clusterId": "t", "workspaceId": "c"}]}, "destination"),
            ({"stuckThresholdMinutes": 0}, "stuckThresholdMinutes"),
            ({"stuckThresholdMinutes": 525_601}, "stuckThresholdMinutes"),
            ({"stuckThresholdMinutes": "soon"}, "stuckThresholdMinutes"),
            ({"stuckThresholdMinutes": None}, "stuckThresholdMinutes"),
            ({"statuses": []}, "statuses"),
            ({"statuses": ["FINISHED"]}, "statuses.0"),
            ({"statuses": "CREATED"}, "statuses"),
            ({"mode": "sometimes"}, "mode"),
            ({"purgeMode": "sometimes"}, "purgeMode"),
            ({"enabled": "perhaps"}, "enabled"),
            ({"maxHops": 0}, "maxHops"),
            ({"cooldownMinutes": -1}, "cooldownMinutes"),
            ({"connectionId": "x"}, "connectionId"),
            ({"connectionId": NOBODYS}, "connectionId"),
            ({"organizationId": NOBODYS}, "organizationId"),
            ({"stuckTresholdMinutes": 5}, "stuckTresholdMinutes"),
        ],
    )
    def test_a_mistake_is_named(self, caller, away, change, field):
        told = problem(caller.post("fallback-configs", plain() | change), 400, "Invalid")
        assert field in told["errors"]
        assert not FallbackConfig.objects.exists()

    def test_statuses_are_kept_once(self, caller, away):
        told = caller.post("fallback-configs", plain(statuses=["RUNNING", "CREATED", "RUNNING"]))
        assert told.json()["statuses"] == ["RUNNING", "CREATED"]


class TestConflicts:
    def test_a_second_one_for_a_source(self, caller, away):
        assert caller.post("fallback-configs", plain()).status_code == 201
        problem(caller.post("fallback-configs", plain(destination="c")), 409, "ConfigExists")
        body = plain()
        body["source"]["jobId"] = "job"
        assert caller.post("fallback-configs", body).status_code == 201
        problem(caller.post("fallback-configs", body), 409, "ConfigExists")

    def test_a_loop_is_spelled_out(self, caller, away):
        for source, destination in (("a", "b"), ("b", "c")):
            caller.post("fallback-configs", plain(source, destination))
        told = problem(caller.post("fallback-configs", plain("c", "a")), 409, "Loop")
        assert "c → a → b → c" in told["detail"]
        pk = FallbackConfig.objects.get(source_workspace_id="b").pk
        body = {"destination": {"clusterId": "two", "workspaceId": "a"}}
        problem(caller.patch(f"fallback-configs/{pk}", body), 409, "Loop")

    def test_changing_one_into_another(self, caller, away):
        caller.post("fallback-configs", plain("a", "x"))
        pk = caller.post("fallback-configs", plain("b", "x")).json()["id"]
        answer = caller.patch(f"fallback-configs/{pk}", {"source": {"workspaceId": "a"}})
        problem(answer, 409, "ConfigExists")

    def test_the_database_has_the_last_word(self, caller, away, monkeypatch):
        caller.post("fallback-configs", plain())
        monkeypatch.setattr("fallback.api.configs.refuse_second", lambda _: None)
        monkeypatch.setattr(configuring, "_invalid", lambda *_: {})
        problem(caller.post("fallback-configs", plain()), 409, "ConfigExists")


class TestWhichConnection:
    def test_the_only_enabled_one(self, caller, away, owner):
        ConnectionFactory.create(organization=owner.organization, enabled=False)
        ConnectionFactory.create()
        told = caller.post("fallback-configs", plain()).json()
        assert told["connectionId"] == str(away.pk)

    def test_of_several_one_has_to_be_named(self, caller, away, owner):
        other = ConnectionFactory.create(organization=owner.organization, base_url=NOBODY)
        told = problem(caller.post("fallback-configs", plain()), 400, "Invalid")
        assert list(told["errors"]) == ["connectionId"]
        answer = caller.post("fallback-configs", plain(connectionId=str(other.pk)))
        assert answer.json()["connectionId"] == str(other.pk)

    def test_without_any(self, caller):
        told = problem(caller.post("fallback-configs", plain()), 400, "Invalid")
        assert list(told["errors"]) == ["connectionId"]

    def test_in_several_organizations_one_has_to_be_named(self, caller, away, owner):
        MembershipFactory.create(user=owner.user, role="admin")
        told = problem(caller.post("fallback-configs", plain()), 400, "Invalid")
        assert list(told["errors"]) == ["organizationId"]
        body = plain(organizationId=str(owner.organization_id))
        assert caller.post("fallback-configs", body).status_code == 201
        body = plain("c", "d", connectionId=str(away.pk))
        assert caller.post("fallback-configs", body).status_code == 201

    def test_a_foreign_one_is_as_unknown_as_a_random_one(self, caller, away):
        foreign = ConnectionFactory.create()
        for name, key in (
            ("connectionId", foreign.pk),
            ("organizationId", foreign.organization_id),
        ):
            answers = [
                caller.post("fallback-configs", plain(**{name: str(value)})).json()
                for value in (key, uuid.uuid4())
            ]
            assert answers[0] == answers[1]
            assert answers[0]["errors"][name]

    def test_the_role_counts_where_the_config_goes(self, caller, away, owner):
        other = MembershipFactory.create(user=owner.user, role="member")
        there = ConnectionFactory.create(organization=other.organization, base_url=NOBODY)
        body = plain(connectionId=str(there.pk))
        problem(caller.post("fallback-configs", body), 403, "RoleTooLow")
        body = plain(organizationId=str(other.organization_id))
        problem(caller.post("fallback-configs", body), 403, "RoleTooLow")
