"""From signing up to the first call of the API, by what the pages say and nothing else."""

import json
import shlex
import shutil
import subprocess

import pytest
from playwright.sync_api import expect

from tests.e2e.yard import PASSWORD, Reader
from tests.needs import on_postgres

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not shutil.which("curl"), reason="no curl: apt-get install curl"),
    pytest.mark.skipif(on_postgres(), reason="the journey runs on SQLite: make test"),
]


def test_from_signing_up_to_a_first_call(browser, yard, tmp_path):
    """Nothing is typed into the address bar but where Switchyard is."""
    dora = Reader(browser, yard)
    dora.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=yard.url)
    page = dora.page
    page.goto("/")
    page.get_by_role("link", name="Create account").click()
    page.get_by_label("Email").fill("dora@example.org")
    page.get_by_label("User name").fill("dora")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()

    expect(page.get_by_text("You are in no organization yet.")).to_be_visible()
    page.get_by_role("link", name="Create organization").click()
    page.get_by_label("Name").fill("Weather")
    page.get_by_role("button", name="Create organization").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Weather")

    page.get_by_label("Account: dora").click()
    page.get_by_role("link", name="API tokens").locator("visible=true").click()
    page.get_by_role("link", name="Create token").first.click()
    page.get_by_label("Name").fill("first")
    page.get_by_role("button", name="Create token").click()
    page.get_by_role("button", name="Copy command").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    line = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    told = subprocess.run(
        line, capture_output=True, timeout=20, check=True, env={"HOME": str(tmp_path)}
    )
    answer = json.loads(told.stdout)
    assert answer["username"] == "dora" and answer["token"]["name"] == "first"
    assert [m["organization"]["name"] for m in answer["memberships"]] == ["Weather"]

    page.get_by_role("link", name="API documentation").click()
    expect(page.get_by_text("GET", exact=True).first).to_be_visible()
    expect(page.locator("#swagger-ui")).to_contain_text("Authorization: Bearer TOKEN")
    page.get_by_role("link", name="Switchyard").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    assert dora.complaints == []
    dora.close()


@pytest.mark.parametrize(
    ("width", "theme"), [(390, "dark"), pytest.param(1440, "light", marks=pytest.mark.soak)]
)
def test_the_api_documentation_can_be_read_and_tried(browser, yard, width, theme):
    """By who has signed in, without a token; axe and the console have nothing to say."""
    ada = Reader(browser, yard, width, theme)
    ada.sign_in()
    page = ada.page
    page.goto("/api/docs")
    page.get_by_role("button", name="Authorize").click()
    expect(page.get_by_role("dialog", name="Authorize")).to_be_visible()
    assert ada.wrong_here() == []
    page.get_by_role("button", name="Close").first.click()
    page.locator("#operations-organizations-organizations_create .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    body = page.locator("textarea.body-param__text")
    body.fill(json.dumps({"name": f"Made at {width}"}))
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("201")
    assert ada.wrong_here() == []
    assert ada.complaints == []
    ada.close()
