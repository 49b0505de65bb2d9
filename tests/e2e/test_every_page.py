"""Every page there is, in both widths and themes: axe, the console, and what is too wide.

A page that no link leads to, and that is not opened here by its address, fails the first test.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from django.contrib import admin
from django.test import RequestFactory
from django.urls import reverse
from playwright.sync_api import Browser, Locator

from config.base.problems import server_error
from tests.addresses import left_over
from tests.e2e.crawling import Crawl
from tests.e2e.yard import PASSWORD, Reader, Yard, until
from tests.needs import on_postgres

pytestmark = [
    pytest.mark.browser,
    pytest.mark.soak,
    pytest.mark.skipif(on_postgres(), reason="the yard runs on SQLite: make soak"),
]
LOOKS = [(1440, "light"), (390, "dark"), (1440, "dark"), (390, "light")]
# What a form answers that is sent empty.
REFUSING = {
    "/account/": 400,
    "/account/password/": 400,
    "/account/tokens/new/": 400,
    "/organizations/new/": 400,
    "/webhooks/new/": 400,
    "/connections/new/": 400,
    "/configs/new/": 400,
}
REFUSING_OUTSIDE = {"/sign-in/": 200, "/sign-up/": 400, "/password/forgotten/": 200}
EMPTY = """form => form.querySelectorAll("input:not([type=hidden], [type=radio], [type=checkbox])")
  .forEach(field => { field.value = "" })"""
# Whether a reader sees, without scrolling, that something is wrong.
TOLD = """[...document.querySelectorAll(".error, [role=alert], .form-actions .quiet")]
  .some(told => {
    const {x, y, width, height} = told.getBoundingClientRect()
    return told.contains(document.elementFromPoint(x + width / 2, y + height / 2))
  })"""
MOST_ATTEMPTS = 30  # to sign in, until there is one too many


@dataclass
class Places:
    """Addresses that come by mail or from a person: no link leads to them."""

    letter: str  # where a forgotten password is set anew
    invite: str
    revoked: str  # an invite, too


@pytest.fixture(scope="module")
def places(browser: Browser, yard: Yard) -> Places:
    invite, revoked = fill(yard)
    return Places(ask_for_a_letter(browser, yard), invite, revoked)


@pytest.fixture(params=LOOKS, ids="{0[0]}-{0[1]}".format)
def reader(
    request: pytest.FixtureRequest, browser: Browser, yard: Yard, places: Places
) -> Iterator[Reader]:
    """Somebody who has not signed in yet."""
    found = Reader(browser, yard, *request.param)
    yield found
    found.close()


class Program:
    """Calls the API of a yard as its owner."""

    def __init__(self, yard: Yard) -> None:
        self.url, self.http = yard.url, requests.Session()
        self.http.trust_env = False
        told = self.call("POST", "token", {"email": "ada@example.org", "password": PASSWORD})
        self.http.headers["Authorization"] = f"Bearer {told['accessToken']}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, f"{self.url}/api/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None


def fill(yard: Yard) -> tuple[str, str]:
    """One of everything; the addresses of an invite and of one that was revoked."""
    seeded = yard.simulator.seed(jobs=1, runsPerJob=2, destinations=2)
    ada, simulator = Program(yard), yard.simulator
    (home,) = ada.call("GET", "organizations")["results"]
    plane = {"name": "Plane", "baseUrl": simulator.url, "token": simulator.token}
    connection = ada.call("POST", "connections", plane)
    source, destination = (
        {key: place[key] for key in ("clusterId", "workspaceId")}
        for place in (seeded["sources"][0], seeded["destinations"][0])
    )
    ada.call("POST", "fallback-configs", {"source": source, "destination": destination})
    yard.manage("sweep", "--wait")
    hook = {"name": "Hook", "url": f"{yard.url}/nowhere", "events": ["*"]}
    hook = ada.call("POST", "webhooks", hook)
    ada.call("POST", f"webhooks/{hook['id']}/test")
    tried = f"webhooks/{hook['id']}/deliveries?state=pending&state=failed"
    until(lambda: ada.call("GET", tried)["count"], 20, "a delivery was tried")
    ada.call("POST", "tokens", {"name": "Program"})
    for name in ("dora", "eve"):
        given = {"email": f"{name}@example.org", "username": name, "password": PASSWORD}
        ada.call("POST", "users", given)
    path = f"organizations/{home['id']}/invites"
    invite, revoked = (ada.call("POST", path, {"role": "viewer"}) for _ in range(2))
    ada.call("DELETE", f"{path}/{revoked['id']}")
    ada.call("POST", "pauses", {"connectionId": connection["id"], "reason": "a new rack"})
    return reverse("join", args=[invite["code"]]), reverse("join", args=[revoked["code"]])


def ask_for_a_letter(browser: Browser, yard: Yard) -> str:
    """Once, for only a few go to one person; for Eve, as signing in ends what was sent before."""
    reader = Reader(browser, yard)
    reader.page.goto("/password/forgotten/")
    reader.page.get_by_label("Email").fill("eve@example.org")
    send(reader.page.locator("main form"))
    reader.close()
    found = until(lambda: re.search(r"/password/new/\S+", yard.log()), 10, "there is a letter")
    return str(found[0])


def send(form: Locator) -> None:
    """Past what the browser itself would refuse."""
    with form.page.expect_navigation():
        form.evaluate("form => form.submit()")


def came_with(reader: Reader, status: int) -> list[str]:
    """What is wrong with the page that is open, but for the browser telling its status."""
    told, reader.complaints = reader.complaints, []
    failed = f"Failed to load resource: the server responded with a status of {status} "
    expected = [] if status == 200 else [failed]
    same = [text[: len(failed)] for text in told] == expected
    return ([] if same else [f"{reader.page.url}: {told}"]) + reader.wrong_here()


def test_every_page(reader: Reader, places: Places) -> None:
    outside = Crawl(reader).begin_at(
        *("/sign-in/", "/password/sent/", "/password/new/x/y/", places.letter, places.invite)
    )
    reader.sign_in()
    inside = Crawl(reader).begin_at("/", "/moves/", "/moves/?search=nothing", places.invite)
    assert (outside.wrong, inside.wrong, reader.complaints) == ([], [], [])
    for address in left_over(outside.routes | inside.routes):
        # It does something, and so is not there to be looked at.
        assert reader.page.request.get(address).status == 405, address


def test_every_page_while_there_is_nothing(reader: Reader, places: Places) -> None:
    """As somebody sees it who is in no organization yet."""
    reader.sign_in("dora@example.org")
    found = Crawl(reader).begin_at("/", places.invite)
    assert (found.wrong, reader.complaints) == ([], [])
    assert len(found.routes) > 12


def test_what_is_shown_once(reader: Reader) -> None:
    reader.sign_in()
    page, wrong = reader.page, []
    name = f"Second at {reader.look}"

    def send_and_see(form: str, shown: str = "#secret") -> None:
        send(page.locator(form))
        assert page.locator(shown).inner_text()
        wrong.extend(reader.wrong_here())

    page.goto("/webhooks/new/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Address").fill(f"{reader.yard.url}/there")
    page.get_by_label("Everything that is done").check()
    send_and_see("main form")
    page.get_by_role("link", name="Go to webhook").click()
    send_and_see("#rotate-dialog form")
    page.goto("/account/tokens/new/")
    page.get_by_label("Name").fill(name)
    send_and_see("main form")
    page.goto("/connections/")
    page.get_by_role("link", name="Plane").click()
    send_and_see("form:has-text('Test connection')", "section:has-text('What the test found')")
    assert (wrong, reader.complaints) == ([], [])


def test_forms_that_are_refused(reader: Reader, places: Places) -> None:
    page, wrong = reader.page, []

    def send_and_see(status: int) -> None:
        send(page.locator("main form[method=post]").first)
        wrong.extend(came_with(reader, status))
        if not page.evaluate(TOLD):
            wrong.append(f"{page.url} does not show at once what is wrong")

    def refuse(forms: dict[str, int]) -> None:
        for path, status in forms.items():
            page.goto(path)
            reader.settle()
            page.locator("main form[method=post]").first.evaluate(EMPTY)
            send_and_see(status)

    refuse(REFUSING_OUTSIDE | {places.letter: 200})
    reader.sign_in()
    refuse(REFUSING)
    page.goto("/webhooks/new/")
    page.get_by_label("Name").fill("Of nothing")
    page.get_by_label("Address").fill(f"{reader.yard.url}/there")
    send_and_see(400)  # what is missing, an event, comes far below
    assert wrong == []


def test_refusals(reader: Reader, places: Places) -> None:
    page, wrong = reader.page, []
    page.goto("/sign-in/")
    reader.context.clear_cookies()
    send(page.locator("main form"))
    wrong += came_with(reader, 403)  # the form has expired
    reader.sign_in("dora@example.org")
    for path, status in (
        ("/moves/?search=%00", 400),
        ("/connections/new/", 403),
        ("/nope/", 404),
        (places.revoked, 410),
    ):
        page.goto(path)
        wrong += came_with(reader, status)
    # There is no way to it in a yard that works, so the handler's answer takes the place of one.
    broken = server_error(RequestFactory().get("/broken/")).content
    answer = {"status": 500, "content_type": "text/html", "body": broken}
    page.route("**/broken/", lambda route: route.fulfill(**answer))
    page.goto("/broken/")
    wrong += came_with(reader, 500)
    assert wrong == []


def test_one_attempt_too_many(reader: Reader) -> None:
    page = reader.page
    page.goto("/sign-in/")
    for _ in range(MOST_ATTEMPTS):
        page.get_by_label("Email or user name").fill(f"somebody at {reader.look}")
        page.get_by_label("Password").fill("a guess")
        with page.expect_navigation() as navigation:
            page.get_by_role("button", name="Sign in").click()
        if navigation.value.status == 429:
            break
    assert "Too many failed attempts." in page.get_by_role("alert").inner_text()
    assert came_with(reader, 429) == []


# The other two are looked at in test_journey.py, on fewer pages.
@pytest.mark.parametrize("reader", LOOKS[2:], indirect=True, ids="{0[0]}-{0[1]}".format)
def test_every_page_of_the_admin(reader: Reader) -> None:
    reader.sign_in()
    found = Crawl(reader, lambda path: path.startswith("/admin/")).begin_at("/admin/")
    assert (found.wrong, reader.complaints) == ([], [])
    names = {f"{model._meta.app_label}/{model._meta.model_name}" for model in admin.site._registry}
    routes = {f"admin/{name}/" for name in names}
    assert routes | {f"{route}<path:object_id>/change/" for route in routes} <= found.routes


def test_no_process_complained(yard: Yard) -> None:
    assert "Traceback" not in yard.log()
