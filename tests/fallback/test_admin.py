"""The admin as a whole: who gets in, every page of every model, bounded queries, wrong keys."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib import admin
from django.db import connection as database
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from accounts import activity
from accounts.models import (
    Activity,
    ApiToken,
    Chain,
    Delivery,
    Invite,
    Membership,
    Organization,
    User,
    Webhook,
)
from config.base.actor import Actor
from fallback.models import (
    Connection,
    FallbackConfig,
    Move,
    MoveStep,
    Pause,
    Relocation,
    Sweep,
)
from tests.administering import url
from tests.factories import (
    InviteFactory,
    MembershipFactory,
    OrganizationFactory,
    UserFactory,
    issue_token,
)
from tests.fallback.factories import (
    FallbackConfigFactory,
    MoveFactory,
    MoveStepFactory,
    PauseFactory,
    RelocationFactory,
    SweepFactory,
)

pytestmark = pytest.mark.django_db


def an_activity(number: int) -> Activity:
    organization = OrganizationFactory.create()
    actor = Actor.system("test")
    return activity.record(actor, "organization.created", organization, organization.pk)


def a_tick(number: int) -> PeriodicTask:
    every = IntervalSchedule.objects.create(every=1000 + number, period="seconds")
    return PeriodicTask.objects.create(name=f"tick {number}", interval=every, task="t")


def a_delivery(number: int) -> Delivery:
    webhook = Webhook.objects.create(
        organization=OrganizationFactory.create(),
        name=f"hook {number}",
        url="https://hooks.example.org",
    )
    return Delivery.objects.create(webhook=webhook, event="move.planned", body="{}")


# A row of each registered model, with all that its list shows.
ROWS: dict[type[Model], Callable[[int], Any]] = {
    User: lambda number: MembershipFactory.create().user,
    Organization: lambda number: MembershipFactory.create().organization,
    Membership: lambda number: MembershipFactory.create(),
    ApiToken: lambda number: issue_token(UserFactory.create())[0],
    Activity: an_activity,
    Chain: lambda number: Chain.objects.create(organization_id=uuid.UUID(int=number + 1)),
    Invite: lambda number: InviteFactory.create(),
    Webhook: lambda number: a_delivery(number).webhook,
    Delivery: lambda number: a_delivery(number),
    Connection: lambda number: PauseFactory.create().connection,
    FallbackConfig: lambda number: FallbackConfigFactory.create(destinations=2),
    Pause: lambda number: PauseFactory.create(connection=None, config=FallbackConfigFactory()),
    Move: lambda number: MoveFactory.create(
        config=FallbackConfigFactory(), sweep=SweepFactory(errors=1)
    ),
    MoveStep: lambda number: MoveStepFactory.create(),
    Relocation: lambda number: RelocationFactory.create(manifest={"env": {"A": "secret"}}),
    Sweep: lambda number: SweepFactory.create(errors=1),
    PeriodicTask: a_tick,
    IntervalSchedule: lambda number: IntervalSchedule.objects.create(
        every=2000 + number, period="seconds"
    ),
    CrontabSchedule: lambda number: CrontabSchedule.objects.create(hour=str(number)),
}
MODELS = pytest.mark.parametrize("model", ROWS, ids=lambda model: model._meta.label_lower)


def pages(row: Model) -> list[str]:
    found = [url(type(row), "changelist"), url(type(row), "change", row.pk)]
    if admin.site._registry[type(row)].has_add_permission(superuser_request()):
        found.append(url(type(row), "add"))
    return found


def superuser_request() -> Any:
    return type("Request", (), {"user": User(is_superuser=True)})()


def test_every_registered_model_is_looked_at_here():
    assert set(ROWS) == set(admin.site._registry)


@MODELS
def test_every_page_answers_a_superuser(root, model):
    row = ROWS[model](0)
    for page in [*pages(row), reverse("admin:index")]:
        response = root.get(page)
        assert response.status_code == 200, page
        assert b"tfy-token" not in response.content


@pytest.mark.parametrize(
    "who",
    [
        lambda: MembershipFactory.create(role="viewer").user,
        lambda: MembershipFactory.create(role="owner").user,
        lambda: UserFactory.create(is_staff=True),
        lambda: UserFactory.create(is_superuser=True, is_active=False),
        lambda: None,
    ],
    ids=["viewer", "owner", "staff", "inactive", "stranger"],
)
def test_nobody_else_gets_in(client, who):
    if user := who():
        client.force_login(user)
    for make in ROWS.values():
        for page in [*pages(make(0)), reverse("admin:index")]:
            for answer in (client.get(page), client.post(page, {"action": "retry"})):
                assert answer.status_code == 302, page
                assert answer["Location"] == f"/admin/login/?next={page}"


@MODELS
def test_the_queries_of_a_list_do_not_grow_with_its_rows(root, model):
    def queries() -> int:
        with CaptureQueriesContext(database) as found:
            assert root.get(url(model, "changelist")).status_code == 200
        return len(found)

    for number in range(10):
        ROWS[model](number)
    queries()  # fills caches
    few = queries()
    for number in range(10, 60):
        ROWS[model](number)
    assert queries() == few


@pytest.mark.parametrize("model", [Move, MoveStep, Activity])
def test_tables_that_grow_without_end_are_never_counted(root, model):
    ROWS[model](0)
    with CaptureQueriesContext(database) as found:
        root.get(url(model, "changelist"))
    assert not [query for query in found if "COUNT(" in query["sql"]]


@MODELS
def test_every_filter_and_search_works(root, model):
    row = ROWS[model](0)
    listing = url(model, "changelist")
    shown = root.get(listing)
    specs = shown.context["cl"].filter_specs
    names = [name for spec in specs for name in spec.expected_parameters()]
    for value in ("", "1", "2024-01-01", str(row.pk)):
        query = dict.fromkeys(names, value) | {"q": "some'thing 1"}
        assert root.get(listing, query, follow=True).status_code == 200, value
    for name in names:
        assert root.get(listing, {name: "x"}, follow=True).status_code == 200, name


@MODELS
def test_wrong_keys_break_no_page(root, model, settings):
    row = ROWS[model](0)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    for page in pages(row):
        assert root.get(page).status_code == 200, page


@MODELS
def test_a_row_that_is_not_there_is_told_of(root, model):
    row = ROWS[model](0)
    missing = url(model, "change", "00000000-0000-0000-0000-000000000000")
    assert root.get(missing).status_code == 302
    assert root.get(url(model, "history", row.pk), follow=True).status_code == 200


@pytest.mark.parametrize("model", [Move, MoveStep, Relocation, Sweep, Activity, ApiToken, Pause])
def test_what_a_state_machine_owns_is_read_only(root, model):
    row = ROWS[model](0)
    assert root.get(url(model, "add")).status_code == 403
    assert root.post(url(model, "change", row.pk), {}).status_code == 403
    assert root.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert model._default_manager.filter(pk=row.pk).exists()
