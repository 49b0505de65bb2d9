"""Many at once, with real threads and transactions: invites let in no more than they say, and an
organization keeps its last owner. On SQLite and PostgreSQL."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from accounts import belonging, joining, signing_up
from accounts.models import Activity, Invite, Membership, Organization, User
from config.base.problems import Conflict
from tests.accounts import at_once
from tests.factories import (
    PASSWORD,
    InviteFactory,
    MembershipFactory,
    OrganizationFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db(transaction=True)
KNOWN = (Conflict, joining.Unusable, PermissionDenied)


@pytest.fixture(autouse=True)
def _shared() -> Iterator[None]:
    with at_once.shared():
        yield


def told(deeds: Sequence[Callable[[], Any]]) -> Counter[str]:
    """Do all of them together; what became of them: 'done', or the code of what was refused."""
    found: Counter[str] = Counter()
    for answer in at_once.at_once(list(deeds)):
        if not isinstance(answer, Exception):
            found["done"] += 1
        elif isinstance(answer, KNOWN):
            found[getattr(answer, "code", type(answer).__name__)] += 1
        else:
            raise answer
    return found


def test_fifty_join_on_a_code_with_ten_uses():
    invite = InviteFactory.create(most_uses=10)
    actors = [user.actor() for user in UserFactory.create_batch(50)]
    answers = told([partial(joining.join, invite.code, actor) for actor in actors])
    assert answers == {"done": 10, "InviteUsedUp": 40}
    invite.refresh_from_db()
    assert invite.uses == Membership.objects.count() == 10
    assert Activity.objects.filter(verb="member.joined").count() == 10


def test_twenty_sign_up_by_a_code_with_three_uses(settings):
    settings.SIGNUP = "invite"
    invite = InviteFactory.create(most_uses=3)
    deeds = [
        partial(signing_up.sign_up, f"{name}@example.org", name, PASSWORD, code=invite.code)
        for name in (f"ada{number}" for number in range(20))
    ]
    assert told(deeds) == {"done": 3, "NotOpen": 17}
    assert User.objects.count() == 3
    for user in User.objects.all():
        joining.join(invite.code, user.actor())


def test_the_same_person_joins_ten_times_and_uses_one():
    invite = InviteFactory.create(most_uses=10)
    actor = UserFactory.create().actor()
    answers = told([partial(joining.join, invite.code, actor)] * 10)
    assert answers == {"done": 1, "AlreadyMember": 9}
    invite.refresh_from_db()
    assert invite.uses == Membership.objects.count() == 1


def test_twenty_demotions_of_two_owners_leave_one():
    organization = OrganizationFactory.create()
    both = MembershipFactory.create_batch(2, organization=organization, role="owner")
    root = UserFactory.create(is_superuser=True).actor()
    deeds: list[Callable[[], Any]] = [
        partial(belonging.change_role, owner, "member", root) for owner in both for _ in range(10)
    ]
    random.Random(1).shuffle(deeds)
    answers = told(deeds)
    # Whoever is demoted again is a member already, which changes nothing.
    assert set(answers) <= {"done", "LastOwner"}
    assert Membership.objects.filter(role="owner").count() == 1
    assert Activity.objects.filter(verb="member.changed").count() == 1


def test_two_owners_who_demote_remove_and_leave_each_other_keep_one():
    for _ in range(5):
        organization = OrganizationFactory.create()
        one, two = MembershipFactory.create_batch(2, organization=organization, role="owner")
        first, second = one.user.actor(), two.user.actor()
        told(
            [
                partial(belonging.change_role, one, "viewer", second),
                partial(belonging.remove, two, first),
                partial(belonging.leave, one, first),
                partial(belonging.leave, two, second),
            ]
        )
        assert Membership.objects.filter(organization=organization, role="owner").count() == 1


def test_a_name_is_taken_once():
    actors = [user.actor() for user in UserFactory.create_batch(8)]
    answers = told([partial(belonging.create, "Analytics", actor) for actor in actors])
    assert answers == {"done": 1, "NameTaken": 7}
    assert Membership.objects.get().role == "owner"


def test_names_of_one_slug_are_all_made():
    names = ["A B", "A-B"]
    actors = [user.actor() for user in UserFactory.create_batch(2)]
    deeds = [
        partial(belonging.create, name, actor) for name, actor in zip(names, actors, strict=True)
    ]
    assert told(deeds) == {"done": 2}
    assert Organization.objects.count() == 2


def test_an_email_and_a_user_name_are_taken_once():
    deeds = [
        partial(
            signing_up.sign_up,
            "ADA@example.org" if number % 2 else "ada@example.org",
            f"ada{number}",
            PASSWORD,
        )
        for number in range(8)
    ]
    answers = told(deeds)
    assert answers == {"done": 1, "EmailTaken": 7}
    deeds = [
        partial(signing_up.sign_up, f"bob{number}@example.org", "Bob", PASSWORD)
        for number in range(8)
    ]
    assert told(deeds) == {"done": 1, "UsernameTaken": 7}
    assert User.objects.count() == 2


def test_a_code_is_rotated_by_ten_and_one_stands():
    owner = MembershipFactory.create(role="owner")
    joining.standing([owner.organization_id])
    actor = owner.user.actor()
    answers = told([partial(joining.rotate, owner.organization, actor)] * 10)
    assert set(answers) <= {"done", "Stale"} and answers["done"]
    assert Invite.objects.filter(standing=True, revoked_at=None).count() == 1
    assert Activity.objects.filter(verb="invite.rotated").count() == answers["done"]


def test_the_first_ten_who_look_find_the_same_code():
    organization = OrganizationFactory.create()
    codes: list[str] = []
    answers = told(
        [lambda: codes.append(joining.standing([organization.pk])[organization.pk].code)] * 10
    )
    assert answers == {"done": 10} and len(set(codes)) == 1
