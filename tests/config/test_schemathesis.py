"""The API against its own description: generated calls, good and bad, answered as described."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from accounts.models import Delivery, Membership
from fallback.simulator.client import Simulator
from tests.accounts.webhooking import make as make_webhook
from tests.factories import ConnectionFactory, InviteFactory, MembershipFactory, issue_token
from tests.fallback.factories import (
    FallbackConfigFactory,
    MoveFactory,
    MoveStepFactory,
    PauseFactory,
    SweepFactory,
)
from tests.fallback.simulating import serving

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
IDS = {"{id}", "{organization}", "{webhook}", "{message}"}  # in addresses
IN_CI, IN_SOAK = 300, 2000


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with serving() as found:
        found.seed(jobs=1, runsPerJob=1)
        yield found


@pytest.fixture(autouse=True)
def one_transaction() -> Iterator[None]:
    """As Django's own test client does: no request closes the connection of the test."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def rows(owner: Membership, simulator: Simulator, settings: Any) -> dict[str, str]:
    """One of everything, by the beginning of its address. Nothing else is ever called."""
    settings.TRUEFOUNDRY_ALLOWED_HOSTS = ["tfy.example.org"]
    remote = ConnectionFactory.create(
        organization=owner.organization, base_url=simulator.url, token=simulator.token
    )
    config = FallbackConfigFactory.create(connection=remote)
    move = MoveFactory.create(connection=remote, config=config)
    MoveStepFactory.create(move=move)
    source = {"clusterId": "a", "workspaceId": "b", "connection": "c", "error": "", "message": ""}
    counts = {"seen": 1, "stuck": 0, "planned": 0, "skipped": {"NotStuckYet": 1}, "runs": []}
    sweep = SweepFactory.create(organization=owner.organization, sources=[source | counts])
    pause = PauseFactory.create(connection=remote)
    webhook = make_webhook(owner.organization)
    delivery = Delivery.objects.create(webhook=webhook, event="move.failed", state="failed")
    found = {
        "connections": remote,
        "fallback-configs": config,
        "moves": move,
        "pauses": pause,
        "sweeps": sweep,
        "organizations": owner.organization,
        "members": MembershipFactory.create(organization=owner.organization),
        "invites": InviteFactory.create(organization=owner.organization),
        "tokens": issue_token(owner.user)[0],
        "webhooks": webhook,
    }
    ids = {name: str(row.pk) for name, row in found.items()}
    return ids | {"deliveries": str(delivery.message_id)}


def cases(operations: list[Any], rows: dict[str, str]) -> st.SearchStrategy[Case]:
    """A call that is as described, or not; of ids that are in an address half are real."""

    def with_an_id(drawn: tuple[Case, bool]) -> Case:
        case, real = drawn
        parts = case.path.split("/")  # '/api/webhooks/{webhook}/deliveries/{message}'
        for kind, name in pairwise(parts):
            if real and kind in rows and name in IDS:
                case.path_parameters[name.strip("{}")] = rows[kind]
        return case

    of_each = [
        st.tuples(operation.as_strategy(generation_mode=mode), st.booleans()).map(with_an_id)
        for operation in operations
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or operation.body or operation.query
    ]
    return st.one_of(of_each)


def run(count: int, owner: Membership, rows: dict[str, str]) -> None:
    schema = schemathesis.openapi.from_wsgi("/api/schema", get_wsgi_application())
    operations = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    _, secret = issue_token(owner.user)
    headers = {"Authorization": f"Bearer {secret}"}
    answered: dict[int, int] = {}

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(operations, rows))
    def call(case: Case) -> None:
        before = transaction.savepoint()  # each finds the rows as they were
        try:
            answer = case.call(headers=headers)
        finally:
            transaction.savepoint_rollback(before)
        answered[answer.status_code] = answered.get(answer.status_code, 0) + 1
        case.validate_response(answer, checks=CHECKS, headers=headers)

    function: Callable[[], None] = call
    function()
    told = ", ".join(f"{status} × {number}" for status, number in sorted(answered.items()))
    print(f"{sum(answered.values())} calls: {told}")  # noqa: T201
    assert sum(answered.values()) >= count
    assert {200, 400} <= set(answered)


@pytest.mark.django_db
def test_some_hundred_calls_are_answered_as_described(owner, rows):
    run(IN_CI, owner, rows)


@pytest.mark.soak
@pytest.mark.django_db
def test_some_thousand_calls_are_answered_as_described(owner, rows):
    run(IN_SOAK, owner, rows)
