"""People, organizations, roles, tokens."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts import activity
from accounts.models import Activity, ApiToken, Membership, Organization, User
from accounts.roles import LEAST, RANK, Role, may
from config.base.actor import Actor
from tests.factories import (
    PASSWORD,
    MembershipFactory,
    OrganizationFactory,
    UserFactory,
    issue_token,
)

pytestmark = pytest.mark.django_db


class TestUniqueness:
    """By the database, so that two requests at once cannot both win."""

    @pytest.mark.parametrize(
        ("factory", "field", "first", "second"),
        [
            (UserFactory, "email", "ada@example.org", "ADA@Example.org"),
            (UserFactory, "username", "ada", "Ada"),
            (OrganizationFactory, "name", "Analytics", "ANALYTICS"),
        ],
    )
    def test_case_does_not_make_a_difference(self, factory, field, first, second):
        factory.create(**{field: first})
        with pytest.raises(IntegrityError), transaction.atomic():
            factory.create(**{field: second})

    def test_one_membership_in_an_organization(self, owner):
        with pytest.raises(IntegrityError), transaction.atomic():
            MembershipFactory.create(user=owner.user, organization=owner.organization)

    def test_a_role_is_one_of_the_four(self):
        with pytest.raises(IntegrityError), transaction.atomic():
            MembershipFactory.create(role="emperor")

    def test_validation_says_it_first(self):
        UserFactory.create(username="ada", email="ada@example.org")
        with pytest.raises(ValidationError, match="taken"):
            User(username="ADA", email="other@example.org", password="x").full_clean()


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a@b", "a\n", "é", "a" * 65, "<b>"])
def test_a_bad_user_name_is_refused(name):
    with pytest.raises(ValidationError, match="username"):
        User(username=name, email="a@example.org", password="x").full_clean()


@pytest.mark.parametrize("name", ["", " a", "<script>", "a\nb", "🚀", "a" * 101])
def test_a_bad_organization_name_is_refused(name):
    with pytest.raises(ValidationError, match="name"):
        Organization(name=name).full_clean()


def test_organizations_with_names_alike_get_slugs_of_their_own():
    one = OrganizationFactory.create(name="Data & Co")
    two = OrganizationFactory.create(name="Data Co")
    assert one.slug == "data-co"
    assert two.slug.startswith("data-co-")


class TestSignIn:
    @pytest.mark.parametrize("name", ["ada", "ADA", "ada@example.org", "Ada@Example.ORG"])
    def test_by_name_or_email_without_case(self, name):
        user = UserFactory.create(username="ada", email="ada@example.org")
        assert authenticate(username=name, password=PASSWORD) == user

    @pytest.mark.parametrize(
        ("name", "password"), [("ada", "wrong"), ("bob", PASSWORD), ("", PASSWORD), ("ada", None)]
    )
    def test_not_with_anything_wrong(self, name, password):
        UserFactory.create(username="ada")
        assert authenticate(username=name, password=password) is None

    def test_not_when_deactivated(self):
        UserFactory.create(username="ada", is_active=False)
        assert authenticate(username="ada", password=PASSWORD) is None


class TestActor:
    def test_it_sees_its_organizations_and_no_other(self, owner):
        OrganizationFactory.create()
        actor = owner.user.actor(request_id="r1", address="192.0.2.1")
        assert actor.roles == {owner.organization_id: Role.OWNER}
        assert actor.kind == "user"
        assert (actor.request_id, actor.address) == ("r1", "192.0.2.1")
        assert list(Organization.objects.visible_to(actor)) == [owner.organization]

    def test_a_superuser_sees_all(self):
        organizations = {OrganizationFactory.create(), OrganizationFactory.create()}
        actor = UserFactory.create(is_superuser=True).actor()
        assert set(Organization.objects.visible_to(actor)) == organizations

    def test_a_deleted_organization_is_seen_by_nobody(self, owner):
        Organization.objects.update(deleted_at=timezone.now())
        assert owner.user.actor().roles == {}
        assert not Organization.objects.visible_to(Actor.system()).exists()

    def test_a_deactivated_person_sees_nothing(self, owner):
        user = owner.user
        user.is_active, user.is_superuser = False, True
        actor = user.actor()
        assert (actor.sees_all, actor.roles, actor.read_only) == (False, {}, True)
        assert not Organization.objects.visible_to(actor).exists()


class TestRoles:
    @given(st.sampled_from(sorted(LEAST)), st.sampled_from(list(Role)))
    def test_a_role_may_what_the_table_says(self, verb, role):
        organization_id = uuid.uuid4()
        actor = Actor("ada", user_id=uuid.uuid4(), roles={organization_id: role})
        assert may(actor, verb, organization_id) == (RANK[role] >= RANK[LEAST[verb]])
        assert not may(actor, verb, uuid.uuid4())

    @given(st.sampled_from(sorted(LEAST)))
    def test_read_only_may_read(self, verb):
        actor = Actor("ada", sees_all=True, read_only=True)
        assert may(actor, verb, uuid.uuid4()) == (LEAST[verb] == Role.VIEWER)

    def test_an_unknown_verb_is_a_mistake(self):
        with pytest.raises(KeyError):
            may(Actor.system(), "no.such", uuid.uuid4())


class TestApiToken:
    def usable(self) -> list[ApiToken]:
        return list(ApiToken.objects.usable(timezone.now()))

    def test_the_secret_is_shown_once_and_stored_as_a_hash(self, user):
        token, secret = issue_token(user)
        row = ApiToken.objects.values().get()
        assert secret.startswith(row["prefix"])
        assert secret not in str(row.values())
        assert ApiToken.objects.get(digest=ApiToken.digest_of(secret)) == token

    def test_an_expired_a_revoked_and_a_deactivated_persons_token_are_not_usable(self, user):
        now = timezone.now()
        good, _ = issue_token(user, expires_at=now + timedelta(hours=1))
        expired, _ = issue_token(user)
        ApiToken.objects.filter(pk=expired.pk).update(expires_at=now - timedelta(seconds=1))
        revoked, _ = issue_token(user)
        ApiToken.objects.filter(pk=revoked.pk).update(revoked_at=now)
        issue_token(UserFactory.create(is_active=False))
        assert self.usable() == [good]

    def test_an_expiry_in_the_past_is_refused(self, user):
        with pytest.raises(ValidationError, match="expires_at"):
            issue_token(user, expires_at=timezone.now() - timedelta(seconds=1))

    def test_it_acts_as_its_user(self, owner):
        token, _ = issue_token(owner.user)
        actor = token.actor()
        assert actor.kind == "token"
        assert (actor.user_id, actor.token_id) == (owner.user_id, token.pk)
        assert actor.roles == {owner.organization_id: Role.OWNER}

    def test_read_only(self, owner):
        token, _ = issue_token(owner.user, read_only=True)
        assert not may(token.actor(), "sweep.run", owner.organization_id)
        assert may(token.actor(), "read", owner.organization_id)

    def test_bound_to_one_organization_it_sees_that_alone(self, owner):
        MembershipFactory.create(user=owner.user)
        User.objects.filter(pk=owner.user_id).update(is_superuser=True)
        owner.user.refresh_from_db()
        token, _ = issue_token(owner.user, organization=owner.organization)
        actor = token.actor()
        assert not actor.sees_all
        assert list(Organization.objects.visible_to(actor)) == [owner.organization]

    def test_it_cannot_be_bound_to_a_foreign_organization(self, user):
        with pytest.raises(ValidationError, match="organization"):
            issue_token(user, organization=OrganizationFactory.create())

    def test_a_membership_lost_is_lost_to_the_token_too(self, owner):
        token, _ = issue_token(owner.user, organization=owner.organization)
        Membership.objects.all().delete()
        assert token.actor().roles == {}

    def test_a_deactivated_persons_token_sees_nothing(self, owner):
        token, _ = issue_token(owner.user)
        token.user.is_active = False
        actor = token.actor()
        assert (actor.roles, actor.sees_all, actor.read_only) == ({}, False, True)


class TestActivity:
    def test_it_keeps_who_what_and_why_without_the_secret(self, owner):
        actor = owner.user.actor(request_id="r1")
        change = {"token": ["old-secret", "new-secret"], "name": ["a", "b"]}
        activity.record(
            actor, "x.changed", owner.organization, owner.organization_id, change, "as agreed"
        )
        row = Activity.objects.get()
        assert (row.actor_name, row.verb, row.reason) == (
            owner.user.username,
            "x.changed",
            "as agreed",
        )
        assert (row.object_kind, row.object_id) == ("organization", str(owner.organization_id))
        assert row.change["name"] == ["a", "b"]
        assert "secret" not in str(row.change["token"])

    def test_it_is_seen_by_members_only(self, owner):
        activity.record(Actor.system(), "x", owner.organization, owner.organization_id)
        activity.record(Actor.system(), "x", owner.organization, None)
        assert Activity.objects.visible_to(owner.user.actor()).count() == 1
        assert Activity.objects.visible_to(UserFactory.create().actor()).count() == 0
        assert Activity.objects.visible_to(Actor.system()).count() == 2

    def test_changed_keeps_what_differs(self):
        before, after = {"a": 1, "b": 2}, {"a": 1, "b": 3, "c": None}
        assert activity.changed(before, after) == {"b": [2, 3]}
