"""What a person does, in Chromium, on the real processes: from signing in to a moved run."""

import json
import re
import sys
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from fallback.simulator.client import Simulator
from tests.e2e.crawling import Crawl
from tests.e2e.yard import PASSWORD, TOO_WIDE, Reader, Yard, opened
from tests.needs import on_postgres

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(on_postgres(), reason="the journey runs on SQLite: make test"),
]
LIVE_SECONDS = 2.0  # from a change in the database to the open page


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    with Simulator.start(rollout_seconds=3, latency_ms=150) as simulator:
        simulator.seed(jobs=1, runsPerJob=1, destinations=2)
        with opened(simulator) as found:
            yield found


@pytest.fixture(scope="module")
def ada(browser: Browser, yard: Yard) -> Iterator[Reader]:
    reader = Reader(browser, yard)
    yield reader
    reader.close()


def choose(page: Page, field: str, label: str) -> None:
    """Choose in a list whose choices come from the control plane."""
    select = page.locator(f"#{field}")
    expect(select.locator("option", has_text=label)).to_be_attached()
    page.wait_for_timeout(100)  # htmx settles what it has swapped in: no person is that fast
    with page.expect_response("**/configs/fields/"):
        select.select_option(label=label)


class TestJourney:
    """One story in order; each step stands on the one before."""

    def test_signing_in_shows_what_is_missing(self, ada):
        ada.sign_in()
        expect(ada.page.get_by_text("There is no connection.")).to_be_visible()

    def test_connecting_a_control_plane_and_testing_it(self, ada, yard):
        page = ada.page
        page.get_by_role("link", name="Create connection").first.click()
        page.get_by_label("Name").fill("Simulator")
        page.get_by_label("Address").fill(yard.simulator.url)
        page.get_by_label("Token").fill(yard.simulator.token)
        page.get_by_role("button", name="Create connection").click()
        expect(page.get_by_text("Created Simulator. Test it next.")).to_be_visible()
        page.get_by_role("button", name="Test connection").click()
        findings = page.get_by_role("region", name="What the test found").locator("li")
        expect(findings).to_have_count(5)
        assert all("works" in text for text in findings.all_inner_texts())

    def test_seeing_a_stuck_run_while_creating_a_config(self, ada):
        page = ada.page
        page.goto("/configs/new/")
        choose(page, "source-cluster", "source-1")
        choose(page, "source-workspace", "team-a")
        waiting = page.locator("#waiting")
        expect(waiting).to_contain_text("SCHEDULED, run train-ranker-")
        expect(waiting).to_contain_text(re.compile(r"for 1\sh (29|30)\smin".replace(" ", r"\s")))
        choose(page, "cluster-0", "spare-2")
        choose(page, "workspace-0", "overflow")
        with page.expect_response("**/configs/fields/"):
            page.get_by_role("button", name="Add destination").click()
        choose(page, "cluster-1", "spare-1")
        choose(page, "workspace-1", "overflow")
        with page.expect_response("**/configs/fields/"):
            page.get_by_role("button", name="Move destination 2 up").click()
        expect(page.locator("#cluster-0 option:checked")).to_have_text("spare-1")
        page.get_by_label("auto").check()
        page.get_by_role("button", name="Create config").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("source-1:team-a")
        expect(page.locator("ol.items strong")).to_have_text(
            ["spare-1:overflow", "spare-2:overflow"]
        )

    def test_sweeping_and_watching_the_steps_without_reloading(self, ada):
        page = ada.page
        page.goto("/")
        page.get_by_role("button", name="Sweep now").first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Sweep of")
        page.evaluate("window.stayed = true")
        link = page.get_by_role("region", name="Moves planned").get_by_role("link")
        expect(link).to_have_text("train-ranker")
        assert page.evaluate("window.stayed") is True
        link.click()
        page.evaluate("window.stayed = true")
        done = page.locator(".timeline > li:not(.later) h3")
        expect(done.last).to_have_text("Succeeded", timeout=30_000)
        assert done.all_inner_texts() == [
            *("Planned", "Creating", "AwaitingReady", "Triggering", "Terminating", "Succeeded")
        ]
        expect(page.get_by_role("heading", level=1)).to_have_text("train-ranker")
        expect(page.locator(".status.pill")).to_contain_text("Succeeded")
        assert page.evaluate("window.stayed") is True
        calls = " ".join(page.locator(".attempts code").all_inner_texts())
        assert "PUT /v1/apps POST /v1/jobs/trigger POST /v1/jobs/terminate" in calls

    def test_a_change_elsewhere_is_on_the_open_page_within_two_seconds(self, ada, browser, yard):
        """Another page of the same person pauses everything; this one hears of it."""
        page = ada.page
        page.goto("/")
        expect(page.locator("[data-stream]")).to_contain_text("Live")
        page.wait_for_timeout(1500)  # the fetches of the first connect are over
        other = Reader(browser, yard)
        other.sign_in()
        for round_ in range(3):
            other.page.goto("/")
            other.page.get_by_role("button", name="Pause fallback").click()
            banner = page.locator(".callout", has_text=f"a new rack {round_}")
            dialog = other.page.get_by_role("dialog")
            dialog.get_by_label("What").select_option(label="Everything, in all organizations")
            dialog.get_by_label("Reason").fill(f"a new rack {round_}")
            began = time.monotonic()
            dialog.get_by_role("button", name="Pause fallback").click()
            expect(banner).to_be_visible()
            took = time.monotonic() - began
            sys.stdout.write(f"a change was on another open page after {took * 1000:.0f} ms\n")
            assert took < LIVE_SECONDS
            # Its own old page may have heard the bell and show the button already.
            expect(other.page.locator(".toast", has_text="Paused")).to_be_visible()
            other.page.get_by_role("button", name="Resume").click()
            expect(banner).to_have_count(0)
        assert other.complaints == []
        other.close()

    def test_pausing_and_resuming_a_connection(self, ada):
        page = ada.page
        page.goto("/connections/")
        page.get_by_role("link", name="Simulator").click()
        page.get_by_text("More").click()
        page.get_by_role("button", name="Pause connection").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("maintenance")
        dialog.get_by_role("button", name="Pause connection").click()
        expect(page.locator(".status.pill")).to_have_text("Paused")
        page.goto("/")
        expect(page.locator(".callout", has_text="Connection Simulator is paused.")).to_be_visible()
        page.get_by_role("button", name="Resume").click()
        expect(page.locator(".callout")).to_have_count(0)

    def test_the_console_had_nothing_to_complain_of(self, ada):
        assert ada.complaints == []


class TestReading:
    def test_the_theme_is_remembered_and_rendered(self, ada):
        page = ada.page
        page.goto("/moves/")
        page.get_by_label(re.compile("Account")).click()
        with page.expect_navigation():
            page.get_by_role("button", name="Dark").locator("visible=true").click()
        assert page.url.endswith("/moves/")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
        page.get_by_label(re.compile("Account")).click()
        with page.expect_navigation():
            page.get_by_role("button", name="System").locator("visible=true").click()
        assert page.evaluate("document.documentElement.dataset.theme") is None

    def test_by_keyboard(self, ada):
        page = ada.page
        page.goto("/moves/")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("/")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.type("ranker")
        page.keyboard.press("Enter")
        page.wait_for_url("**/moves/?search=ranker")
        expect(page.get_by_role("link", name="train-ranker")).to_be_visible()
        page.keyboard.press("Control+k")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)

    def test_copying_a_move(self, ada, yard):
        page = ada.page
        ada.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=yard.url)
        page.goto("/moves/")
        page.get_by_role("link", name="train-ranker").click()
        page.get_by_text("Copy as JSON").click()
        expect(page.get_by_text("Copied.")).to_be_visible()
        text = page.evaluate("navigator.clipboard.readText()")
        assert json.loads(text)["jobName"] == "train-ranker"

    def test_without_script(self, browser, yard, ada):
        reader = Reader(browser, yard, java_script_enabled=False)
        reader.sign_in()
        page = reader.page
        for path, words in (
            ("/", "Moving now"),
            ("/moves/", "train-ranker"),
            ("/configs/", "source-1:team-a"),
            ("/sweeps/", "Begun"),
            ("/activity/", "Created the config"),
        ):
            page.goto(path)
            expect(page.locator("main")).to_contain_text(words)
        page.goto("/configs/new/")
        page.get_by_role("button", name="Show what there is").click()
        expect(page.locator("#source-cluster option", has_text="source-1")).to_be_attached()
        reader.close()

    def test_a_lost_connection_is_told_and_comes_back(self, ada):
        page = ada.page
        page.goto("/")
        expect(page.locator("[data-stream]")).to_contain_text("Live")
        page.route_web_socket("**/ws/live", lambda socket: socket.close(code=1011))
        page.reload()
        expect(page.locator("[data-stream]")).to_contain_text("Not live")
        page.unroute_all()


class TestLooks:
    # `make soak` looks at more pages, in all four: test_every_page.py.
    @pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
    def test_axe_finds_nothing_and_nothing_overflows(self, browser, yard, ada, width, theme):
        reader = Reader(browser, yard, width, theme)
        reader.sign_in()
        crawl = Crawl(reader).begin_at("/", "/moves/", "/moves/?search=nothing", "/nope/")
        assert crawl.wrong == []
        assert len(crawl.routes) > 25
        # The browser itself says that /nope/ is not there.
        assert [text for text in reader.complaints if "404" not in text] == []
        reader.close()

    def test_axe_finds_nothing_in_dialogs_and_menus(self, ada):
        page = ada.page
        page.goto("/")
        for name in ("Pause fallback", "Search or jump to"):
            page.get_by_role("button", name=name).click()
            assert ada.wrong_here() == []
            page.keyboard.press("Escape")
        page.get_by_label(re.compile("Account")).click()
        assert ada.wrong_here() == []

    @pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
    def test_the_admin_names_its_parts_and_fits(self, browser, yard, ada, width, theme):
        reader = Reader(browser, yard, width, theme)
        reader.sign_in()
        page, found = reader.page, []
        for path in ("/admin/", "/admin/fallback/connection/add/"):
            page.goto(path)
            found += reader.wrong_here()
        for model in ("user", "activity", "chain"):
            page.goto(f"/admin/accounts/{model}/")
            page.locator("#result_list a[href*='/change/']").first.click()
            found += reader.wrong_here()
        page.goto("/admin/fallback/move/")
        found += reader.wrong_here()
        cut = "e => e.scrollHeight > e.clientHeight + 1"
        cells = f"[...document.querySelectorAll('#result_list td')].filter({cut}).length"
        assert (found, page.evaluate(cells)) == ([], 0)
        reader.close()

    def test_long_names_cut_nothing_off(self, browser, yard, ada):
        """Names and addresses as long as they may be wrap: a panel cuts off what is wider."""
        api, name = ada.page.request, "x" * 100
        given = {"email": "ada@example.org", "password": PASSWORD}
        token = api.post("/api/token", data=given).json()["accessToken"]
        address = f"{yard.url}/{'long-and-' * 20}wide"
        for what, body in (
            ("webhooks", {"name": name, "url": address, "events": ["member.joined"]}),
            ("tokens", {"name": name}),
            ("organizations", {"name": name}),
        ):
            headers = {"Authorization": f"Bearer {token}"}
            assert api.post(f"/api/{what}", data=body, headers=headers).status == 201, what
        found = []
        for width in (1440, 390):
            reader = Reader(browser, yard, width)
            reader.sign_in()
            page = reader.page
            page.goto("/webhooks/")
            webhook = str(page.locator("td.name a").first.get_attribute("href"))
            for path in ("/webhooks/", webhook, "/account/tokens/", "/organizations/", "/moves/"):
                page.goto(path)
                found += [f"{path} at {width}"] if page.evaluate(TOO_WIDE) else []
            reader.close()
        assert found == []


def test_no_process_complained(yard, ada):
    assert "Traceback" not in yard.log()
