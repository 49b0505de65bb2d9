"""What people do with moves, what is held back, and what is told to whom."""

from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.core import mail
from django.db import connection
from django.db.models import Q
from django.utils import timezone
from pytest_django import Settings

from accounts.models import Activity, Organization
from config.base.actor import Actor
from config.base.problems import Conflict
from fallback import connecting, moving, pausing
from fallback.models import Connection, Move, MoveState, Relocation
from fallback.models.move import BEFORE_TRIGGER, CLOSED, DRIVEN, NEXT, OPEN
from tests.fallback.factories import (
    ConnectionFactory,
    FallbackConfigFactory,
    MoveFactory,
    PauseFactory,
    RelocationFactory,
)

pytestmark = pytest.mark.django_db
ADA = Actor(name="ada", sees_all=True)
S = MoveState


@pytest.mark.parametrize("state", BEFORE_TRIGGER)
def test_a_move_that_triggered_nothing_can_be_cancelled(state: str) -> None:
    move = MoveFactory.create(state=state)
    moving.cancel(move, ADA, "not needed")
    move.refresh_from_db()
    assert (move.state, move.reason) == (S.CANCELLED, "CancelledByPerson")
    assert move.finished_at and move.next_attempt_at is None
    told = Activity.objects.get(verb="move.cancelled")
    assert (told.actor_name, told.reason, told.change) == (
        "ada",
        "not needed",
        {"state": [state, "Cancelled"]},
    )
    assert [step.state for step in move.steps.all()] == ["Cancelled"]


@pytest.mark.parametrize("state", [S.TRIGGERING, S.VERIFYING, S.TERMINATING, *CLOSED])
def test_past_the_trigger_or_closed_it_cannot(state: str) -> None:
    move = MoveFactory.create(state=state)
    with pytest.raises(Conflict):
        moving.cancel(move, ADA)
    move.refresh_from_db()
    assert move.state == state
    assert not Activity.objects.exists()


def test_one_that_needs_a_person_can_be_cancelled_before_its_trigger_only() -> None:
    before = MoveFactory.create(state=S.NEEDS_ATTENTION, resume_state=S.CREATING)
    after = MoveFactory.create(state=S.NEEDS_ATTENTION, resume_state=S.VERIFYING)
    moving.cancel(before, ADA)
    assert before.state == S.CANCELLED
    with pytest.raises(Conflict, match="must be finished"):
        moving.cancel(after, ADA)


def test_a_move_that_went_on_meanwhile_is_not_cancelled() -> None:
    move = MoveFactory.create(state=S.CREATING)
    Move.objects.filter(pk=move.pk).update(state=S.TRIGGERING)
    with pytest.raises(Conflict, match="look again"):
        moving.cancel(move, ADA)
    assert Move.objects.get().state == S.TRIGGERING


def test_retry_resumes_at_the_step_that_broke() -> None:
    move = MoveFactory.create(state=S.NEEDS_ATTENTION, resume_state=S.TERMINATING)
    moving.retry(move, ADA)
    move.refresh_from_db()
    assert (move.state, move.resume_state, move.by_person) == (S.TERMINATING, "", True)
    assert move.next_attempt_at is not None


def test_retry_of_a_failed_move_begins_anew_with_its_deployment() -> None:
    relocation = RelocationFactory.create(state=Relocation.State.FAILED, message="no image")
    move = MoveFactory.create(
        state=S.FAILED, relocation=relocation, connection=relocation.connection
    )
    moving.retry(move, ADA)
    relocation.refresh_from_db()
    assert (move.state, relocation.state, relocation.message) == (S.PLANNED, "New", "")
    assert Move.objects.get().finished_at is None


def test_retry_yields_to_a_newer_move_of_the_run() -> None:
    failed = MoveFactory.create(state=S.FAILED)
    MoveFactory.create(
        connection=failed.connection, remote=failed.remote, source_run_id=failed.source_run_id
    )
    with pytest.raises(Conflict, match="Another move"):
        moving.retry(failed, ADA)
    failed.refresh_from_db()
    assert failed.state == S.FAILED


@pytest.mark.parametrize("state", [S.PLANNED, S.TERMINATING, S.SUCCEEDED, S.CANCELLED])
def test_others_need_no_retry(state: str) -> None:
    with pytest.raises(Conflict):
        moving.retry(MoveFactory.create(state=state), ADA)


def test_every_state_has_a_way_on_and_only_closed_ones_end() -> None:
    assert set(NEXT) == set(S)
    assert {state for state in S if not NEXT[state]} == {S.SUCCEEDED, S.CANCELLED}
    for state in DRIVEN:
        assert S.NEEDS_ATTENTION in NEXT[state]
    # Once a trigger was sent a move never fails: it might run at both ends or at none.
    assert all(S.FAILED not in NEXT[state] for state in set(OPEN) - set(BEFORE_TRIGGER))


def driven(settings: Settings, *, by_person: bool = False) -> set[Any]:
    held: Q = moving.held(by_person)
    return set(Move.objects.drivable(held).values_list("pk", flat=True))


def test_paused_moves_wait_but_those_past_their_trigger_are_finished(settings: Settings) -> None:
    settings.JOB_FALLBACK_ENABLED = True
    config = FallbackConfigFactory.create()
    here = {"connection": config.connection, "config": config}
    waits = MoveFactory.create(state=S.AWAITING_READY, **here)
    ends = MoveFactory.create(state=S.TERMINATING, **here)
    orphan = MoveFactory.create(config=None)  # its config was deleted: it runs on
    assert driven(settings) == {waits.pk, ends.pk, orphan.pk}
    for scope in ({"config": config, "connection": None}, {"connection": config.connection}):
        pause = PauseFactory.create(**scope)
        assert driven(settings) == {ends.pk, orphan.pk}
        pause.delete()
    everything = PauseFactory.create(connection=None)
    assert driven(settings) == {ends.pk}
    everything.until = timezone.now() - timedelta(seconds=1)
    everything.save()
    assert driven(settings) == {waits.pk, ends.pk, orphan.pk}


def test_a_connection_that_is_off_begins_nothing(settings: Settings) -> None:
    settings.JOB_FALLBACK_ENABLED = True
    off = ConnectionFactory.create(enabled=False)
    MoveFactory.create(connection=off)
    ends = MoveFactory.create(connection=off, state=S.VERIFYING)
    assert driven(settings) == {ends.pk}


def test_while_automation_is_off_only_what_people_asked_for_begins(settings: Settings) -> None:
    settings.JOB_FALLBACK_ENABLED = False
    planned = MoveFactory.create()
    asked = MoveFactory.create(by_person=True)
    assert driven(settings) == {asked.pk}
    assert driven(settings, by_person=True) == {planned.pk, asked.pk}


def test_a_rollout_that_ends_while_its_moves_are_taken_up() -> None:
    """Another worker writes it down between any two of our queries."""
    relocation = RelocationFactory.create(state=Relocation.State.ROLLING_OUT)
    move = MoveFactory.create(relocation=relocation, state=MoveState.AWAITING_READY)

    def others(execute: Any, sql: str, *context: Any) -> Any:
        found = execute(sql, *context)
        if sql.startswith("SELECT"):
            Relocation.objects.update(state=Relocation.State.ACTIVE)
        return found

    drive = moving._Drive(1, False, None, False, None)
    with connection.execute_wrapper(others):
        drive._load_relocations([move])
    assert set(drive.relocations) == {relocation.pk}


@pytest.mark.parametrize("behind", ["fallback_move", "fallback_relocation"])
def test_a_connection_that_is_deleted_while_its_moves_are_taken_up(behind: str) -> None:
    """Which takes that they are cancelled between two of our queries; the others go on."""
    remote = ConnectionFactory.create()
    gone = MoveFactory.create(connection=remote)
    stays = MoveFactory.create()
    begun: list[Any] = []
    left = [remote]

    def somebody(execute: Any, sql: str, *context: Any) -> Any:
        found = execute(sql, *context)
        if left and sql.startswith("SELECT") and f'FROM "{behind}"' in sql:
            left.pop()
            moving.cancel(gone, ADA)
            connecting.delete(remote, ADA)
        return found

    drive = moving._Drive(1, True, None, False, None)
    driver = Mock(begin=lambda journey, must_end, fault: begun.append(fault.args[0].pk))
    with connection.execute_wrapper(somebody):
        drive._begin(driver, 10)
    assert (begun, left) == ([stays.pk], [])


def test_two_claims_never_share_a_row() -> None:
    for _ in range(5):
        MoveFactory.create()
    now = timezone.now()
    first, taken = Move.objects.all().claim(now, timedelta(seconds=60), limit=3)
    second, rest = Move.objects.all().claim(now, timedelta(seconds=60), limit=3)
    assert (taken, rest) == (3, 2)
    assert Move.objects.filter(lease=first).count() == 3
    assert Move.objects.filter(lease=second).count() == 2
    assert Move.objects.all().claim(now, timedelta(seconds=60))[1] == 0
    later = now + timedelta(seconds=61)
    assert Move.objects.all().claim(later, timedelta(seconds=60))[1] == 5


def test_administrators_hear_once_of_what_needs_a_person(settings: Settings) -> None:
    settings.ADMINS = [("Ada", "ada@example.org")]
    MoveFactory.create(
        state=S.NEEDS_ATTENTION,
        reason="AnswerLost",
        message="2 runs could be it.",
        command="s3cr3t",
    )
    MoveFactory.create()
    assert moving.mail_those_that_need_a_person() == 1
    assert moving.mail_those_that_need_a_person() == 0
    (sent,) = mail.outbox
    assert sent.to == ["ada@example.org"]
    assert "AnswerLost. 2 runs could be it." in sent.body
    assert "s3cr3t" not in sent.body


def test_mail_that_could_not_be_sent_is_sent_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ADMINS = [("Ada", "ada@example.org")]
    backend = settings.EMAIL_BACKEND
    MoveFactory.create(state=S.NEEDS_ATTENTION)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    moving.mail_those_that_need_a_person()
    assert Move.objects.get().mailed_at is None
    settings.EMAIL_BACKEND = backend
    moving.mail_those_that_need_a_person()
    assert len(mail.outbox) == 1


def test_pausing_twice_is_a_conflict_and_so_is_resuming_what_runs() -> None:
    connection = ConnectionFactory.create()
    pausing.pause(connection, ADA, "upgrade")
    with pytest.raises(Conflict):
        pausing.pause(connection, ADA, "again")
    pausing.pause(None, ADA, "all of it")
    with pytest.raises(Conflict):
        pausing.pause(None, ADA, "again")
    pausing.resume(connection, ADA)
    pausing.resume(None, ADA)
    with pytest.raises(Conflict):
        pausing.resume(None, ADA)
    verbs = list(Activity.objects.order_by("pk").values_list("verb", flat=True))
    assert verbs == ["fallback.paused"] * 2 + ["fallback.resumed"] * 2


def test_a_pause_that_ran_out_gives_way() -> None:
    config = FallbackConfigFactory.create()
    PauseFactory.create(connection=None, config=config, until=timezone.now() - timedelta(minutes=1))
    assert pausing.pause(config, ADA, "once more").reason == "once more"


def test_a_connection_with_open_moves_stays_and_one_with_ended_moves_may_go() -> None:
    connection = ConnectionFactory.create()
    move = MoveFactory.create(connection=connection)
    with pytest.raises(Conflict, match=move.source_run_name):
        connecting.delete(connection, ADA)
    moving.cancel(move, ADA)
    connecting.delete(connection, ADA)
    assert not Connection.objects.exists()
    kept = Move.objects.get()
    assert (kept.connection, kept.relocation, kept.state) == (None, None, S.CANCELLED)


def test_a_refused_token_is_told_once(organization: Organization) -> None:
    connection = ConnectionFactory.create(organization=organization)
    assert connecting.mark(connection, "unauthorized", "refused")
    assert not connecting.mark(connection, "unauthorized", "refused")
    assert Activity.objects.filter(verb="connection.unauthorized").count() == 1


def test_a_refused_token_that_has_been_replaced_says_nothing_of_the_new_one(
    organization: Organization,
) -> None:
    before = ConnectionFactory.create(organization=organization, token="old")
    Connection.objects.filter(pk=before.pk).update(token="new", state="unknown")
    assert not connecting.mark(before, "unauthorized", "refused")
    assert Connection.objects.get().state == "unknown"
    assert not Activity.objects.exists()


def test_hosts_outside_the_list_need_a_superuser(settings: Settings) -> None:
    from django.core.exceptions import ValidationError

    settings.TRUEFOUNDRY_ALLOWED_HOSTS = ["tfy.example.org"]
    connection = ConnectionFactory.build(
        organization=ConnectionFactory.create().organization, base_url="https://other.example.org"
    )
    with pytest.raises(ValidationError) as caught:
        connecting.save(connection, Actor(name="admin"))
    assert list(caught.value.message_dict) == ["base_url"]
    connecting.save(connection, ADA)
    assert Activity.objects.get().verb == "connection.created"
