"""Following every link of every page: none leads nowhere, and no page is left out."""

import html
import re

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Delivery, User
from tests.accounts.webhooking import make
from tests.addresses import is_page, left_over, route_of
from tests.factories import InviteFactory, issue_token
from tests.fallback.pages import Acme

pytestmark = pytest.mark.django_db
LINK = re.compile(r'<a\s[^>]*?href="([^"#]+)')
PART = re.compile(r'\shx-get="([^"]+)"')


class Walk:
    """Opens pages; `routes` are theirs, and those of the parts that they fetch."""

    def __init__(self) -> None:
        self.routes: set[str] = set()

    def along(self, client: Client, *ahead: str) -> None:
        found, seen = list(ahead), set(ahead)
        while found:
            path = found.pop()
            answer = client.get(path, follow=True)  # a gate's "/" leads to signing in
            assert answer.status_code == 200, path
            content = answer.content.decode()
            shown = [answer.request["PATH_INFO"], *PART.findall(content)]
            self.routes |= set(map(route_of, shown))
            new = {link for link in map(html.unescape, LINK.findall(content)) if is_page(link)}
            found.extend(new - seen)
            seen |= new


def test_every_page_is_reached_and_no_link_leads_nowhere():
    acme = Acme()
    hook = make(acme.organization)
    Delivery.objects.create(webhook=hook, event="move.failed", body="{}", state="failed")
    owner = acme.client("owner")
    issue_token(User.objects.get(username="owner"))
    invite = InviteFactory.create(organization=acme.organization)
    join = reverse("join", args=[invite.code])
    walk = Walk()
    # What no link leads to comes by mail, from a person, or after a form.
    walk.along(Client(), "/sign-in/", "/password/sent/", "/password/new/x/y/", join)
    walk.along(owner, "/")
    walk.along(acme.client("stranger"), "/", join)
    for address in left_over(walk.routes):
        # It does something, and so is not there to be looked at.
        assert owner.get(address).status_code == 405, address
