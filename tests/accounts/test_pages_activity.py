"""The page of activities, and the feed on each object's own."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.template import Context, Template
from django.test import RequestFactory
from django.urls import reverse
from django.utils import timezone

from accounts import activity, sealing
from accounts.models import Activity
from config.base.actor import Actor
from fallback import configuring, pausing
from fallback.models import FallbackConfig
from tests.accounts.webhooking import make
from tests.factories import MembershipFactory, OrganizationFactory
from tests.fallback.factories import FallbackConfigFactory
from tests.fallback.pages import Acme, text_of

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("switchyard")
ROWS = Activity._base_manager


@pytest.fixture
def acme() -> Acme:
    return Acme()


def note(acme: Acme, verb: str = "config.changed", subject: Any = None, **fields: Any) -> Activity:
    change = fields.pop("change", None)
    row = activity.build(SYSTEM, verb, subject or acme.config, acme.organization.pk, change)
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()
    return row


def names(response: Any) -> set[str]:
    """The reasons, by which these tests know the rows."""
    return {row.reason for row in response.context["page"].rows}


class TestFilters:
    @pytest.fixture(autouse=True)
    def rows(self, acme: Acme) -> None:
        assert acme.people["owner"]
        ada = acme.people["owner"].pk
        note(acme, reason="one", actor_kind="user", actor_name="Ada Lovelace", actor_id=ada)
        note(acme, "move.planned", acme.move, reason="two", request_id="r-2")
        note(acme, "move.failed", acme.move, reason="three", address="192.0.2.7")
        note(acme, "config.write", reason="four", refused=True, actor_kind="token")
        old = timezone.now() - timedelta(days=20)
        note(acme, reason="old", created_at=old)

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", {"one", "two", "three", "four"}),
            ("days=all", {"one", "two", "three", "four", "old"}),
            ("days=", {"one", "two", "three", "four", "old"}),
            ("days=30", {"one", "two", "three", "four", "old"}),
            ("who=lovelace", {"one"}),
            ("actor=token", {"four"}),
            ("actor=nonsense", {"one", "two", "three", "four"}),
            ("verb=move.planned", {"two"}),
            ("verb=move.*", {"two", "three"}),
            ("object=move", {"two", "three"}),
            ("refused=1", {"four"}),
            ("search=r-2", {"two"}),
            ("search=192.0.2.7", {"three"}),
            ("search=Lovelace", {"one"}),
            ("search=three&object=move", {"three"}),
            ("from=2001-01-01", {"one", "two", "three", "four", "old"}),
            ("from=2001-02-31&days=7", {"one", "two", "three", "four"}),
            ("from=2001-01-01&to=2001-01-02", set()),
            ("to=9999-12-31", {"one", "two", "three", "four"}),
        ],
    )
    def test_each(self, acme, query, expected):
        client = acme.client("viewer")
        assert names(client.get(f"/activity/?{query}")) == expected
        assert names(client.get(f"{reverse('activity-rows')}?{query}")) == expected

    def test_by_object(self, acme):
        response = acme.client("viewer").get(f"/activity/?object_id={acme.move.pk}")
        assert names(response) == {"two", "three"}

    def test_by_a_persons_id(self, acme):
        pk = acme.people["owner"].pk
        assert names(acme.client("viewer").get(f"/activity/?search={pk}")) == {"one"}

    def test_a_day_is_the_readers(self, acme):
        ROWS.filter(reason="old").update(created_at=datetime(2026, 3, 1, 23, 30, tzinfo=UTC))
        client = acme.client("viewer")
        assert names(client.get("/activity/?from=2026-03-01&to=2026-03-01")) == {"old"}
        client.cookies["zone"] = "Asia/Tokyo"
        assert names(client.get("/activity/?from=2026-03-01&to=2026-03-01")) == set()
        assert names(client.get("/activity/?from=2026-03-02&to=2026-03-02")) == {"old"}

    def test_what_was_chosen_stays_in_the_form_and_the_links(self, acme):
        query = "search=o&who=a&verb=config.*&from=2026-01-01&refused=1"
        page = acme.client("viewer").get(f"/activity/?{query}").content.decode()
        assert 'value="config.*"' in page and 'value="2026-01-01"' in page
        assert re.search(r'name="refused"\s+value="1"\s+checked', page)
        assert '<details class="disclosure" open>' in page and "Show all" in page
        assert "verb=config.%2A" in page

    def test_all_time_outlives_a_page(self, acme):
        for number in range(60):
            note(acme, reason=f"n{number}")
        page = acme.client("viewer").get("/activity/?days=all").content.decode()
        assert "?days=all&amp;page=2" in page

    def test_by_organization(self, acme):
        other = OrganizationFactory.create(name="Other")
        MembershipFactory.create(user=acme.people["viewer"], organization=other)
        activity.record(SYSTEM, "a.b", other, other.pk, reason="elsewhere")
        client = acme.client("viewer")
        response = client.get("/activity/")
        assert "elsewhere" in names(response)
        assert '<select name="organization"' in response.content.decode()
        assert names(client.get("/activity/?organization=other")) == {"elsewhere"}
        assert client.get("/activity/?organization=nope").status_code == 404


class TestRows:
    def test_a_change_is_told_field_by_field(self, acme):
        change = {"mode": ["auto", "observe"], "stuckThreshold": [60, 90], "token": ["a", "b"]}
        note(acme, change=change)
        text = text_of(acme.client("viewer").get("/activity/"))
        assert "mode auto observe" in text and "stuck threshold 60 90" in text
        assert "token changed" in text

    def test_what_was_deleted_is_told_as_it_was(self, acme):
        note(acme, "config.deleted", change={"destinations": ["ws-1", "ws-2"], "mode": "auto"})
        text = text_of(acme.client("viewer").get("/activity/"))
        # PostgreSQL keeps an object's names in an order of its own.
        assert "destinations ws-1, ws-2" in text and "mode auto" in text

    def test_a_time_is_told_as_people_tell_it(self, acme):
        note(acme, change={"until": "2026-11-22T10:30:00+00:00", "name": "2026-11-22"})
        text = text_of(acme.client("viewer").get("/activity/"))
        assert "until 22 Nov 2026, 10:30:00 UTC" in text and "name 2026-11-22" in text

    def test_very_many_fields_are_counted(self, acme):
        note(acme, change={f"field_{letter}": [1, 2] for letter in "abcdefghijk"})
        assert "and 3 more fields" in text_of(acme.client("viewer").get("/activity/"))

    def test_what_was_refused_reads_so(self, acme):
        client = acme.client("viewer")
        client.post(acme.address("config-delete"), {"reason": "x"})
        text = text_of(client.get("/activity/"))
        assert "Was not allowed to change the config" in text
        assert "This needs the role admin." in text

    def test_request_address_and_seal(self, acme):
        note(acme, request_id="0123456789abcdef", address="192.0.2.7")
        sealing.seal(settled=timedelta(0))
        note(acme)
        text = text_of(acme.client("viewer").get("/activity/"))
        assert "01234567 192.0.2.7 sealed, 1" in text and "not sealed yet" in text

    def test_an_object_that_is_gone_is_no_link(self, acme, django_assert_num_queries):
        gone = FallbackConfigFactory.create(connection=acme.connection)
        note(acme, subject=gone)
        note(acme)
        address = reverse("config", args=[gone.pk])
        client = acme.client("viewer")
        assert f'href="{address}"' in client.get("/activity/").content.decode()
        FallbackConfig.objects.filter(pk=gone.pk).delete()
        page = client.get("/activity/").content.decode()
        assert f'href="{address}"' not in page
        assert f'href="{reverse("config", args=[acme.config.pk])}"' in page

    @pytest.mark.parametrize("page", ["/activity/", "/"])
    def test_a_webhook_is_a_link_for_those_who_may_open_it(self, acme, page):
        webhook = make(acme.organization, "https://example.org/hook")
        note(acme, "webhook.paused", webhook)
        link = f'href="{reverse("webhook", args=[webhook.pk])}"'
        assert link in acme.client("admin").get(page).content.decode()
        assert link not in acme.client("member").get(page).content.decode()


class TestFeeds:
    @pytest.mark.parametrize("name", ["config", "connection", "move", "sweep"])
    def test_the_latest_ten_of_an_object(self, acme, name):
        subject = getattr(acme, name)
        for number in range(12):
            note(acme, f"{name}.changed", subject, reason=f"reason-{number:02}")
        note(acme, subject=FallbackConfigFactory.create(), reason="another")
        client = acme.client("viewer")
        text = text_of(client.get(acme.address(name)))
        assert [n for n in range(12) if f"reason-{n:02}" in text] == list(range(2, 12))
        assert "another" not in text
        page = client.get(acme.address(name)).content.decode()
        (link,) = re.findall(r'id="all-of-it"\s+href="([^"]+)"', page)
        everything = client.get(link.replace("&amp;", "&"))
        assert everything.context["page"].total == 12

    def test_what_people_do_is_there(self, acme):
        owner = acme.people["owner"].actor()
        acme.config.stuck_threshold_minutes = 77
        places = list(acme.config.destinations.all())
        configuring.save_config(acme.config, places, owner, look_up=False, reason="too early")
        text = text_of(acme.client("viewer").get(acme.address("config")))
        assert "Changed the config owner: too early stuck threshold minutes 60 77" in text

    def test_nothing_yet(self, acme):
        assert "Nothing yet." in text_of(acme.client("viewer").get(acme.address("sweep")))

    def test_what_happened_in_an_organization(self, acme):

        pausing.pause(acme.config, acme.people["owner"].actor(), "a new rack")
        foreign = OrganizationFactory.create()
        activity.record(SYSTEM, "a.b", foreign, foreign.pk, reason="elsewhere")
        request = RequestFactory().get("/")
        request.actor = acme.people["viewer"].actor()  # type: ignore[attr-defined]
        template = Template("{% load activities %}{% feed organization %}")
        told = template.render(Context({"request": request, "organization": acme.organization}))
        assert "a new rack" in told and "elsewhere" not in told
        assert f"?organization={acme.organization.slug}&amp;days=all" in told
        template = Template("{% load activities %}{% feed organization %}")
        told = template.render(Context({"request": request, "organization": foreign}))
        assert "elsewhere" not in told
