"""Activities as files: what the filters select, in little memory, nothing a spreadsheet runs."""

import asyncio
import csv
import io
import json
import tracemalloc
import warnings
from typing import Any

import pytest
from django.urls import reverse

from accounts import activity, exporting, sealing
from accounts.models import Activity, Organization
from config.base.actor import Actor
from tests.calling import problem
from tests.factories import MembershipFactory, OrganizationFactory
from tests.fallback.pages import Acme, person

pytestmark = pytest.mark.django_db
ACTOR = Actor.system("tests")


def fill(organization: Organization, count: int, **fields: Any) -> None:
    rows = []
    for number in range(count):
        row = activity.build(ACTOR, "a.b", organization, organization.pk, {"number": number})
        for name, value in fields.items():
            setattr(row, name, value)
        rows.append(row)
    Activity.objects.bulk_create(rows)


def text_of(response: Any) -> str:
    assert response.status_code == 200 and response.streaming
    return b"".join(response.streaming_content).decode()


def from_csv(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text_of(response))))


def from_json(response: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text_of(response).splitlines()]


class TestApi:
    path = "activity/export"

    def test_both_formats_tell_the_same_newest_first(self, caller, organization, monkeypatch):
        monkeypatch.setattr(exporting, "CHUNK", 3)
        fill(organization, 7)
        sealing.seal(settled=sealing.SETTLED * 0)
        lines = from_json(caller.get(self.path, format="json"))
        rows = from_csv(caller.get(self.path, format="csv"))
        assert [row["change"]["number"] for row in lines] == [6, 5, 4, 3, 2, 1, 0]
        assert [json.loads(row["change"])["number"] for row in rows] == [6, 5, 4, 3, 2, 1, 0]
        for line, row in zip(lines, rows, strict=True):
            assert list(line) == list(row)
            assert {name: exporting.cell(value) for name, value in line.items()} == row
            assert line["position"] and len(line["digest"]) == 64
            assert line["createdAt"].endswith("+00:00")
            assert line["organizationId"] == str(organization.pk)

    def test_accept_decides_where_format_does_not(self, caller, organization):
        fill(organization, 1)
        types = {"text/csv": "text/csv", "application/x-ndjson": "application/x-ndjson"}
        for accept, told in (types | {"*/*": "text/csv"}).items():
            headers = caller.headers | {"Accept": accept}
            response = caller.client.get(f"/api/{self.path}", headers=headers)
            assert response.headers["Content-Type"].startswith(told)
        headers = caller.headers | {"Accept": "application/x-ndjson"}
        response = caller.client.get(f"/api/{self.path}?format=csv", headers=headers)
        assert response.headers["Content-Type"].startswith("text/csv")
        disposition = response.headers["Content-Disposition"]
        assert disposition.startswith("attachment") and disposition.endswith('.csv"')

    def test_it_takes_the_filters_of_the_list(self, caller, organization):
        fill(organization, 2, verb="c.d", refused=True)
        fill(organization, 1, actor_name="Somebody", address="192.0.2.7")
        for query, count in (
            ({"verb": "c.d"}, 2),
            ({"refused": "true"}, 2),
            ({"refused": "false"}, 1),
            ({"actorName": "Somebody"}, 1),
            ({"address": "192.0.2.7"}, 1),
            ({"search": "somebody"}, 1),
            ({"createdAfter": "2100-01-01"}, 0),
            ({"organization": organization.slug}, 3),
        ):
            found = caller.get("activity", **query).json()["count"]
            rows = from_json(caller.get(self.path, format="json", **query))
            assert found == len(rows) == count, query

    def test_nothing_of_others(self, caller, organization):
        fill(organization, 1)
        other = OrganizationFactory.create()
        fill(other, 5)
        assert len(from_csv(caller.get(self.path))) == 1
        problem(caller.get(self.path, organization=other.slug), 400, "Invalid")

    def test_what_it_does_not_know_is_refused(self, caller):
        for query in ({"format": "xml"}, {"limit": "5"}, {"ordering": "createdAt"}, {"x": "1"}):
            problem(caller.get(self.path, **query), 400, "Invalid")

    def test_an_empty_one_has_a_header(self, caller):
        assert text_of(caller.get(self.path)).startswith("id,createdAt,organizationId,actorKind")
        assert text_of(caller.get(self.path, format="json")) == ""


class TestCells:
    @pytest.mark.parametrize(
        "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1", "\uff20A1"]
    )
    def test_a_formula_is_text(self, caller, organization, text):
        fill(organization, 1, object_name=text, reason=text)
        (row,) = from_csv(caller.get("activity/export"))
        assert row["reason"] == f"'{text}"
        (line,) = from_json(caller.get("activity/export", format="json"))
        assert line["reason"] == text

    def test_commas_quotes_and_lines(self, caller, organization):
        text = 'a, "b"\nc; ü 🚀'
        fill(organization, 1, reason=text)
        (row,) = from_csv(caller.get("activity/export"))
        assert row["reason"] == text and row["refused"] == "false" and row["position"] == ""


class TestPage:
    def test_the_buttons_export_what_the_page_shows(self):
        acme = Acme()
        fill(acme.organization, 2, verb="c.d")
        fill(acme.organization, 3)
        client = acme.client("viewer")
        page = client.get("/activity/?verb=c.d&days=all&page=1").content.decode()
        for kind in ("csv", "json"):
            address = f"{reverse('activity-export')}?verb=c.d&amp;days=all&amp;format={kind}"
            assert f'href="{address}"' in page
        assert len(from_csv(client.get("/activity/export/?verb=c.d&format=csv"))) == 2
        assert len(from_json(client.get("/activity/export/?format=json"))) == 5

    def test_who_may(self):
        acme = Acme()
        fill(acme.organization, 1)
        address = reverse("activity-export")
        for who in ("viewer", "member", "admin", "owner"):
            assert len(from_csv(acme.client(who).get(address))) == 1
        assert from_csv(acme.client("stranger").get(address)) == []
        response = acme.client("anonymous").get(address)
        assert response.status_code == 302 and reverse("sign-in") in response.headers["Location"]
        assert acme.client("viewer").post(address).status_code == 405
        assert acme.client("viewer").get(f"{address}?format=xml").status_code == 404

    def test_only_of_the_organization_that_was_chosen(self):
        acme, other = Acme(), OrganizationFactory.create(name="Other")
        somebody = person("owner2")
        for organization in (acme.organization, other):
            MembershipFactory.create(user=somebody, organization=organization)
            fill(organization, 2)
        acme.people["owner2"] = somebody
        client = acme.client("owner2")
        assert len(from_csv(client.get("/activity/export/"))) == 4
        assert len(from_csv(client.get("/activity/export/?organization=other"))) == 2


class TestStreaming:
    def peak(self, organization: Organization) -> int:
        rows = Activity.objects.filter(organization_id=organization.pk)
        tracemalloc.start()
        size = sum(len(chunk) for chunk in exporting.as_csv(rows))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size > 1_500_000
        return peak

    def test_memory_does_not_grow_with_the_rows(self, organization):
        fill(organization, 10_000)
        few = self.peak(organization)
        fill(organization, 20_000)
        assert self.peak(organization) < few * 1.3

    def test_a_server_that_is_asynchronous_gets_chunk_by_chunk(self):
        told: list[str] = []

        def chunks() -> Any:
            for name in ("a", "b"):
                told.append(name)
                yield name

        async def read() -> list[Any]:
            found = []
            async for part in exporting.Streamed(chunks()):
                found.append((part, list(told)))
            return found

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert asyncio.run(read()) == [(b"a", ["a"]), (b"b", ["a", "b"])]
