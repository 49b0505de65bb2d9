"""Pages: signing up, and joining an organization by a link."""

import re
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts.models import Invite, Membership, User
from tests.accounts.test_pages_organizations import ADA, World
from tests.factories import PASSWORD, InviteFactory, UserFactory
from tests.fallback.pages import text_of, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    return World()


class TestSigningUp:
    def test_then_one_is_signed_in_and_led_to_the_organizations(self):
        client = Client()
        assert "Create account" in text_of(client.get("/sign-in/"))
        response = client.post("/sign-up/", ADA)
        assert response.headers["Location"] == "/organizations/"
        assert "Create one, or open the link" in text_of(client.get("/organizations/"))
        assert client.session.get_expire_at_browser_close()

    @pytest.mark.parametrize("where", ["//elsewhere.example", "https://elsewhere.example/", "x"])
    def test_onward_leads_nowhere_else(self, where):
        response = Client().post("/sign-up/", ADA | {"next": where})
        assert response.headers["Location"] == "/organizations/"

    @pytest.mark.parametrize(
        ("changes", "field", "words"),
        [
            ({"email": "TAKEN@example.org"}, "email", "This email is taken."),
            ({"username": "Taken"}, "username", "This user name is taken."),
            ({"username": "white space"}, "username", "Use letters"),
            ({"password": "12345678"}, "password", "too common"),
            ({"email": "nobody"}, "email", "valid email"),
            ({"email": ""}, "email", "Enter the email."),
        ],
    )
    def test_a_mistake_is_shown_at_its_field(self, changes, field, words):
        UserFactory.create(username="taken", email="taken@example.org")
        response = Client().post("/sign-up/", ADA | changes)
        assert response.status_code == 400
        assert list(response.context["form"].errors) == [field]
        assert words in text_of(response)
        assert f'aria-describedby="id_{field}' in response.content.decode()
        assert ADA["password"] not in response.content.decode()
        assert User.objects.count() == 1

    def test_closed(self, settings):
        settings.SIGNUP = "closed"
        for response in (Client().get("/sign-up/"), Client().post("/sign-up/", ADA)):
            assert response.status_code == 403
            assert "Nobody can sign up here" in text_of(response)
        assert "Create account" not in text_of(Client().get("/sign-in/"))
        assert not User.objects.exists()

    def test_by_invite(self, settings):
        settings.SIGNUP = "invite"
        assert Client().post("/sign-up/", ADA).status_code == 403
        gone = InviteFactory.create(revoked_at=timezone.now())
        sent = ADA | {"next": f"/join/{gone.code}/"}
        assert "was revoked" in text_of(Client().post("/sign-up/", sent))
        client, invite = Client(), InviteFactory.create(most_uses=1, organization__name="Acme")
        sent = ADA | {"next": f"/join/{invite.code}/"}
        assert "invited to Acme" in text_of(client.get("/sign-up/", {"next": sent["next"]}))
        response = client.post("/sign-up/", sent, follow=True)
        assert "invited to Acme with the role member" in text_of(response)
        late = Client().get("/sign-up/", {"next": sent["next"]})
        assert late.status_code == 403 and "As many have signed up" in text_of(late)
        assert client.post(sent["next"], follow=True).status_code == 200
        assert Membership.objects.get().user.username == "ada"

    def test_too_many_from_one_address(self, monkeypatch):
        monkeypatch.setattr(cache, "add", lambda *_: True)
        monkeypatch.setattr(cache, "incr", lambda *_: 31)
        response = Client().post("/sign-up/", ADA)
        assert response.status_code == 429 and int(response.headers["Retry-After"]) > 0
        assert "Too many accounts" in text_of(response)


class TestJoining:
    def test_it_says_where_and_as_what_before(self, world):
        client = Client()
        path = world.address("join")
        page = client.get(path)
        assert "invited to Acme with the role member" in text_of(page)
        assert not Membership.objects.filter(user__username="ada").exists()
        (way,) = re.findall(r'href="(/sign-in/\?next=[^"]+)"', page.content.decode())
        user = UserFactory.create()
        sent = {"username": user.username, "password": PASSWORD}
        next_ = re.search(r'name="next" value="([^"]+)"', client.get(way).content.decode())
        assert next_ is not None
        response = client.post(way, sent | {"next": next_[1]})
        assert response.headers["Location"] == path
        response = client.post(path, follow=True)
        assert told(response) == ["You are in Acme now, with the role member."]
        assert response.redirect_chain[-1][0] == world.address("organization")

    def test_who_is_in_it_is_told_so(self, world):
        client, path = world.client("viewer"), world.address("join")
        assert "in Acme already, with the role viewer" in text_of(client.get(path))
        assert "already" in told(client.post(path, follow=True))[0]
        world.invite.refresh_from_db()
        assert world.invite.uses == 0

    def test_one_that_is_over_and_one_that_is_none(self, world):
        client = world.client("stranger")
        Invite.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        for response in (client.get(world.address("join")), client.post(world.address("join"))):
            assert response.status_code == 410
            assert "has expired" in text_of(response)
        assert client.get("/join/nope/").status_code == 404
        assert client.post("/join/nope/").status_code == 404
