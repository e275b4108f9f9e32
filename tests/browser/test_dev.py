"""The main job as a person does it: `resumer dev`, the inbox in a browser, one click."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


class Session:
    """A running `resumer dev` and what it has printed."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "output"
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "resumer", "dev", "--port", "0"],
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def wait_for(self, pattern: str, seconds: float = 40) -> str:
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)
        return found[1]


@pytest.fixture
def session() -> Iterator[Session]:
    # Not pytest's own folder: each pytest that starts beside this one closes that to others, and
    # under root PostgreSQL is another user.
    with tempfile.TemporaryDirectory(prefix="resumer-dev-") as folder:
        running = Session(Path(folder))
        yield running
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0


@pytest.mark.timeout(120)
def test_a_person_approves_and_the_thread_pays(session: Session, page: Page) -> None:
    """Open the inbox, click Approve: the hibernating thread wakes up and pays."""
    inbox = session.wait_for(r"Inbox +(http://\S+)")
    session.wait_for(r"(asks)")
    page.goto(inbox)
    expect(page.get_by_role("heading", name="Pay 12450 EUR to Acme Corp")).to_be_visible()
    if folder := os.environ.get("RESUMER_SCREENSHOTS"):  # set to docs/images to renew them
        page.set_viewport_size({"width": 1180, "height": 900})
        page.screenshot(path=Path(folder, "inbox.png"))
    page.get_by_label("Your name").fill("ada@example.com")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", name="Approved by ada@example.com")).to_be_visible()
    assert session.wait_for(r"PAID 12450 EUR to Acme Corp, approved by (\S+),") == "ada@example.com"


@pytest.mark.timeout(120)
def test_the_inbox_leads_to_the_dashboard(session: Session, page: Page) -> None:
    """One click, signed in already: the page of the very pause, where its answer is seen."""
    inbox = session.wait_for(r"Inbox +(http://\S+)")
    dashboard = session.wait_for(r"Dashboard +(http://\S+)")
    session.wait_for(r"(asks)")
    page.goto(dashboard)
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    page.goto(inbox)
    page.get_by_role("button", name="Approve").click()
    session.wait_for(r"(PAID 12450 EUR)")
    page.get_by_role("link", name="See it in the dashboard").click()
    page.wait_for_url(re.compile(r"/resumer/ui/pauses/pause_"))
    expect(page.get_by_role("heading", name="Pay 12450 EUR to Acme Corp")).to_be_visible()


@pytest.mark.timeout(120)
def test_a_person_rejects_and_nothing_is_paid(session: Session, page: Page) -> None:
    """A click on Reject wakes the thread too, and it does not pay."""
    inbox = session.wait_for(r"Inbox +(http://\S+)")
    session.wait_for(r"(asks)")
    page.goto(inbox)
    page.get_by_label("Comment").fill("too much")
    page.get_by_role("button", name="Reject").click()
    assert session.wait_for(r"(NOT PAID, rejected by you@localhost: too much)")
