"""Each constraint of accounts is tried: the database refuses what no verb should write."""

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction
from django.db.models import Model

from accounts.models import (
    Activity,
    Delivery,
    IdempotencyKey,
    Invite,
    Membership,
    Organization,
    Webhook,
)
from tests.calling import NOBODYS
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory, alike

pytestmark = pytest.mark.django_db


def _twice(model: type[Model], **fields: Any) -> None:
    model._default_manager.bulk_create([model(**fields), model(**fields)])


def _invite(**fields: Any) -> Invite:
    return Invite.objects.create(organization=OrganizationFactory.create(), **fields)


def _standing() -> None:
    first = _invite(code="a", code_hash="a", standing=True)
    Invite.objects.create(organization=first.organization, code="b", code_hash="b", standing=True)


def _webhook(name: str, organization: Organization | None = None) -> Webhook:
    return Webhook.objects.create(
        organization=organization or OrganizationFactory.create(),
        name=name,
        url="https://hooks.example.org",
    )


KEY = {"caller": NOBODYS, "method": "POST", "path": "/api/x", "key": "k", "body_digest": "d"}
WRONG: dict[str, list[Callable[[], object]]] = {
    "membership_once": [lambda: alike(MembershipFactory, "user_id", "organization_id")],
    "membership_role_known": [
        lambda: MembershipFactory.create(role="emperor"),
        lambda: MembershipFactory.create() and Membership.objects.update(role=""),
    ],
    "organization_name": [lambda: alike(OrganizationFactory, "name")],
    "user_email": [lambda: alike(UserFactory, "email")],
    "user_username": [lambda: alike(UserFactory, "username")],
    "activity_position_once": [lambda: _twice(Activity, organization_id=NOBODYS, position=1)],
    "activity_position_once_of_none": [lambda: _twice(Activity, position=1)],
    "idempotency_key_once": [lambda: _twice(IdempotencyKey, **KEY)],
    "invite_one_standing": [_standing],
    "invite_not_used_up_twice": [
        lambda: _invite(code="a", code_hash="a", most_uses=1, uses=2),
    ],
    "invite_role_known": [lambda: _invite(code="a", code_hash="a", role="emperor")],
    "webhook_name": [
        lambda: _webhook("HOOK", _webhook("hook").organization),
    ],
    "delivery_once": [
        lambda: _twice(Delivery, webhook=_webhook("hook"), activity_id=1, event="x", body="{}"),
    ],
}


def test_every_constraint_is_tried():
    models = apps.get_app_config("accounts").get_models()
    assert set(WRONG) == {str(one.name) for model in models for one in model._meta.constraints}


@pytest.mark.parametrize(
    ("name", "write"),
    [
        pytest.param(name, write, id=f"{name}-{number}")
        for name, writes in WRONG.items()
        for number, write in enumerate(writes)
    ],
)
def test_the_database_refuses(name, write):
    with pytest.raises(IntegrityError) as found, transaction.atomic():
        write()
    text = str(found.value)
    assert name in text or "UNIQUE constraint failed" in text, text
