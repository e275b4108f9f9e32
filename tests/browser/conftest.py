"""Chromium, and a served emulator for its pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from looppause_sdk.testing import FakeLoopPause
from resumer.emulator import Emulator
from tests.browser.served import served

expect.set_options(timeout=20_000)  # of a machine that has other work, too

# A page's patience with a request, shortened; whatever is given up is asked for again.
IMPATIENT = """(() => {
  const timeout = AbortSignal.timeout.bind(AbortSignal);
  AbortSignal.timeout = (milliseconds) => timeout(milliseconds / 5);
})()"""

CHROMIUM = Path("/usr/bin/chromium")
FEATURES = [
    # Else a page that is closed while it goes elsewhere may never close:
    # https://github.com/microsoft/playwright/issues/42068
    "RenderDocument:level/crashed-frame",
    # Playwright's own, which would be lost with the argument it gives.
    "CDPScreenshotNewSurface",
    "SkipListAccountsWithoutGaiaCookies",
]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--enable-features={','.join(FEATURES)}",
]


@dataclass
class Inbox:
    """A served emulator: `fake` is its brain, `url` its page."""

    emulator: Emulator
    url: str

    @property
    def fake(self) -> FakeLoopPause:
        return self.emulator.fake

    def ask(self, description: str = "Pay Acme 5 €", **members: Any) -> str:
        request = {
            "agent_id": "procurement",
            "action": {
                "type": "payment",
                "description": description,
                "details": {"vendor": {"name": "Acme"}, "amount": 5},
            },
            "recipients": [{"channel": "slack", "target": "#finance"}],
            **members,
        }
        pause_id: str = self.fake.create(request)["pause_id"]
        return pause_id


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing: apt-get update && apt-get install -y chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """An emulator of this test's own, served from a thread."""
    emulator = Emulator()
    with served(emulator.app) as url:
        yield Inbox(emulator, url)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; whatever it logs, fails to load or asks of others fails the test."""
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    yield page
    context.close()
    assert complaints == []
    assert [url for url in requested if not url.startswith("http://127.0.0.1:")] == []
