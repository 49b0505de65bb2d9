"""The pages of moves and sweeps, the overview, pausing, and activity."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import Activity
from fallback.models import Connection, Move, MoveState, Pause, Sweep
from tests.factories import MembershipFactory, OrganizationFactory
from tests.fallback.factories import MoveFactory, MoveStepFactory, PauseFactory, SweepFactory
from tests.fallback.pages import NOWHERE, ROLES, Acme, text_of, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Acme:
    return Acme()


class TestOverview:
    def show(self, acme: Acme, who: str = "admin") -> str:
        return text_of(acme.client(who).get("/"))

    def test_it_says_what_is_stuck_moving_and_waiting_for_somebody(self, acme, settings):
        settings.JOB_FALLBACK_ENABLED = True
        run = {"run": "run-7", "job": "left-job", "reason": "ObserveOnly", "message": "Why not."}
        source = {
            **{"workspaceId": "w", "connection": "c", "seen": 3, "stuck": 2, "planned": 0},
            **{"skipped": {"ObserveOnly": 1}, "error": "", "message": "", "runs": [run]},
        }
        broken = source | {"error": "Unreachable", "message": "No answer.", "runs": []}
        Sweep.objects.update(sources=[source, broken])
        MoveFactory.create(
            connection=acme.connection, state="NeedsAttention", reason="AnswerLost", job_name="lost"
        )
        shown = self.show(acme)
        assert "3 runs seen in 2 sources, 2 stuck, 1 left alone" in shown
        assert "left-job" in shown and "Why not." in shown
        assert "lost AnswerLost" in shown
        assert "Unreachable No answer." in shown
        assert "acme-job" in shown

    def test_dry_runs_and_unfinished_sweeps_are_not_the_last_one(self, acme):
        SweepFactory.create(organization=acme.organization, dry_run=True, seen=77)
        SweepFactory.create(organization=acme.organization, finished_at=None, seen=78)
        shown = self.show(acme)
        assert "77 runs seen" not in shown and "78 runs seen" not in shown
        assert "3 runs seen" in shown and "The next is under way." in shown
        Sweep.objects.exclude(finished_at=None).delete()
        assert "The first sweep is under way." in self.show(acme)

    @pytest.mark.parametrize(
        ("case", "sentence"),
        [
            ("off", "Automation is off."),
            ("no token", "No connection can be used."),
            ("none", "There is no connection."),
            ("paused", "Config acme:training is paused. ada: maintenance"),
            ("all paused", "Everything is paused."),
            ("cap", "Sweeps may move nothing."),
            ("capped", "The last sweep was capped."),
        ],
    )
    def test_a_banner_tells_what_keeps_it_from_moving(self, acme, settings, case, sentence):
        settings.JOB_FALLBACK_ENABLED = case != "off"
        if case == "no token":
            Connection.objects.update(token="")
        elif case == "none":
            Move.objects.all().delete()
            Connection.objects.all().delete()
        elif case == "paused":
            PauseFactory.create(connection=None, config=acme.config)
        elif case == "all paused":
            PauseFactory.create(connection=None)
        elif case == "cap":
            settings.FALLBACK_MAX_MOVES_PER_SWEEP = 0
        elif case == "capped":
            Sweep.objects.update(skipped={"Capped": 1200})
        assert sentence in self.show(acme)

    def test_who_is_nowhere_yet_is_led_to_an_organization(self, acme, settings):
        """Not to a connection: that takes one."""
        for create, led in (("anyone", True), ("superuser", False)):
            settings.ORGANIZATION_CREATE = create
            for path in ("/", "/now/"):
                shown = text_of(acme.client("stranger").get(path))
                assert "You are in no organization yet." in shown
                assert "There is no connection." not in shown
            content = acme.client("stranger").get("/").content.decode()
            assert ('href="/organizations/new/"' in content) == led
        assert "no organization yet" not in self.show(acme)

    def test_the_last_24_hours_are_drawn(self, acme):
        now = timezone.now()
        for state, age in (("Succeeded", 0), ("Succeeded", 2), ("Failed", 2), ("Succeeded", 30)):
            found = MoveFactory.create(connection=acme.connection, state=state)
            Move.objects.filter(pk=found.pk).update(created_at=now - timedelta(hours=age))
        hours = acme.client("viewer").get("/").context["hours"]
        told = [(bar["moved"], bar["failed"]) for bar in hours["bars"]]
        assert (told[-1], told[-3], len(told)) == ((1, 0), (1, 1), 24)
        assert (hours["moved"], hours["failed"], hours["peak"]) == (2, 1, 2)

    def test_a_pause_that_has_ended_is_none(self, acme):
        PauseFactory.create(connection=acme.connection, until=timezone.now() - timedelta(hours=1))
        assert "paused" not in self.show(acme)

    def test_who_may_can_resume_from_the_banner(self, acme):
        PauseFactory.create(connection=acme.connection)
        assert "Resume" in self.show(acme, "admin")
        assert "Resume" not in self.show(acme, "member")


class TestMoves:
    def listed(self, acme: Acme, query: str) -> set[str]:
        content = acme.client("viewer").get(f"/moves/rows/?{query}").content.decode()
        return set(re.findall(r'id="move-[0-9a-f-]+"[^>]*>([^<]+)</a>', content))

    def test_filters(self, acme):
        settled = MoveFactory.create(
            connection=acme.connection, state="Succeeded", job_name="done", destination_run_id="r"
        )
        MoveFactory.create(
            connection=acme.connection, state="Failed", reason="RolloutFailed", job_name="broken"
        )
        MoveFactory.create(
            connection=acme.connection, state="NeedsAttention", reason="AnswerLost", job_name="lost"
        )
        all_of_them = {"acme-job", "done", "broken", "lost"}
        place = settled.destination_workspace_fqn
        assert self.listed(acme, "") == all_of_them
        assert self.listed(acme, "state=person") == {"lost"}
        assert self.listed(acme, "state=moving") == {"acme-job"}
        assert self.listed(acme, "state=ended") == {"done", "broken"}
        assert self.listed(acme, "state=Failed") == {"broken"}
        assert self.listed(acme, "reason=AnswerLost") == {"lost"}
        assert self.listed(acme, "search=DON") == {"done"}
        assert self.listed(acme, f"workspace={place}") == all_of_them
        assert self.listed(acme, "workspace=nowhere") == set()
        assert self.listed(acme, f"connection={acme.connection.pk}") == all_of_them
        assert self.listed(acme, f"config={acme.config.pk}") == {"acme-job"}
        assert self.listed(acme, "connection=nonsense") == set()
        assert self.listed(acme, "search=%00&state=%F0%9F%98%80") == set()

    def test_pages_are_shareable_and_strange_numbers_do_no_harm(self, acme):
        for number in range(55):
            MoveFactory.create(connection=acme.connection, job_name=f"job-{number}")
        client = acme.client("viewer")
        shown = text_of(client.get("/moves/"))
        assert "1 to 50 of 56" in shown and "Next" in shown
        second = client.get("/moves/?page=2&state=moving")
        assert "51 to 56 of 56" in text_of(second)
        assert "?page=1&amp;state=moving" in second.content.decode()
        for strange in ("0", "-1", "x", "99999999999999", "3", "²"):
            assert client.get(f"/moves/?page={strange}").status_code == 200

    def test_the_steps_are_told_in_order_with_what_was_answered(self, acme):
        began = timezone.now() - timedelta(seconds=30)
        rows: list[dict[str, Any]] = [
            {"state": "Creating", "event": "entered"},
            {"state": "Creating", "event": "lost", "call": "PUT /v1/apps", "milliseconds": 10_000},
            {"state": "Creating", "event": "waiting", "message": "Again in 3 s."},
            {"state": "Creating", "event": "waiting", "message": "Again in 3 s."},
            {
                **{"state": "Creating", "event": "answered", "call": "PUT /v1/apps", "status": 200},
                **{"milliseconds": 412, "request_id": "req-8c04", "attempt": 1},
            },
            {"state": "AwaitingReady", "event": "entered"},
        ]
        for second, row in enumerate(rows):
            at = began + timedelta(seconds=second)
            MoveStepFactory.create(move=acme.move, created_at=at, **row)
        Move.objects.update(state="AwaitingReady")
        response = acme.client("viewer").get(acme.address("move"))
        steps = response.context["steps"]
        assert [step.state for step in steps] == [
            *("Planned", "Creating", "AwaitingReady"),
            *("Triggering", "Terminating", "Succeeded"),
        ]
        assert [step.later for step in steps] == [False] * 3 + [True] * 3
        assert steps[1].tone == "warn" and steps[2].now
        assert [attempt.times for attempt in steps[1].attempts] == [1, 2, 1]
        shown = text_of(response)
        assert "PUT /v1/apps no answer, 10 s" in shown.replace(" , ", ", ")
        assert "attempt 2" in shown and "request req-8c04" in shown and "200 in 412 ms" in shown

    def test_both_runs_are_linked_where_the_console_can_be_told(self, acme):
        acme.move.relocation.application_id = "made/here"
        acme.move.relocation.save(update_fields=["application_id"])
        client, address = acme.client("viewer"), acme.address("move")
        content = client.get(address).content.decode()
        assert f"{NOWHERE}/deployments/{acme.move.source_application_id}?tab=" in content
        assert f"{NOWHERE}/deployments/made%2Fhere?tab=" in content
        Connection.objects.update(base_url="https://tfy.example.org/proxied/svc")
        assert "/deployments/" not in client.get(address).content.decode()

    def test_the_jobs_other_moves_are_linked(self, acme):
        first = acme.move
        Move.objects.update(
            state="Succeeded",
            destination_run_id="made-1",
            destination_run_name="made-1",
            finished_at=timezone.now(),
        )
        later = MoveFactory.create(
            connection=acme.connection, lineage=first.lineage, hop=2, source_run_id="made-1"
        )
        client = acme.client("viewer")
        assert str(later.pk) in client.get(acme.address("move")).content.decode()
        assert str(first.pk) in client.get(reverse("move", args=[later.pk])).content.decode()

    def test_input_is_shown_to_nobody(self, acme):
        Move.objects.update(command='{"password": "hunter2"}')
        for who in ROLES:
            assert "hunter2" not in text_of(acme.client(who).get(acme.address("move")))

    def test_cancel_and_retry(self, acme):
        client = acme.client("member")
        response = client.post(acme.address("move-cancel"), {"reason": "not now"}, follow=True)
        assert told(response) == ["The move is cancelled; its run stays where it is."]
        acme.move.refresh_from_db()
        assert (acme.move.state, acme.move.reason) == (MoveState.CANCELLED, "CancelledByPerson")
        assert Activity.objects.get(verb="move.cancelled").reason == "not now"
        response = client.post(acme.address("move-retry"), {}, follow=True)
        assert told(response) == ["A move that is Cancelled needs no retry."]
        Move.objects.update(state="Failed", reason="RolloutFailed")
        client.post(acme.address("move-retry"), {"reason": "again"})
        acme.move.refresh_from_db()
        assert acme.move.state == MoveState.PLANNED

    def test_past_its_trigger_it_offers_no_cancel_and_refuses_one(self, acme):
        Move.objects.update(state="Triggering")
        client = acme.client("member")
        assert 'id="cancel"' not in client.get(acme.address("move")).content.decode()
        response = client.post(acme.address("move-cancel"), {"reason": "x"}, follow=True)
        assert "must be finished" in told(response)[0]

    def test_a_move_outlives_its_connection_and_config(self, acme):
        Move.objects.update(state="Failed", finished_at=timezone.now())
        acme.connection.delete()
        shown = text_of(acme.client("viewer").get(acme.address("move")))
        assert "Config deleted" in shown and f"deleted {NOWHERE}" in shown


class TestSweeps:
    def test_asking_for_one_makes_the_row_that_tracks_it(self, acme):
        client = acme.client("member")
        sent = {"organization": "acme", "dry_run": "yes"}
        response = client.post(reverse("sweep-request"), sent)
        row = Sweep.objects.get(finished_at=None)
        assert response.url == reverse("sweep", args=[row.pk])
        assert (row.by_person, row.dry_run, row.by_name) == (True, True, "member")
        shown = text_of(client.get(response.url))
        assert "Dry run of" in shown and "begins within seconds" in shown

    def test_an_organization_that_is_not_theirs_is_not_there(self, acme):
        foreign = OrganizationFactory.create()
        sent = {"organization": foreign.slug}
        assert acme.client("member").post(reverse("sweep-request"), sent).status_code == 404

    def test_who_is_in_several_is_asked_where(self, acme):
        other = OrganizationFactory.create(name="Other")
        user = acme.people["member"]
        MembershipFactory.create(user=user, organization=other, role="member")
        content = acme.client("member").get("/sweeps/").content.decode()
        assert 'id="sweep-dialog"' in content and "other" in content

    def test_each_source_says_what_stayed_and_why(self, acme):
        run = {"run": "run-7", "job": "left-job", "reason": "", "message": "Would move to b."}
        source = {
            **{"workspaceId": acme.config.source_workspace_id, "connection": "Acme plane"},
            **{"seen": 3, "stuck": 2, "planned": 1, "skipped": {"Cooldown": 2}, "runs": [run]},
            **{"error": "ClockSkew", "message": "99 s off."},
        }
        Sweep.objects.update(sources=[source], errors=1)
        shown = text_of(acme.client("viewer").get(acme.address("sweep")))
        assert "acme:training ClockSkew 99 s off. Acme plane 3 2 1 Cooldown 2" in shown
        assert "left-job run-7 Would move Would move to b." in shown

    @pytest.mark.parametrize("kind", ["", "asked", "dry", "busy", "nonsense"])
    def test_kinds(self, acme, kind):
        assert acme.client("viewer").get(f"/sweeps/?kind={kind}").status_code == 200


class TestPausing:
    @pytest.mark.parametrize("kind", ["connection", "config"])
    def test_pause_and_resume(self, acme, kind):
        scope = f"{kind}:{getattr(acme, kind).pk}"
        client = acme.client("admin")
        sent = {"scope": scope, "reason": "a new rack", "minutes": "60", "next": "/configs/?x=1"}
        response = client.post(reverse("pause"), sent)
        assert response.url == "/configs/?x=1"
        pause = Pause.objects.get()
        assert (pause.reason, pause.by_name) == ("a new rack", "admin")
        assert pause.until and pause.until > timezone.now() + timedelta(minutes=59)
        assert "Paused" in text_of(client.get("/configs/"))
        assert "a new rack" in text_of(client.get(acme.address(kind)))
        assert "paused already" in told(client.post(reverse("pause"), sent, follow=True))[-1]
        client.post(reverse("resume"), {"scope": scope})
        assert not Pause.objects.exists()
        again = client.post(reverse("resume"), {"scope": scope}, follow=True)
        assert told(again)[-1] == "It is not paused."

    def test_a_reason_is_needed(self, acme):
        sent = {"scope": f"connection:{acme.connection.pk}", "reason": "  "}
        response = acme.client("admin").post(reverse("pause"), sent, follow=True)
        assert told(response) == ["Give a reason: others will read it."]

    @pytest.mark.parametrize("scope", ["", "connection:", "connection:x", "user:1", "config"])
    def test_a_scope_that_is_none(self, acme, scope):
        sent = {"scope": scope, "reason": "x"}
        assert acme.client("owner").post(reverse("pause"), sent).status_code == 404

    def test_it_goes_back_to_this_site_only(self, acme):
        scope = f"connection:{acme.connection.pk}"
        sent = {"scope": scope, "reason": "x", "next": "https://elsewhere.example/"}
        assert acme.client("admin").post(reverse("pause"), sent).url == "/"


class TestActivity:
    def test_filters(self, acme):
        acme.client("admin").post(
            reverse("pause"), {"scope": f"config:{acme.config.pk}", "reason": "rack"}
        )
        client = acme.client("viewer")
        assert f"Paused {acme.config} rack" in text_of(client.get("/activity/"))
        for query in (
            "search=rack",
            "actor=user",
            "object=fallbackconfig",
            "days=",
            "days=x&actor=x",
        ):
            assert "rack" in text_of(client.get(f"/activity/rows/?{query}")), query
        for query in ("search=nothing", "actor=token", "object=move"):
            assert "Nothing to show" in text_of(client.get(f"/activity/rows/?{query}")), query
