"""Organizations and their members: who may what, and that an owner who can act is always left."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone

from accounts import belonging, live
from accounts.models import Activity, Invite, Membership, Organization, User
from config.base.actor import Actor
from config.base.problems import Conflict
from fallback.models import Connection, Move
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory, issue_token
from tests.fallback.factories import FallbackConfigFactory, MoveFactory, SweepFactory

pytestmark = pytest.mark.django_db
ROLES = ("viewer", "member", "admin", "owner")


def member(organization: Organization, role: str, **user: Any) -> Membership:
    return MembershipFactory.create(
        organization=organization, role=role, user=UserFactory.create(**user)
    )


def verbs() -> list[str]:
    return list(Activity.objects.order_by("id").values_list("verb", flat=True))


class TestCreating:
    def test_who_makes_one_owns_it(self, user):
        made = belonging.create(" Data & Analytics ", user.actor())
        assert (made.name, made.slug) == ("Data & Analytics", "data-analytics")
        assert Membership.objects.get().role == "owner"
        assert Invite.objects.get().standing
        assert user.actor().roles == {made.pk: "owner"}
        assert verbs() == ["organization.created"]

    def test_a_taken_name_in_any_case(self, user):
        belonging.create("Analytics", user.actor())
        with pytest.raises(Conflict) as caught:
            belonging.create("ANALYTICS", user.actor())
        assert caught.value.code == "NameTaken"

    def test_names_that_make_the_same_slug(self, user):
        slugs = {belonging.create(name, user.actor()).slug for name in ("A B", "A-B", "A.B")}
        assert len(slugs) == 3 and "a-b" in slugs

    @pytest.mark.parametrize("name", ["", " ", "🚀", "a" * 101, "<b>", "a\0b"])
    def test_a_bad_name(self, user, name):
        with pytest.raises(ValidationError) as caught:
            belonging.create(name, user.actor())
        assert list(caught.value.message_dict) == ["name"]

    def test_superusers_alone_where_it_is_set_so(self, user, settings):
        settings.ORGANIZATION_CREATE = "superuser"
        with pytest.raises(PermissionDenied):
            belonging.create("Analytics", user.actor())
        root = UserFactory.create(is_superuser=True)
        assert belonging.create("Analytics", root.actor())

    def test_a_token_that_may_only_read_makes_none(self, user):
        token, _ = issue_token(user, read_only=True)
        with pytest.raises(PermissionDenied):
            belonging.create("Analytics", token.actor())


class TestRenaming:
    def test_its_slug_stays(self, owner):
        before = owner.organization.slug
        belonging.rename(owner.organization, "Renamed", owner.user.actor(), "merger")
        found = Organization.objects.get()
        assert (found.name, found.slug) == ("Renamed", before)
        assert Activity.objects.get().change["name"][1] == "Renamed"

    def test_case_may_change_and_a_foreign_name_is_taken(self, owner):
        OrganizationFactory.create(name="Other")
        actor = owner.user.actor()
        belonging.rename(owner.organization, owner.organization.name.upper(), actor)
        with pytest.raises(Conflict):
            belonging.rename(owner.organization, "OTHER", actor)

    def test_nothing_is_told_where_nothing_changes(self, owner):
        belonging.rename(owner.organization, owner.organization.name, owner.user.actor())
        assert verbs() == []


class TestDeleting:
    def test_it_vanishes_and_its_name_is_free(self, owner):
        organization, actor = owner.organization, owner.user.actor()
        name = organization.name
        belonging.delete(organization, actor, name, "closed down")
        assert not Organization.objects.visible_to(Actor.system()).exists()
        assert owner.user.actor().organizations == frozenset()
        told = Activity.objects.get()
        assert (told.verb, told.object_name, told.reason) == (
            "organization.deleted",
            name,
            "closed down",
        )
        again = belonging.create(name, owner.user.actor())
        assert again.slug == organization.slug

    def test_the_name_is_typed(self, owner):
        with pytest.raises(ValidationError) as caught:
            belonging.delete(owner.organization, owner.user.actor(), "something else")
        assert list(caught.value.message_dict) == ["name"]
        assert Organization.objects.alive().exists()

    def test_not_while_moves_are_open(self, owner):
        config = FallbackConfigFactory.create(connection__organization=owner.organization)
        move = MoveFactory.create(connection=config.connection, config=config)
        with pytest.raises(Conflict) as caught:
            belonging.delete(owner.organization, owner.user.actor(), owner.organization.name)
        assert caught.value.code == "Running" and move.source_run_name in str(caught.value)
        assert Organization.objects.alive().get().name == owner.organization.name
        assert verbs() == []

    def test_everybody_of_it_hears(self, owner, monkeypatch):
        told: list[Any] = []
        monkeypatch.setattr(live, "rights_changed", told.append)
        other = member(owner.organization, "viewer")
        belonging.delete(owner.organization, owner.user.actor(), owner.organization.name)
        assert set(told) == {owner.user_id, other.user_id}


class TestPurging:
    def deleted(self, owner: Membership, days: float) -> None:
        at = timezone.now() - timedelta(days=days)
        Organization.objects.filter(pk=owner.organization_id).update(deleted_at=at)

    def test_after_thirty_days_everything_goes_but_activities(self, owner):
        organization, kept = owner.organization, OrganizationFactory.create()
        config = FallbackConfigFactory.create(connection__organization=organization)
        sweep = SweepFactory.create(organization=organization)
        MoveFactory.create(
            connection=config.connection, config=config, sweep=sweep, state="Succeeded"
        )
        belonging.rename(organization, "Renamed", owner.user.actor())
        self.deleted(owner, 29.9)
        assert belonging.purge() == 0
        self.deleted(owner, 30.1)
        assert belonging.purge() == 1
        assert list(Organization.objects.all()) == [kept]
        assert not (Move.objects.exists() or Connection.objects.exists())
        assert User.objects.filter(pk=owner.user_id).exists()
        assert verbs() == ["organization.changed", "organization.purged"]
        assert belonging.purge() == 0

    def test_what_still_runs_is_waited_for(self, owner):
        MoveFactory.create(connection__organization=owner.organization)
        self.deleted(owner, 31)
        assert belonging.purge() == 0
        assert Move.objects.exists()


class TestRoles:
    @pytest.mark.parametrize("acting", ["admin", "owner"])
    @pytest.mark.parametrize("target", ROLES)
    @pytest.mark.parametrize("wanted", ROLES)
    def test_nobody_touches_or_gives_what_is_above_them(self, owner, acting, target, wanted):
        actor = member(owner.organization, acting).user.actor()
        found = member(owner.organization, target)
        if acting == "admin" and "owner" in (target, wanted):
            with pytest.raises(PermissionDenied):
                belonging.change_role(found, wanted, actor)
            wanted = target
        else:
            belonging.change_role(found, wanted, actor, "because")
        found.refresh_from_db()
        assert found.role == wanted

    def test_it_is_told(self, owner, monkeypatch):
        told: list[Any] = []
        monkeypatch.setattr(live, "rights_changed", told.append)
        found = member(owner.organization, "viewer")
        belonging.change_role(found, "admin", owner.user.actor(), "promoted")
        entry = Activity.objects.get()
        assert (entry.verb, entry.change, entry.reason) == (
            "member.changed",
            {"role": ["viewer", "admin"]},
            "promoted",
        )
        assert told == [found.user_id]
        belonging.change_role(found, "admin", owner.user.actor())
        assert Activity.objects.count() == 1

    def test_rights_are_those_of_now_not_of_when_the_request_began(self, owner):
        admin = member(owner.organization, "admin")
        actor = admin.user.actor()
        Membership.objects.filter(pk=admin.pk).update(role="viewer")
        with pytest.raises(PermissionDenied):
            belonging.change_role(member(owner.organization, "member"), "viewer", actor)

    def test_somebody_who_has_gone(self, owner):
        found = member(owner.organization, "viewer")
        Membership.objects.filter(pk=found.pk).delete()
        with pytest.raises(Conflict):
            belonging.change_role(found, "admin", owner.user.actor())

    def test_an_unknown_role(self, owner):
        with pytest.raises(ValidationError):
            belonging.change_role(owner, "king", owner.user.actor())


class TestLastOwner:
    def test_cannot_be_demoted_removed_or_leave(self, owner):
        root = UserFactory.create(is_superuser=True).actor()
        for actor in (owner.user.actor(), root):
            for deed in (
                lambda actor=actor: belonging.change_role(owner, "admin", actor),
                lambda actor=actor: belonging.remove(owner, actor),
                lambda actor=actor: belonging.leave(owner, actor),
            ):
                with pytest.raises(Conflict) as caught:
                    deed()
                assert caught.value.code == "LastOwner"
        owner.refresh_from_db()
        assert owner.role == "owner" and verbs() == []

    def test_one_of_two_may_go(self, owner):
        other = member(owner.organization, "owner")
        belonging.leave(owner, owner.user.actor())
        assert verbs() == ["member.left"]
        with pytest.raises(Conflict):
            belonging.leave(other, other.user.actor())

    def test_a_deactivated_owner_does_not_count(self, owner):
        away = member(owner.organization, "owner", is_active=False)
        with pytest.raises(Conflict):
            belonging.leave(owner, owner.user.actor())
        belonging.remove(away, owner.user.actor())
        assert list(Membership.objects.all()) == [owner]

    def test_where_nobody_can_act_a_superuser_appoints_somebody(self, organization):
        away = member(organization, "owner", is_active=False)
        found, root = member(organization, "member"), UserFactory.create(is_superuser=True).actor()
        with pytest.raises(Conflict):
            belonging.remove(away, root)
        belonging.change_role(found, "owner", root)
        belonging.remove(away, root)
        assert list(Membership.objects.values_list("role", flat=True)) == ["owner"]

    def test_others_go_freely(self, owner):
        found = member(owner.organization, "viewer")
        belonging.leave(found, found.user.actor())
        admin = member(owner.organization, "admin")
        belonging.remove(admin, owner.user.actor(), "left the company")
        assert verbs() == ["member.left", "member.removed"]


class TestAdding:
    def test_by_an_administrator(self, organization, user):
        root = UserFactory.create(is_superuser=True).actor()
        made = belonging.add(user, organization, "owner", root)
        assert made.role == "owner" and verbs() == ["member.added"]
        with pytest.raises(Conflict):
            belonging.add(user, organization, "viewer", root)

    def test_not_to_a_deleted_organization(self, organization, user):
        Organization.objects.update(deleted_at=timezone.now())
        with pytest.raises(Conflict):
            belonging.add(user, organization, "viewer", Actor.system())
