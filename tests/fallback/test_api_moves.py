"""/moves and /sweeps."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.utils import timezone

from accounts.models import Activity
from config.base import live
from fallback import sweep, tasks
from fallback.models import FallbackConfig, Move, MoveState, Sweep
from fallback.models.move import CLOSED, OPEN
from fallback.simulator.client import Simulator
from tests.calling import Caller, problem, results
from tests.factories import ConnectionFactory, MembershipFactory, UserFactory
from tests.fallback.factories import (
    FallbackConfigFactory,
    MoveFactory,
    MoveStepFactory,
    SweepFactory,
)
from tests.fallback.simulating import serving

pytestmark = pytest.mark.django_db
SECRET = "hunter2hunter2"
PAST_TRIGGER = {"Triggering", "Verifying", "Terminating", "NeedsAttention"}


class TestMoves:
    def test_a_list_and_one_with_its_steps(self, caller, remote):
        move = MoveFactory.create(connection=remote, state="Failed", reason="Rejected")
        for number in range(3):
            MoveStepFactory.create(move=move, message=f"step {number}", milliseconds=number)
        (row,) = results(caller.get("moves"))
        assert "steps" not in row
        told = caller.get(f"moves/{move.pk}").json()
        assert row == {name: value for name, value in told.items() if name != "steps"}
        assert [step["message"] for step in told["steps"]] == ["step 0", "step 1", "step 2"]
        assert told["source"]["runName"] == move.source_run_name
        assert (told["canRetry"], told["canCancel"]) == (True, False)

    def test_inputs_are_told_to_nobody(self, owner, remote):
        move = MoveFactory.create(connection=remote, command=f'{{"password": "{SECRET}"}}')
        for caller in (Caller(owner.user), Caller(UserFactory.create(is_superuser=True))):
            for path in ("moves", f"moves/{move.pk}"):
                text = caller.get(path).content.decode()
                assert SECRET not in text
                assert "command" not in text

    def test_a_command_that_no_key_opens_hides_nothing(self, caller, remote):
        move = MoveFactory.create(connection=remote)
        with database.cursor() as cursor:
            cursor.execute("UPDATE fallback_move SET command = %s", ["gAAAAA"])
        assert len(results(caller.get("moves"))) == 1
        assert caller.get(f"moves/{move.pk}").status_code == 200

    def test_filters(self, caller, remote):
        config = FallbackConfigFactory.create(connection=remote)
        found = SweepFactory.create(organization=remote.organization)
        move = MoveFactory.create(
            connection=remote,
            config=config,
            sweep=found,
            state="NeedsAttention",
            reason="Verify",
            job_name="mine",
            purge_mode="Never",
            hop=2,
            by_person=True,
            destination_run_name="moved-1",
        )
        MoveFactory.create(connection=remote, state="Succeeded")
        for query in (
            "state=NeedsAttention",
            "open=true",
            "reason=Verify",
            f"configId={config.pk}",
            f"sweepId={found.pk}",
            f"lineage={move.lineage}",
            "jobName=mine",
            "purgeMode=Never",
            "hop=2",
            "byPerson=true",
            f"sourceRunId={move.source_run_id}",
            f"sourceRunName={move.source_run_name}",
            "destinationRunName=moved-1",
            f"sourceApplicationId={move.source_application_id}",
            "search=mine",
        ):
            assert [row["id"] for row in results(caller.get(f"moves?{query}"))] == [str(move.pk)]
        day = (timezone.now() + timedelta(days=1)).date()
        assert len(results(caller.get(f"moves?finishedBefore={day}"))) == 1
        assert len(results(caller.get(f"moves?connectionId={remote.pk}"))) == 2

    def test_foreign_ones_are_not_there(self, caller):
        foreign = MoveFactory.create()
        assert results(caller.get("moves")) == []
        problem(caller.get(f"moves/{foreign.pk}"), 404, "NotFound")
        problem(caller.post(f"moves/{foreign.pk}/cancel", {}), 404, "NotFound")
        problem(caller.post(f"moves/{foreign.pk}/retry", {}), 404, "NotFound")

    @pytest.mark.parametrize("state", MoveState.values)
    def test_what_may_be_done_is_what_is_done(self, caller, remote, state):
        for verb, tells in (("retry", "canRetry"), ("cancel", "canCancel")):
            move = MoveFactory.create(connection=remote, state=state)
            told = caller.get(f"moves/{move.pk}").json()[tells]
            answer = caller.post(f"moves/{move.pk}/{verb}", {"reason": "because"})
            assert answer.status_code == (200 if told else 409), (verb, state)
            if told:
                row = Activity.objects.get(object_id=str(move.pk))
                assert (row.reason, row.actor_kind) == ("because", "token")
                assert answer.json()["state"] == Move.objects.get(pk=move.pk).state
                assert answer.json()["steps"]
            else:
                too_late = verb == "cancel" and state in PAST_TRIGGER
                problem(answer, 409, "PastTrigger" if too_late else "WrongState")

    def test_every_state_is_open_or_closed(self):
        assert {*OPEN, *CLOSED} == set(MoveState)

    def test_a_worker_is_woken_at_once(self, caller, remote, monkeypatch):
        sent: list[Any] = []
        monkeypatch.setattr(live, "nudge", sent.append)
        move = MoveFactory.create(connection=remote, state="Failed")
        caller.post(f"moves/{move.pk}/retry", {})
        caller.post("sweeps", {})
        assert sent == [tasks.drive_tick, tasks.run_requested_sweeps]

    @pytest.mark.parametrize(
        ("body", "field"), [({"reason": "x" * 501}, "reason"), ({"why": "x"}, "why")]
    )
    def test_a_mistake_is_named(self, caller, remote, body, field):
        move = MoveFactory.create(connection=remote)
        answer = caller.post(f"moves/{move.pk}/cancel", body)
        assert list(problem(answer, 400, "Invalid")["errors"]) == [field]


class TestSweeps:
    @pytest.fixture
    def simulator(self) -> Iterator[Simulator]:
        with serving() as found:
            yield found

    def test_one_is_asked_for_and_a_worker_makes_it(self, caller, owner, simulator):
        remote = ConnectionFactory.create(
            organization=owner.organization, base_url=simulator.url, token=simulator.token
        )
        seeded = simulator.seed(jobs=1, runsPerJob=2, destinations=1)
        there = {name: seeded["destinations"][0][name] for name in ("clusterId", "workspaceId")}
        source = {name: seeded["source"][name] for name in ("clusterId", "workspaceId")}
        body = {"source": source, "destination": there}
        assert caller.post("fallback-configs", body).status_code == 201

        answer = caller.post("sweeps", {})
        assert answer.status_code == 202
        asked = answer.json()
        assert (asked["state"], asked["by"]) == ("Waiting", owner.user.username)
        assert asked["finishedAt"] is None

        assert sweep.run_requested() == 1
        told = caller.get(f"sweeps/{asked['id']}").json()
        assert (told["state"], told["planned"], told["errors"]) == ("Finished", 2, 0)
        (found,) = told["sources"]
        assert (found["workspaceId"], found["planned"]) == (source["workspaceId"], 2)
        assert len(results(caller.get("moves", sweepId=asked["id"]))) == 2
        assert FallbackConfig.objects.get().connection == remote
        row = Activity.objects.get(verb="sweep.requested")
        assert row.actor_kind == "token"

    def test_a_dry_run_plans_nothing(self, caller, owner, simulator):
        ConnectionFactory.create(
            organization=owner.organization, base_url=simulator.url, token=simulator.token
        )
        asked = caller.post("sweeps", {"dryRun": True}).json()
        assert asked["dryRun"]
        sweep.run_requested()
        assert caller.get(f"sweeps/{asked['id']}").json()["state"] == "Finished"
        assert len(results(caller.get("sweeps", dryRun="true", finished="true"))) == 1
        assert results(caller.get("sweeps", dryRun="false")) == []

    def test_while_a_worker_is_at_it(self, caller, remote):
        asked = caller.post("sweeps", {}).json()
        Sweep.objects.update(lease=uuid.uuid4())
        assert caller.get(f"sweeps/{asked['id']}").json()["state"] == "Running"

    def test_without_a_connection_there_is_nothing_to_do(self, caller, owner):
        problem(caller.post("sweeps", {}), 409, "NoConnection")
        ConnectionFactory.create(organization=owner.organization, token="")
        ConnectionFactory.create(organization=owner.organization, enabled=False)
        problem(caller.post("sweeps", {}), 409, "NoConnection")
        assert not Sweep.objects.exists()

    def test_in_several_organizations_one_has_to_be_named(self, caller, owner, remote):
        other = MembershipFactory.create(user=owner.user)
        told = problem(caller.post("sweeps", {}), 400, "Invalid")
        assert list(told["errors"]) == ["organizationId"]
        asked = caller.post("sweeps", {"organizationId": str(owner.organization_id)})
        assert asked.status_code == 202
        answer = caller.post("sweeps", {"organizationId": str(other.organization_id)})
        problem(answer, 409, "NoConnection")

    def test_a_foreign_organization_is_as_unknown_as_a_random_one(self, caller, remote):
        foreign = ConnectionFactory.create()
        answers = [
            caller.post("sweeps", {"organizationId": str(key)}).json()
            for key in (foreign.organization_id, uuid.uuid4())
        ]
        assert answers[0] == answers[1]
        assert answers[0]["errors"] == {"organizationId": ["There is no such organization."]}
        assert caller.get(f"sweeps/{SweepFactory.create().pk}").status_code == 404

    def test_lists_leave_the_sources_out(self, caller, owner):
        SweepFactory.create(organization=owner.organization, sources=[{"runs": [SECRET] * 50}])
        (row,) = results(caller.get("sweeps"))
        assert "sources" not in row

    def test_a_report_from_long_ago_may_lack_something(self, caller, owner):
        row = SweepFactory.create(organization=owner.organization, sources=[{}, {"runs": [{}]}])
        told = caller.get(f"sweeps/{row.pk}").json()["sources"]
        assert told[0]["runs"] == []
        assert told[1]["runs"][0]["reason"] == ""
