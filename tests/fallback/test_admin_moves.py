"""Moves and sweeps in the admin: the same verbs as everywhere, nobody's secrets."""

import pytest
from celery import current_app
from cryptography.fernet import Fernet
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from accounts.models import Activity
from fallback.models import (
    Connection,
    Move,
    MoveStep,
    Relocation,
    Sweep,
)
from tests.administering import act, messages, url
from tests.fallback.factories import (
    ConnectionFactory,
    FallbackConfigFactory,
    MoveFactory,
    MoveStepFactory,
    RelocationFactory,
)

pytestmark = pytest.mark.django_db


class TestMoves:
    def test_each_is_retried_or_told_why_not(self, root):
        failed = MoveFactory.create(state="Failed")
        waiting = MoveFactory.create(state="NeedsAttention")
        done = MoveFactory.create(state="Succeeded")
        asked = act(root, "retry", failed, waiting, done)
        assert b"Retry moves" in asked.content
        assert not Activity.objects.exists()
        response = act(root, "retry", failed, waiting, done, answered="1", reason="try again")
        told = messages(response)
        assert told[-1] == "2 moves: goes on."
        assert any(text.startswith(f"{done}: ") for text in told)
        states = dict(Move.objects.values_list("pk", "state"))
        assert (states[failed.pk], states[waiting.pk]) == ("Planned", "Triggering")
        assert {found.actor_name for found in Activity.objects.all()} == {"root"}

    def test_cancelling_is_refused_past_the_trigger(self, root):
        planned = MoveFactory.create()
        past = MoveFactory.create(state="Terminating")
        response = act(root, "cancel", planned, past, answered="1", reason="no")
        assert any("must be finished" in text for text in messages(response))
        states = dict(Move.objects.values_list("pk", "state"))
        assert (states[planned.pk], states[past.pk]) == ("Cancelled", "Terminating")
        assert Activity.objects.get().reason == "no"

    def test_a_page_offers_what_makes_sense(self, root):
        for state, retry, cancel in [
            ("Planned", False, True),
            ("Terminating", False, False),
            ("Failed", True, False),
            ("Succeeded", False, False),
        ]:
            move = MoveFactory.create(state=state)
            page = root.get(url(Move, "change", move.pk)).content.decode()
            assert (url(Move, "retry", move.pk) in page) is retry, state
            assert (url(Move, "cancel", move.pk) in page) is cancel, state

    def test_secrets_show_nowhere(self, root):
        relocation = RelocationFactory.create(manifest={"env": {"KEY": "manifest-secret"}})
        move = MoveFactory.create(
            connection=relocation.connection, relocation=relocation, command="command-secret"
        )
        for page in (
            url(Move, "changelist"),
            url(Move, "change", move.pk),
            url(Relocation, "changelist"),
            url(Relocation, "change", relocation.pk),
        ):
            content = root.get(page).content
            assert b"-secret" not in content and b"tfy-token" not in content, page

    def test_its_steps_are_bounded_and_in_order(self, root):
        move = MoveFactory.create()
        MoveStep.objects.bulk_create(
            MoveStepFactory.build(move=move, state="Planned", message=f"step-{number:03d}.")
            for number in range(150)
        )
        page = root.get(url(Move, "change", move.pk)).content.decode()
        assert "step-149." in page and "step-050." in page and "step-049." not in page
        assert page.index("step-050.") < page.index("step-149.")
        assert "All steps" in page
        steps = url(MoveStep, "changelist")
        assert root.get(steps, {"move__id__exact": str(move.pk)}).status_code == 200

    def test_a_move_whose_connection_was_deleted_is_still_shown(self, root):
        move = MoveFactory.create(state="Failed")
        Connection.objects.all().delete()
        assert root.get(url(Move, "change", move.pk)).status_code == 200
        assert root.get(url(Move, "changelist")).status_code == 200


class TestSweeps:
    def test_sweep_now_plans_and_tells(self, root, connection, seeded):
        source, place = seeded["source"], seeded["destinations"][0]
        FallbackConfigFactory.create(
            connection=connection,
            source_cluster_id=source["clusterId"],
            source_workspace_id=source["workspaceId"],
            destinations=[
                {
                    "cluster_id": place["clusterId"],
                    "workspace_id": place["workspaceId"],
                    "workspace_fqn": place["fqn"],
                }
            ],
        )
        answer = {"answered": "1", "organization": str(connection.organization_id)}

        response = root.post(url(Sweep, "dry_run"), answer, follow=True)
        told = messages(response)
        assert "4 stuck, 4 would be planned" in told[0]
        assert told[1].count("Would move to") == 4
        assert not Move.objects.exists() and not Sweep.objects.exists()

        response = root.post(url(Sweep, "sweep_now"), answer, follow=True)
        assert "4 stuck, 4 planned" in messages(response)[0]
        sweep = Sweep.objects.get()
        assert (sweep.by_person, sweep.by_name) == (True, "root")
        assert set(Move.objects.values_list("state", "by_person")) == {("Planned", True)}
        assert {found.actor_name for found in Activity.objects.filter(verb="move.planned")} == {
            "root"
        }
        assert b"Sources" in root.get(url(Sweep, "change", sweep.pk)).content

    def test_a_source_that_cannot_be_listed_is_told_of(self, root):
        connection = ConnectionFactory.create(base_url="http://127.0.0.1:9/api/svc")
        FallbackConfigFactory.create(connection=connection)
        answer = {"answered": "1", "organization": str(connection.organization_id)}
        response = root.post(url(Sweep, "sweep_now"), answer, follow=True)
        assert any("Unreachable" in text for text in messages(response))

    def test_only_organizations_with_a_usable_connection_can_be_chosen(self, root, organization):
        response = root.post(
            url(Sweep, "sweep_now"), {"answered": "1", "organization": str(organization.pk)}
        )
        assert list(response.context["form"].errors) == ["organization"]

    def test_the_list_says_why_nothing_starts_by_itself(self, root):
        assert b"JOB_FALLBACK_ENABLED is off" in root.get(url(Sweep, "changelist")).content


@pytest.mark.parametrize("page", ["sweep_now", "dry_run"])
def test_wrong_keys_are_told(root, connection, settings, page):
    FallbackConfigFactory.create(connection=connection)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    answer = {"answered": "1", "organization": str(connection.organization_id)}
    response = root.post(url(Sweep, page), answer, follow=True)
    assert any("ENCRYPTION_KEYS" in text for text in messages(response))
    response = act(root, "test", connection, answered="1")
    assert "ENCRYPTION_KEYS" in messages(response)[0]


def test_a_tick_is_changed_and_never_deleted(root):
    tick = PeriodicTask.objects.get(name="sweep")
    every = IntervalSchedule.objects.create(every=77, period="seconds")
    data = {"name": "sweep", "task": tick.task, "interval": str(every.pk), "enabled": "on"}
    data |= {"args": "[]", "kwargs": "{}", "expire_seconds": "300"}
    response = root.post(url(PeriodicTask, "change", tick.pk), data)
    assert response.status_code == 302, response.context["adminform"].errors
    tick.refresh_from_db()
    assert tick.interval == every
    found = Activity.objects.get(verb="periodictask.changed")
    assert found.actor_name == "root" and "interval" in found.change
    assert root.post(url(PeriodicTask, "delete", tick.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    ("model", "fields", "wrong"),
    [
        (PeriodicTask, {"task": "a" * 5000}, "task"),
        (PeriodicTask, {"args": "[" * 3000}, "args"),
        (PeriodicTask, {"start_time_0": "9999-12-31", "start_time_1": "12:00"}, "start_time"),
        (PeriodicTask, {"expires_0": "9999-12-31", "expires_1": "12:00"}, "expires"),
        (CrontabSchedule, {"minute": "-1"}, "minute"),
    ],
)
def test_nonsense_is_said_at_its_field(root, model, fields, wrong):
    response = root.post(url(model, "add"), fields)
    assert response.status_code == 200
    assert wrong in response.context["adminform"].errors


def test_who_switches_ticks_off_and_on_is_written_down(root):
    tick = PeriodicTask.objects.get(name="sweep")
    selected = {ACTION_CHECKBOX_NAME: [str(tick.pk)]}
    for action in ("disable_tasks", "disable_tasks", "enable_tasks"):
        root.post(url(PeriodicTask, "changelist"), {"action": action, **selected})
    rows = Activity.objects.filter(verb="periodictask.changed", object_id=str(tick.pk))
    told = [row.change["enabled"] for row in rows.order_by("id")]
    assert told == [[True, False], [False, True]]
    tick.refresh_from_db()
    assert tick.enabled


def test_the_sidebar_finds_models(root):
    assert b"Moves" in root.get("/admin/search/", {"s": "move"}).content


def test_a_tick_cannot_be_sent_while_the_broker_is_away(root):
    tick = PeriodicTask.objects.get(name="prune")
    data = {"action": "run_tasks", ACTION_CHECKBOX_NAME: [str(tick.pk)]}
    page = url(PeriodicTask, "changelist")
    assert "broker is away" in messages(root.post(page, data, follow=True))[0]
    assert not Activity.objects.filter(verb="periodictask.run").exists()


def test_a_tick_that_is_sent_by_hand_is_written_down(root, monkeypatch):
    monkeypatch.setitem(current_app.conf, "task_always_eager", True)  # here, without a broker
    tick = PeriodicTask.objects.get(name="prune")
    data = {"action": "run_tasks", ACTION_CHECKBOX_NAME: [str(tick.pk)]}
    root.post(url(PeriodicTask, "changelist"), data)
    assert Activity.objects.get(verb="periodictask.run").object_name == str(tick)[:200]
