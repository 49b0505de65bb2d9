"""People in the admin: signing in, accounts, roles, tokens, and what was done with them."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts import activity, joining
from accounts.models import Activity, ApiToken, Invite, Membership, Organization, User
from config.base.actor import Actor
from tests.administering import act, messages, url
from tests.factories import (
    PASSWORD,
    InviteFactory,
    MembershipFactory,
    OrganizationFactory,
    UserFactory,
    issue_token,
)

pytestmark = pytest.mark.django_db


def active(user: User) -> bool:
    return User.objects.get(pk=user.pk).is_active


def verbs() -> list[tuple[str, str]]:
    return list(Activity.objects.order_by("id").values_list("verb", "object_name"))


class TestSigningIn:
    page = "/admin/login/?next=/admin/"

    @pytest.mark.parametrize("name", ["root", "ROOT", "root@example.org"])
    def test_a_superuser_by_name_or_email(self, client, name):
        UserFactory.create(username="root", is_superuser=True)
        answer = {"username": name, "password": PASSWORD, "next": "/admin/"}
        assert client.post(self.page, answer).status_code == 302
        assert client.get("/admin/").status_code == 200

    @pytest.mark.parametrize("fields", [{}, {"is_staff": True}, {"is_active": False}])
    def test_nobody_else(self, client, fields):
        UserFactory.create(username="ada", **fields)
        response = client.post(self.page, {"username": "ada", "password": PASSWORD})
        assert "of a superuser" in str(response.context["form"].errors)
        assert client.get("/admin/").status_code == 302


class TestUsers:
    new = {
        "username": "ada",
        "email": "ada@example.org",
        "password1": "a long enough passphrase",
        "password2": "a long enough passphrase",
    }

    def test_one_is_added(self, root):
        assert root.post(url(User, "add"), self.new | {"is_superuser": "on"}).status_code == 302
        ada = User.objects.get(username="ada")
        assert ada.check_password("a long enough passphrase")
        assert ada.is_superuser and ada.is_staff
        found = Activity.objects.get()
        assert (found.verb, found.actor_name, found.address) == (
            "user.created",
            "root",
            "127.0.0.1",
        )
        assert "passphrase" not in str(found.change) and "password" not in str(found.change)

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"email": "ROOT@example.org"}, "email"),
            ({"email": "nobody"}, "email"),
            ({"username": "Root"}, "username"),
            ({"username": "white space"}, "username"),
            ({"username": "🚀"}, "username"),
            ({"username": "a" * 10_000}, "username"),
            ({"password2": "another passphrase"}, "password2"),
            ({"password1": "short", "password2": "short"}, "password2"),
            ({"password1": "", "password2": ""}, "password1"),
        ],
    )
    def test_a_mistake_is_shown_at_its_field(self, root, changes, field):
        response = root.post(url(User, "add"), self.new | changes)
        assert field in response.context["adminform"].errors
        assert User.objects.count() == 1 and not Activity.objects.exists()

    def form(self, user: User, **changes: Any) -> dict[str, Any]:
        data = {"username": user.username, "email": user.email}
        data |= {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
        if user.is_superuser:
            data["is_superuser"] = "on"
        return data | changes

    def test_one_is_promoted(self, root):
        user = UserFactory.create()
        root.post(url(User, "change", user.pk), self.form(user, is_superuser="on"))
        user.refresh_from_db()
        assert user.is_superuser and user.is_staff
        assert Activity.objects.get().change == {
            "is_superuser": [False, True],
            "is_staff": [None, True],
        }

    def test_a_taken_name_is_refused(self, root):
        user = UserFactory.create()
        response = root.post(url(User, "change", user.pk), self.form(user, username="ROOT"))
        assert list(response.context["adminform"].errors) == ["username"]

    def test_nobody_gives_up_the_admin_by_accident(self, root):
        user = User.objects.get(username="root")
        data = self.form(user)
        del data["is_superuser"]
        response = root.post(url(User, "change", user.pk), data)
        assert list(response.context["adminform"].errors) == ["is_superuser"]
        response = act(root, "deactivate", user, reason="x")
        assert "yourself" in messages(response)[0]
        user.refresh_from_db()
        assert user.is_superuser and user.is_active

    def test_saving_writes_only_what_was_changed(self, root):
        user = UserFactory.create()
        page = url(User, "change", user.pk)
        User.objects.filter(pk=user.pk).update(last_login=timezone.now())
        root.post(page, self.form(user))
        assert not Activity.objects.exists()
        assert User.objects.get(pk=user.pk).last_login

    def test_a_password_is_set(self, root):
        user = UserFactory.create()
        page = reverse("admin:auth_user_password_change", args=[user.pk])
        assert root.get(page).status_code == 200
        answer = {"password1": "another passphrase", "password2": "another passphrase"}
        assert root.post(page, answer | {"usable_password": "true"}).status_code == 302
        user.refresh_from_db()
        assert user.check_password("another passphrase")
        assert verbs() == [("user.password_set", user.username)]

    def test_they_are_deactivated_and_reactivated_never_deleted(self, root):
        user = UserFactory.create()
        token, _ = issue_token(user)
        assert b"Keep active" in act(root, "deactivate", user).content
        assert active(user)
        response = act(root, "deactivate", user, reason="has left")
        assert messages(response) == [f"{user}: deactivated."]
        assert not active(user)
        assert not ApiToken.objects.usable(timezone.now()).filter(pk=token.pk).exists()
        assert Activity.objects.get().reason == "has left"
        assert "already" in messages(act(root, "deactivate", user, reason="x"))[0]

        root.post(url(User, "reactivate", user.pk), {"answered": "1"})
        assert active(user)
        assert root.post(url(User, "delete", user.pk), {"post": "yes"}).status_code == 403


class TestOrganizations:
    def test_one_is_added_and_people_get_roles(self, root):
        root.post(url(Organization, "add"), {"name": "Analytics"})
        organization, user = Organization.objects.get(), UserFactory.create()
        data = {
            "name": "Data & Analytics",
            "memberships-TOTAL_FORMS": "1",
            "memberships-INITIAL_FORMS": "0",
            "memberships-0-user": str(user.pk),
            "memberships-0-role": "admin",
        }
        page = url(Organization, "change", organization.pk)
        assert root.post(page, data).status_code == 302
        member = Membership.objects.get()
        assert (member.user, member.role) == (user, "admin")

        data |= {
            "memberships-INITIAL_FORMS": "1",
            "memberships-0-id": str(member.pk),
            "memberships-0-organization": str(organization.pk),
            "memberships-0-role": "viewer",
        }
        root.post(page, data)
        member.refresh_from_db()
        assert member.role == "viewer"
        root.post(page, data | {"memberships-0-DELETE": "on"})
        assert not Membership.objects.exists()
        assert [verb for verb, _ in verbs()] == [
            "organization.created",
            "organization.changed",
            "member.added",
            "member.changed",
            "member.removed",
        ]
        ids = set(Activity.objects.values_list("organization_id", flat=True))
        assert ids == {organization.pk}

    @pytest.mark.parametrize("name", ["", "🚀", "a" * 10_000, "ANALYTICS", "<b>"])
    def test_a_bad_name_is_refused(self, root, name):
        OrganizationFactory.create(name="Analytics")
        response = root.post(url(Organization, "add"), {"name": name})
        form = response.context["adminform"]
        assert set(form.errors) <= {"name", "__all__"} and form.errors
        assert Organization.objects.count() == 1

    def test_none_is_deleted_here(self, root, organization):
        page = url(Organization, "delete", organization.pk)
        assert root.post(page, {"post": "yes"}).status_code == 403
        assert "delete_selected" not in root.get(url(Organization, "changelist")).content.decode()

    def test_a_membership_ends_after_a_question(self, root):
        member, other = MembershipFactory.create(), MembershipFactory.create()
        page = url(Membership, "delete", member.pk)
        assert b"Keep membership" in root.get(page).content
        root.post(page, {"answered": "1", "reason": "new team"})
        assert list(Membership.objects.all()) == [other]
        act(root, "delete_rows", other, reason="x")
        assert not Membership.objects.exists()
        assert Activity.objects.filter(verb="member.removed", reason="new team").exists()

    def test_a_role_is_changed_alone(self, root):
        member = MembershipFactory.create()
        root.post(url(Membership, "change", member.pk), {"role": "owner"})
        member.refresh_from_db()
        assert member.role == "owner"
        found = Activity.objects.get()
        assert found.change == {"role": ["member", "owner"]}
        assert found.organization_id == member.organization_id

    def test_the_last_owner_stays(self, root, owner):
        """Whichever page it is tried on."""
        organization = owner.organization
        response = root.post(url(Membership, "change", owner.pk), {"role": "viewer"}, follow=True)
        assert "keeps an owner" in messages(response)[0]
        response = act(root, "delete_rows", owner, reason="x")
        assert "keeps an owner" in messages(response)[0]
        data = {
            "name": "Renamed",
            "memberships-TOTAL_FORMS": "1",
            "memberships-INITIAL_FORMS": "1",
            "memberships-0-id": str(owner.pk),
            "memberships-0-organization": str(organization.pk),
            "memberships-0-user": str(owner.user_id),
            "memberships-0-role": "owner",
        }
        for change in ({"memberships-0-role": "viewer"}, {"memberships-0-DELETE": "on"}):
            page = url(Organization, "change", organization.pk)
            response = root.post(page, data | change, follow=True)
            assert "Nothing was saved" in messages(response)[0]
        owner.refresh_from_db()
        assert owner.role == "owner" and not Activity.objects.exists()
        assert Organization.objects.get().name != "Renamed"

    def test_somebody_is_added(self, root, owner):
        user = UserFactory.create()
        data = {"user": user.pk, "organization": owner.organization_id, "role": "viewer"}
        response = root.post(url(Membership, "add"), data)
        assert response.status_code == 302
        assert Membership.objects.get(user=user).role == "viewer"
        assert [verb for verb, _ in verbs()] == ["member.added"]


class TestInvites:
    def test_shown_without_its_code_and_revoked(self, root, organization):
        invite = InviteFactory.create(organization=organization)
        for page in (url(Invite, "changelist"), url(Invite, "change", invite.pk)):
            content = root.get(page).content.decode()
            assert invite.code not in content and invite.code_hash not in content
        response = act(root, "revoke", invite, answered="1", reason="leaked")
        assert "revoked" in messages(response)[0]
        invite.refresh_from_db()
        assert invite.revoked_at and Activity.objects.get().reason == "leaked"
        standing = joining.standing([organization.pk])[organization.pk]
        response = act(root, "revoke", standing, reason="x")
        assert "rotated" in messages(response)[0]
        answer = {"answered": "1", "reason": "It leaked"}
        root.post(url(Organization, "rotate_code", organization.pk), answer)
        assert joining.standing([organization.pk])[organization.pk] != standing


class TestTokens:
    def test_the_secret_is_shown_once(self, root, owner):
        page = url(User, "issue_token", owner.user.pk)
        assert root.get(page).status_code == 200
        answer = {"answered": "1", "name": "CI", "organization": str(owner.organization.pk)}
        response = root.post(page, answer | {"read_only": "on"}, follow=True)
        (told,) = messages(response)
        secret = next(word for word in told.split() if word.startswith("swy_"))
        token = ApiToken.objects.get()
        assert token.digest == ApiToken.digest_of(secret)
        assert (token.user, token.organization, token.read_only) == (
            owner.user,
            owner.organization,
            True,
        )
        for again in (url(ApiToken, "changelist"), url(ApiToken, "change", token.pk)):
            content = root.get(again).content.decode()
            assert secret not in content and token.digest not in content
        found = Activity.objects.get()
        assert found.verb == "token.issued" and secret not in str(found.change)

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": "🚀"}, "name"),
            ({"expires_at_0": "2001-01-01", "expires_at_1": "00:00"}, "expires_at"),
            ({"expires_at_0": "9999-12-31", "expires_at_1": "23:59"}, "expires_at"),
            ({"organization": "00000000-0000-0000-0000-000000000000"}, "organization"),
        ],
    )
    def test_an_answer_that_makes_no_sense_is_asked_again(self, root, owner, changes, field):
        page = url(User, "issue_token", owner.user.pk)
        response = root.post(page, {"answered": "1", "name": "CI"} | changes)
        assert list(response.context["form"].errors) == [field]
        assert not ApiToken.objects.exists()

    def test_somebody_elses_organization_cannot_be_chosen(self, root, owner):
        other = OrganizationFactory.create()
        answer = {"answered": "1", "name": "CI", "organization": str(other.pk)}
        response = root.post(url(User, "issue_token", owner.user.pk), answer)
        assert list(response.context["form"].errors) == ["organization"]

    def test_one_is_revoked_for_good(self, root, user):
        token, _ = issue_token(user)
        response = act(root, "revoke", token, reason="leaked")
        assert messages(response) == [f"{token}: revoked."]
        token.refresh_from_db()
        assert token.revoked_at
        assert "already" in messages(act(root, "revoke", token, reason="x"))[0]
        assert verbs() == [("token.revoked", str(token))]
        page = root.get(url(ApiToken, "change", token.pk)).content.decode()
        assert url(ApiToken, "revoke", token.pk) not in page

    def test_states(self, root, user):
        issue_token(user)
        expired, _ = issue_token(user)
        past = timezone.now() - timedelta(days=1)
        ApiToken.objects.filter(pk=expired.pk).update(expires_at=past)
        issue_token(UserFactory.create(is_active=False))
        content = root.get(url(ApiToken, "changelist")).content.decode()
        for state in ("usable", "expired", "user deactivated"):
            assert f">{state}<" in content


class TestActivities:
    def test_they_lead_from_a_rows_history(self, root, organization):
        activity.record(Actor.system("x"), "organization.renamed", organization, organization.pk)
        activity.record(Actor.system("x"), "something.else", organization, None)
        Activity._base_manager.filter(verb="something.else").update(object_id="another")
        response = root.get(url(Organization, "history", organization.pk), follow=True)
        content = response.content.decode()
        assert "organization.renamed" in content and "something.else" not in content

    def test_by_organization_and_by_request(self, root, organization):
        found = activity.record(Actor.system("x"), "a.b", organization, organization.pk)
        Activity._base_manager.filter(pk=found.pk).update(request_id="r-1")
        activity.record(Actor.system("x"), "c.d", organization, None)
        for query in ({"organization": str(organization.pk)}, {"q": "r-1"}):
            content = root.get(url(Activity, "changelist"), query).content.decode()
            assert "a.b" in content and "c.d" not in content, query

    def test_what_changed_is_shown_and_nothing_can_be_changed(self, root, organization):
        change = {"name": ["Old", "New"]}
        found = activity.record(
            Actor.system("x"), "a.b", organization, organization.pk, change, "a reason"
        )
        content = root.get(url(Activity, "change", found.pk)).content.decode()
        assert "Old" in content and "a reason" in content and organization.name in content
        assert root.post(url(Activity, "change", found.pk), {"verb": "x"}).status_code == 403


def test_more_rows_than_an_action_takes_are_refused(root, monkeypatch):
    from accounts.admin import base

    monkeypatch.setattr(base, "MOST_ROWS", 2)
    members = [MembershipFactory.create() for _ in range(3)]
    response = act(root, "delete_rows", *members, reason="x")
    assert "2 rows at most" in messages(response)[0]
    assert Membership.objects.count() == 3


def test_a_question_about_a_row_that_is_gone_leads_away(root):
    page = url(User, "deactivate", "00000000-0000-0000-0000-000000000000")
    assert "doesn’t exist" in messages(root.get(page, follow=True))[0]
