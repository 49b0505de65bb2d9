"""Pages: organizations with their members and invites, the table of roles; who may open what."""

import re
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse

from accounts import joining, roles
from accounts.models import Activity, Invite, Membership, Organization, User
from accounts.urls import urlpatterns
from tests.accounts.browsing import crumbs_of
from tests.factories import InviteFactory, MembershipFactory, UserFactory
from tests.fallback.factories import MoveFactory
from tests.fallback.pages import text_of, told

pytestmark = pytest.mark.django_db
ROLES = ("viewer", "member", "admin", "owner")
WHO = ("anonymous", "stranger", *ROLES, "superuser")
ADA = {"email": "ada@example.org", "username": "ada", "password": "crane at dawn"}

LIST = "302 200 200 200 200 200 200"
READ = "302 404 200 200 200 200 200"
READ_BY_ADMIN = "302 404 403 403 200 200 200"
BY_ADMIN = "302 404 403 403 302 302 302"
BY_OWNER = "302 404 403 403 403 302 302"
# A stranger owns another organization, and a superuser is in none.
TABLE = {
    "GET organizations": LIST,
    "GET organization-rows": LIST,
    "GET organization-new": LIST,
    "POST organization-new": "302 302 302 302 302 302 302",
    "GET roles": LIST,
    "GET organization": READ,
    "GET member-rows": READ,
    "GET invite-rows": READ_BY_ADMIN,
    "POST organization-rename": BY_OWNER,
    "POST organization-delete": BY_OWNER,
    "POST organization-rotate": BY_ADMIN,
    "POST organization-leave": "302 404 302 302 302 302 302",
    "POST invite-new": BY_ADMIN,
    "GET invite-revoke": READ_BY_ADMIN,
    "POST invite-revoke": BY_ADMIN,
    "GET member": READ_BY_ADMIN,
    "POST member-role": BY_ADMIN,
    "POST member-remove": BY_ADMIN,
    # Everybody who has the link.
    "GET join": "200 200 200 200 200 200 200",
    "POST join": "302 302 302 302 302 302 302",
    "GET sign-up": "200 302 302 302 302 302 302",
    "POST sign-up": "302 302 302 302 302 302 302",
}


class World:
    """An organization, and everybody who might open its pages."""

    def __init__(self) -> None:
        self.owner = MembershipFactory.create(role="owner", organization__name="Acme")
        self.organization: Organization = self.owner.organization
        self.other = MembershipFactory.create(organization=self.organization)
        self.invite = InviteFactory.create(organization=self.organization)
        self.people: dict[str, User | None] = {
            "anonymous": None,
            "stranger": MembershipFactory.create(role="owner").user,
            "owner": self.owner.user,
            "superuser": UserFactory.create(is_superuser=True),
        }
        for role in ("viewer", "member", "admin"):
            membership = MembershipFactory.create(organization=self.organization, role=role)
            self.people[role] = membership.user

    def client(self, who: str) -> Client:
        client = Client()
        if user := self.people[who]:
            client.force_login(user)
        return client

    def address(self, name: str) -> str:
        if name in ("member", "member-role", "member-remove"):
            return reverse(name, args=[self.other.pk])
        if name == "invite-revoke":
            return reverse(name, args=[self.invite.pk])
        if name == "join":
            return reverse(name, args=[self.invite.code])
        pattern = next(one for one in urlpatterns if one.name == name)
        takes_key = "key" in str(pattern.pattern)
        return reverse(name, args=[self.organization.pk] if takes_key else [])

    def sent(self, name: str) -> dict[str, Any]:
        return {
            "organization-new": {"name": "Another"},
            "organization-rename": {"name": "Renamed"},
            "organization-delete": {"confirm": "Acme"},
            "invite-new": {"role": "member", "days": "7"},
            "member-role": {"role": "viewer"},
            "sign-up": ADA,
        }.get(name, {})


@pytest.fixture
def world() -> World:
    return World()


def links(response: Any) -> list[str]:
    return re.findall(r'action="([^"]+)"', response.content.decode())


class TestWho:
    @pytest.mark.parametrize("route", TABLE)
    def test_each_address_answers_each_person_as_the_table_says(self, world, route):
        method, _, name = route.partition(" ")
        found = {}
        for who in WHO:
            before = transaction.savepoint()  # each finds the world as it was
            client, address = world.client(who), world.address(name)
            response = getattr(client, method.lower())(address, world.sent(name))
            found[who] = response.status_code
            if who == "anonymous" and name not in ("join", "sign-up"):
                assert response.url.startswith(reverse("sign-in"))
            transaction.savepoint_rollback(before)
        assert found == dict(zip(WHO, map(int, TABLE[route].split()), strict=True))

    @pytest.mark.parametrize("name", ["member", "invite-revoke"])
    def test_the_way_back_leads_by_the_organization_to_all_of_them(self, world, name):
        way = crumbs_of(world.client("admin").get(world.address(name)))
        assert way[:-1] == [
            ("Organization", ""),
            ("Organizations", reverse("organizations")),
            ("Acme", world.address("organization")),
        ]

    @pytest.mark.parametrize("role", ["viewer", "member", "admin"])
    def test_nobody_is_shown_a_button_that_would_be_refused(self, world, role):
        response = world.client(role).get(world.address("organization"))
        shown = set(links(response))
        mine = {reverse("organization-leave", args=[world.organization.pk])}
        if role == "admin":
            names = ("organization-rotate", "invite-new")
            mine |= {reverse(name, args=[world.organization.pk]) for name in names}
        kept = {reverse("theme"), reverse("sign-out"), reverse("moves")}
        assert shown == mine | kept

    def test_an_admin_is_led_to_nobody_above_them(self, world):
        content = world.client("admin").get(world.address("organization")).content.decode()
        assert reverse("member", args=[world.other.pk]) in content
        assert reverse("member", args=[world.owner.pk]) not in content
        path = reverse("member", args=[world.owner.pk])
        assert world.client("admin").get(path).status_code == 403
        choices = world.client("admin").get(world.address("member")).content.decode()
        assert 'value="admin"' in choices and 'value="owner"' not in choices

    @pytest.mark.parametrize(
        ("name", "sent", "verb"),
        [
            ("member-role", {"role": "owner"}, "member.write"),
            ("invite-new", {"role": "owner"}, "invite.write"),
        ],
    )
    def test_what_is_above_an_admin_is_refused_and_remembered(self, world, name, sent, verb):
        response = world.client("admin").post(world.address(name), sent)
        assert response.status_code == 403
        assert Activity.objects.get(refused=True).verb == verb

    def test_a_code_is_for_admins_and_owners(self, world):
        code = joining.standing([world.organization.pk])[world.organization.pk].code
        for role in ROLES:
            content = world.client(role).get(world.address("organization")).content.decode()
            assert (code in content) is (role in ("admin", "owner"))

    def test_by_slug_or_id_and_foreign_ones_are_as_unknown_as_others(self, world):
        client = world.client("viewer")
        assert client.get("/organizations/acme/").status_code == 200
        foreign = MembershipFactory.create(role="owner").organization
        for key in (foreign.slug, foreign.pk, "nope"):
            assert client.get(f"/organizations/{key}/").status_code == 404


class TestQueries:
    def test_however_many_there_are(self, world, django_assert_max_num_queries):
        client, counts = world.client("owner"), []
        for _ in range(2):
            MembershipFactory.create_batch(10, organization=world.organization)
            InviteFactory.create_batch(10, organization=world.organization)
            for path in (world.address("organization"), reverse("organizations")):
                client.get(path)
                with django_assert_max_num_queries(20) as seen:
                    client.get(path)
                counts.append(len(seen))
        assert counts[:2] == counts[2:]


class TestOrganization:
    def test_one_is_made(self, user):
        client = Client()
        client.force_login(user)
        response = client.post("/organizations/new/", {"name": "Analytics"}, follow=True)
        assert told(response) == ["Created Analytics. Invite people next."]
        response = client.post("/organizations/new/", {"name": "ANALYTICS"})
        assert response.status_code == 400 and "This name is taken." in text_of(response)
        response = client.post("/organizations/new/", {"name": "🚀"})
        assert list(response.context["form"].errors) == ["name"]

    def test_superusers_alone_where_it_is_set_so(self, user, settings):
        settings.ORGANIZATION_CREATE = "superuser"
        client = Client()
        client.force_login(user)
        assert "Create organization" not in text_of(client.get("/organizations/"))
        assert client.get("/organizations/new/").status_code == 403
        assert client.post("/organizations/new/", {"name": "A"}).status_code == 403

    def test_deleting_takes_its_name(self, world):
        client, path = world.client("owner"), world.address("organization-delete")
        response = client.post(path, {"confirm": "acme", "reason": "merged"}, follow=True)
        assert told(response) == ["Type Acme to delete it."]
        move = MoveFactory.create(connection__organization=world.organization)
        sent = {"confirm": "Acme", "reason": "merged"}
        response = client.post(path, sent, follow=True)
        assert move.source_run_name in told(response)[0]
        move.delete()
        response = client.post(path, sent, follow=True)
        assert told(response) == ["Deleted Acme. It is purged in 30 days."]
        assert client.get(world.address("organization")).status_code == 404

    def test_renaming_and_leaving(self, world):
        client = world.client("owner")
        sent = {"name": "Bad <b>"}
        response = client.post(world.address("organization-rename"), sent, follow=True)
        assert "Use letters" in told(response)[0]
        response = client.post(world.address("organization-leave"), follow=True)
        assert "keeps an owner" in told(response)[0]
        response = world.client("viewer").post(world.address("organization-leave"), follow=True)
        assert told(response) == ["You have left Acme."]

    def test_a_role_is_changed_and_somebody_removed(self, world):
        client = world.client("owner")
        sent = {"role": "admin", "reason": "promoted"}
        response = client.post(world.address("member-role"), sent, follow=True)
        assert "is admin now, and was member" in told(response)[0]
        path = reverse("member-role", args=[world.owner.pk])
        assert "keeps an owner" in told(client.post(path, {"role": "viewer"}, follow=True))[0]
        assert "Choose from" in told(client.post(path, {"role": "king"}, follow=True))[0]
        client.post(world.address("member-remove"), {"reason": "left"})
        assert not Membership.objects.filter(pk=world.other.pk).exists()
        assert Activity.objects.get(verb="member.removed").reason == "left"

    def test_members_are_filtered(self, world):
        client, path = world.client("viewer"), world.address("organization")
        named = world.other.user.username
        assert named in text_of(client.get(path, {"search": named}))
        assert "Nobody in this organization" in text_of(client.get(path, {"search": "zzz"}))
        rows = client.get(world.address("member-rows"), {"role": "owner"})
        assert world.owner.user.email in text_of(rows) and named not in text_of(rows)


class TestInvites:
    def test_one_is_made_used_and_revoked(self, world):
        client = world.client("owner")
        sent = {"role": "admin", "days": "1", "uses": "3"}
        response = client.post(world.address("invite-new"), sent, follow=True)
        made = Invite.objects.get(role="admin")
        assert made.most_uses == 3 and made.expires_at is not None
        assert f"http://testserver/join/{made.code}/" in response.content.decode()
        path = reverse("invite-revoke", args=[made.pk])
        assert "Revoke this invite?" in text_of(client.get(path))
        sent = {"reason": "It leaked"}
        assert told(client.post(path, sent, follow=True)) == ["Revoked the admin invite."]
        assert told(client.post(path, sent, follow=True)) == ["This invite was revoked already."]

    @pytest.mark.parametrize(
        "sent",
        [
            {"role": "king"},
            {"role": "member", "uses": "0"},
            {"role": "member", "uses": "-1"},
            {"role": "member", "uses": "many"},
            {"role": "member", "uses": "9" * 30},
        ],
    )
    def test_nonsense_makes_none(self, world, sent):
        response = world.client("owner").post(world.address("invite-new"), sent, follow=True)
        assert told(response) and Invite.objects.filter(standing=False).count() == 1

    def test_an_admin_does_not_see_the_link_of_an_owners_invite(self, world):
        made = InviteFactory.create(organization=world.organization, role="owner")
        assert (
            made.code
            not in world.client("admin").get(world.address("organization")).content.decode()
        )
        assert (
            made.code
            not in world.client("admin").get(world.address("invite-rows")).content.decode()
        )
        assert made.code in world.client("owner").get(world.address("invite-rows")).content.decode()

    def test_the_standing_one_is_rotated_and_not_revoked(self, world):
        client = world.client("admin")
        before = joining.standing([world.organization.pk])[world.organization.pk]
        client.post(world.address("organization-rotate"), {"reason": "It leaked"})
        after = joining.standing([world.organization.pk])[world.organization.pk]
        assert after.code != before.code
        assert client.post(reverse("invite-revoke", args=[after.pk])).status_code == 404


def test_the_table_of_roles_is_the_one_that_is_used(world):
    content = text_of(world.client("viewer").get("/roles/"))
    for verb, least in roles.LEAST.items():
        row = next(row for row in roles.table() if row.verb == verb)
        assert verb in content and row.deed in content
        assert [may for _, may in row.may].index(True) == ROLES.index(least)


def test_every_verb_is_told_in_words():
    assert set(roles.LEAST) == set(roles.DEEDS)
