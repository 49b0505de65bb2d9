"""A whole Switchyard for a browser: its real processes, a simulated control plane, and an owner."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from config.environment import embedded_socket
from fallback.simulator.client import Simulator
from tests import needs

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
WIDTHS = {1440: 900, 390: 844}
# Sideways scrolling of the page, what a panel cuts off, and a secret that is not seen whole.
TOO_WIDE = """[...document.querySelectorAll("html, .panel, :has(> #secret)")]
  .map(element => element.scrollWidth - element.clientWidth).filter(excess => excess > 0)"""


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if found := condition():
                return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


class Yard:
    """On a data directory and a port of its own; `end()` leaves nothing behind."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        # Short, and not pytest's own directory: a Unix socket's path ends at 107 bytes.
        self.data_dir = Path(tempfile.mkdtemp(prefix="swy-e2e-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        self.environment = kept | {
            "DATA_DIR": str(self.data_dir),
            "PORT": str(self.port),
            "JOB_FALLBACK_ENABLED": "true",
        }
        self.manage("migrate", "--verbosity", "0")
        owner = ("--email", "ada@example.org", "--password", PASSWORD)
        self.manage("bootstrap", *owner, "--organization", "Acme")
        with (self.data_dir / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        # The suite begins several at once: on two busy cores it has taken half a minute.
        until(self.healthy, 90, "the health endpoint answers")

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def healthy(self) -> bool:
        with urllib.request.urlopen(f"{self.url}/api/health", timeout=2) as reply:
            return b'"ok"' in reply.read()

    def end(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=15)
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.data_dir, ignore_errors=True)
        shutil.rmtree(embedded_socket(self.data_dir).parent, ignore_errors=True)

    def log(self) -> str:
        return (self.data_dir / "up.log").read_text()


@contextlib.contextmanager
def opened(simulator: Simulator) -> Iterator[Yard]:
    found = Yard(simulator)
    try:
        yield found
    finally:
        found.end()


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=needs.browser(), args=ARGUMENTS)


class Reader:
    """Somebody at a browser, who hears what its console complains of."""

    def __init__(
        self, browser: Browser, yard: Yard, width: int = 1440, theme: str = "light", **more: Any
    ) -> None:
        self.yard, self.look = yard, f"{width} {theme}"
        self.complaints: list[str] = []
        self.axe = Axe()
        self.context: BrowserContext = browser.new_context(
            base_url=yard.url,
            viewport={"width": width, "height": WIDTHS[width]},
            color_scheme=theme,  # type: ignore[arg-type]
            timezone_id="Europe/Berlin",
            reduced_motion="reduce",
            **more,
        )
        self.context.set_default_timeout(15_000)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def sign_in(self, name: str = "ada@example.org") -> None:
        self.page.goto("/sign-in/")
        self.page.get_by_label("Email or user name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(f"{self.yard.url}/")

    def settle(self) -> None:
        """Until the page is drawn, and has fetched what it fetches at once."""
        self.page.wait_for_timeout(300)
        if self.page.locator("[hx-trigger=load]").count():
            self.page.wait_for_load_state("networkidle")

    def wrong_here(self) -> list[str]:
        """What axe finds on the page that is open, and by how many pixels something is too wide."""
        self.settle()
        path = urlsplit(self.page.url).path
        found = [
            f"{path}: {wrong['id']}: {node['html'][:200]}"
            for wrong in self.axe.run(self.page).response["violations"]
            for node in wrong["nodes"]
        ]
        return found + [f"{path}: {excess} px too wide" for excess in self.page.evaluate(TOO_WIDE)]

    def close(self) -> None:
        self.context.close()
