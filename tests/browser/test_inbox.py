"""The inbox page in Chromium, as a person uses it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from looppause_sdk.proof import verify
from tests.browser.conftest import IMPATIENT, Inbox

pytestmark = pytest.mark.browser

HOSTILE = '<img src="/x" onerror="document.title=1"><script>document.title=2</script>{{7*7}}'
FORM = {
    "fields": [
        {"name": "amount", "label": "Amount", "type": "number", "required": True},
        {"name": "account", "label": "Account", "type": "select", "options": ["a", 4200]},
        {"name": "urgent", "label": "Urgent", "type": "boolean"},
        {"name": "due", "label": "Due", "type": "date"},
        {"name": "note", "label": "Note", "type": "textarea"},
    ]
}


def test_a_person_approves_with_a_comment(inbox: Inbox, page: Page) -> None:
    """Open the page, write a comment, click Approve: a signed approval by that person."""
    pause_id = inbox.ask()
    page.goto(inbox.url)
    page.get_by_label("Comment").fill("Ja, für Müller.")
    page.get_by_label("Your name").fill("alice@acme.example")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", name="Approved by alice@acme.example")).to_be_visible()
    proof = verify(inbox.fake.get(pause_id), secrets=inbox.fake.secret)
    assert proof.human_authorized
    assert (proof.responder, proof.comment) == ("alice@acme.example", "Ja, für Müller.")


def test_a_person_rejects(inbox: Inbox, page: Page) -> None:
    """One click is enough to say no."""
    pause_id = inbox.ask(form=FORM)
    page.goto(f"{inbox.url}/pauses/{pause_id}")
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_role("heading", name="Rejected by you@localhost")).to_be_visible()
    assert inbox.fake.get(pause_id)["decision"] == "rejected"


def test_form_fields_come_back_typed(inbox: Inbox, page: Page) -> None:
    """What a person fills in arrives with the types the form asked for."""
    pause_id = inbox.ask(form=FORM)
    page.goto(inbox.url)
    page.get_by_label("Amount").fill("12.5")
    page.get_by_label("Account").select_option(label="4200")
    page.get_by_label("Urgent").check()
    page.get_by_label("Due").fill("2026-12-01")
    page.get_by_label("Note").fill("two\nlines")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", name="Approved by")).to_be_visible()
    assert inbox.fake.get(pause_id)["fields"] == {
        "amount": 12.5,
        "account": 4200,
        "urgent": True,
        "due": "2026-12-01",
        "note": "two\nlines",
    }


def test_a_hostile_description_is_shown_as_text(inbox: Inbox, page: Page) -> None:
    """Markup in what an agent asks is read, not run."""
    inbox.ask(HOSTILE)
    page.goto(inbox.url)
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    assert page.title() == "(1) Inbox · LoopPause emulator"


def test_a_new_pause_appears_without_a_reload(inbox: Inbox, page: Page) -> None:
    """An open, empty inbox shows the first question by itself."""
    page.goto(inbox.url)
    expect(page.get_by_role("heading", name="Your inbox is ready")).to_be_visible()
    page.evaluate("window.notReloaded = true")
    inbox.ask("Pay Globex 7 €")
    expect(page.get_by_role("heading", name="Pay Globex 7 €")).to_be_visible()
    expect(page).to_have_title("(1) Inbox · LoopPause emulator")
    assert page.evaluate("window.notReloaded")


def test_a_request_that_hangs_does_not_end_the_updates(inbox: Inbox, page: Page) -> None:
    """It is given up, said to be lost, and the next one brings what is new."""
    page.add_init_script(IMPATIENT)
    page.route("**/updates?*", lambda _request: None, times=1)
    page.goto(inbox.url)
    expect(page.locator("#live")).to_have_text("Not reachable, trying again")
    inbox.ask("Wire Globex 9 €")
    expect(page.get_by_role("link", name="Wire Globex 9 €")).to_be_visible()
    expect(page.locator("#live")).to_have_text("Live")


def test_updates_leave_alone_what_somebody_types(inbox: Inbox, page: Page) -> None:
    """The list follows; the chosen question, its text and its focus stay."""
    chosen = inbox.ask("The one I answer")
    page.goto(inbox.url)
    comment = page.get_by_label("Comment")
    comment.fill("half a sent")
    inbox.ask("A newer one")
    inbox.fake.note(chosen, seen=True)
    expect(page.get_by_role("link", name="A newer one")).to_be_visible()
    expect(page.get_by_role("heading", name="The one I answer")).to_be_visible()
    expect(comment).to_have_value("half a sent")
    expect(comment).to_be_focused()


def test_a_pause_that_ends_elsewhere_says_so(inbox: Inbox, page: Page) -> None:
    """Somebody else's decision takes the buttons away, even while one types."""
    pause_id = inbox.ask()
    page.goto(inbox.url)
    page.get_by_label("Comment").fill("too late")
    inbox.fake.decide(pause_id, "rejected", responder="bob")
    expect(page.get_by_role("heading", name="Rejected by bob")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    expect(page.get_by_role("status")).to_have_text("This pause has ended: Rejected")


def test_delivery_attempts_appear_by_themselves(inbox: Inbox, page: Page) -> None:
    """A webhook nobody takes is seen retrying, and can be sent again."""
    pause_id = inbox.ask(webhook_url="http://127.0.0.1:9/hook")
    inbox.fake.decide(pause_id)
    page.goto(f"{inbox.url}/pauses/{pause_id}")
    expect(page.get_by_text("no answer").first).to_be_visible()
    expect(page.get_by_text("next attempt")).to_be_visible()
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("no answer").nth(2)).to_be_visible()


def test_enter_in_a_text_decides_nothing(inbox: Inbox, page: Page) -> None:
    """Only a button decides: Enter in the name would otherwise approve."""
    pause_id = inbox.ask()
    page.goto(inbox.url)
    page.get_by_label("Your name").press("Enter")
    page.wait_for_timeout(300)
    assert inbox.fake.get(pause_id)["status"] == "pending"


def test_the_keyboard_alone_is_enough(inbox: Inbox, page: Page) -> None:
    """Tab reaches the question's controls in order, and Space presses the button."""
    pause_id = inbox.ask()
    page.goto(inbox.url)
    page.get_by_label("Comment").focus()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Your name")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Approve")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.get_by_role("heading", name="Approved by")).to_be_visible()
    assert inbox.fake.get(pause_id)["comment"] == "by keyboard"


def test_a_search_narrows_the_list_and_keeps_what_one_types(inbox: Inbox, page: Page) -> None:
    """The list follows each letter; the question that is being answered stays as it is."""
    inbox.ask("Wire Globex 5 €", agent_id="payer")
    inbox.ask("Delete the logs", agent_id="janitor")
    page.goto(inbox.url)
    page.get_by_label("Comment").fill("half a sent")
    page.get_by_role("searchbox").press_sequentially("wire gl")
    items = page.get_by_role("navigation", name="Pauses").locator(".item")
    expect(items).to_have_count(1)
    expect(items).to_contain_text("Wire Globex 5 €")
    expect(page.get_by_role("status")).to_have_text("1 pause shown")
    expect(page.get_by_role("searchbox")).to_be_focused()
    expect(page.get_by_role("heading", name="Delete the logs")).to_be_visible()
    expect(page.get_by_label("Comment")).to_have_value("half a sent")
    inbox.ask("Wire Globex again")
    expect(items).to_have_count(2)
    assert page.url.endswith("/?q=wire+gl")
    page.reload()
    expect(items).to_have_count(2)


def test_the_list_can_show_only_what_waits(inbox: Inbox, page: Page) -> None:
    """One click, no reload; the same words are looked for among the answered."""
    inbox.fake.decide(inbox.ask("Pay Acme"))
    inbox.ask("Pay Globex")
    page.goto(inbox.url)
    page.evaluate("window.notReloaded = true")
    items = page.get_by_role("navigation", name="Pauses").locator(".item")
    page.get_by_role("link", name="Waiting 1").click()
    expect(items).to_have_text([re.compile("Pay Globex")])  # a list: until there is one, it waits
    page.get_by_role("link", name="Answered 1").click()
    expect(items).to_have_text([re.compile("Pay Acme")])
    page.get_by_role("searchbox").fill("globex")
    expect(page.get_by_text("Nothing answered has “globex” in it.")).to_be_visible()
    page.get_by_role("link", name="Show all 2").click()
    expect(items).to_have_count(2)
    expect(page.get_by_role("searchbox")).to_have_value("")
    assert page.evaluate("window.notReloaded")


def test_an_answer_half_written_outlives_a_look_elsewhere(inbox: Inbox, page: Page) -> None:
    """Going to another pause and back loses nothing; once answered nothing is left of it."""
    chosen = inbox.ask("The one I answer", form=FORM)
    inbox.ask("The other")
    page.goto(f"{inbox.url}/pauses/{chosen}")
    page.get_by_label("Comment").fill("half a sent")
    page.get_by_label("Amount").fill("12")
    page.get_by_label("Urgent").check()
    page.get_by_role("link", name="The other").click()
    expect(page.get_by_label("Comment")).to_have_value("")
    page.get_by_role("link", name="The one I answer").click()
    expect(page.get_by_label("Comment")).to_have_value("half a sent")
    expect(page.get_by_label("Amount")).to_have_value("12")
    expect(page.get_by_label("Urgent")).to_be_checked()
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_role("heading", name="Rejected by")).to_be_visible()
    page.wait_for_function("sessionStorage.length === 0")


def listens(page: Page) -> None:
    """Wait until the page's script runs: a key pressed before is nobody's."""
    expect(page.locator("#live")).to_be_visible()


def test_keys_lead_through_the_list(inbox: Inbox, page: Page) -> None:
    """j and k go on and back, c and / go into texts, where letters are letters."""
    inbox.ask("The older")
    inbox.ask("The newer")
    page.goto(inbox.url)
    listens(page)
    page.keyboard.press("j")
    expect(page.get_by_role("heading", name="The older")).to_be_visible()
    listens(page)
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.get_by_role("heading", name="The newer")).to_be_visible()
    listens(page)
    page.keyboard.press("c")
    page.keyboard.type("jk/c?")
    expect(page.get_by_label("Comment")).to_have_value("jk/c?")
    page.get_by_role("heading", name="The newer").click()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_keys_are_told_and_can_be_switched_off(inbox: Inbox, page: Page) -> None:
    """The list of keys opens with one, and the browser remembers that none are wanted."""
    inbox.ask("The older")
    inbox.ask("The newer")
    page.goto(inbox.url)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_be_visible()
    page.get_by_label("Use these keys").uncheck()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.reload()
    page.keyboard.press("j")
    page.wait_for_timeout(200)
    expect(page.get_by_role("heading", name="The newer")).to_be_visible()
    page.get_by_role("button", name="Keys").click()
    expect(page.get_by_label("Use these keys")).not_to_be_checked()
    page.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


def test_odd_answers_are_behind_a_menu_for_testing(inbox: Inbox, page: Page) -> None:
    """Closed at first; one click in it ends the pause, which the page shows."""
    pause_id = inbox.ask()
    page.goto(inbox.url)
    expect(page.get_by_role("button", name="Time out")).to_be_hidden()
    page.get_by_text("For testing").click()
    page.get_by_role("button", name="Time out").click()
    expect(page.get_by_role("heading", name="Timed out: nobody answered")).to_be_visible()
    assert inbox.fake.get(pause_id)["status"] == "timed_out"


def test_a_delay_is_typed_without_sending_anything(inbox: Inbox, page: Page) -> None:
    """Enter in the number presses no button, updates leave it, and the delivery is held back."""
    pause_id = inbox.ask(webhook_url="http://127.0.0.1:9/hook")
    page.goto(inbox.url)
    page.get_by_text("For testing").click()
    seconds = page.get_by_label("after")
    seconds.fill("3000")
    seconds.press("Enter")
    page.get_by_role("heading", level=1).click()
    inbox.fake.note(pause_id, seen=True)
    page.wait_for_timeout(1500)
    expect(seconds).to_have_value("3000")
    assert inbox.fake.get(pause_id)["status"] == "pending"
    page.get_by_role("button", name="Approve, delivered late").click()
    expect(page.get_by_text("Held back on purpose")).to_be_visible()
    expect(page.get_by_text(re.compile("in 49 min"))).to_be_visible()


def test_every_control_has_a_name(inbox: Inbox, page: Page) -> None:
    """No input, select or text is without its label."""
    inbox.ask(form=FORM)
    page.goto(inbox.url)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select, textarea')]"
        ".filter(input => !input.labels.length).map(input => input.outerHTML)"
    )
    assert unnamed == []


def test_it_works_without_javascript(inbox: Inbox, browser: Browser) -> None:
    """Plain links and forms are enough to read, choose and decide."""
    first = inbox.ask("The first")
    inbox.ask("The second")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(inbox.url)
    expect(page.locator("noscript p")).to_be_visible()
    page.get_by_role("link", name="The first").click()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", name="Approved by")).to_be_visible()
    page.get_by_role("link", name="Next waiting").click()
    expect(page.get_by_role("heading", name="The second")).to_be_visible()
    context.close()
    assert inbox.fake.get(first)["decision"] == "approved"


def test_on_a_phone_the_list_comes_first(inbox: Inbox, browser: Browser) -> None:
    """At phone width one thing is shown at a time, and nothing runs off the side."""
    inbox.ask("Pay " + "x" * 200)
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = context.new_page()
    page.goto(inbox.url)
    expect(page.get_by_role("button", name="Approve")).to_be_hidden()
    page.get_by_role("link", name="Pay x").tap()
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    expect(page.get_by_role("navigation", name="Pauses")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("link", name="Inbox", exact=True).tap()
    expect(page.get_by_role("navigation", name="Pauses")).to_be_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_closed_to_anybody(
    inbox: Inbox, browser: Browser, scheme: str, width: int
) -> None:
    """axe finds nothing, with everything unfolded that can be, in either theme and width."""
    answered = inbox.ask(webhook_url="http://127.0.0.1:9/hook")
    inbox.fake.decide(answered, comment="ok", fields={"n": 1})
    waiting = inbox.ask(form=FORM, webhook_url="http://127.0.0.1:9/hook")
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 900},
        bypass_csp=True,  # axe is put into the page
    )
    page = context.new_page()
    violations = []
    for path in (
        "",
        f"pauses/{waiting}",
        f"pauses/{answered}",
        "?q=none&show=answered",
        "pauses/x",
    ):
        page.goto(f"{inbox.url}/{path}")
        page.evaluate("document.querySelectorAll('details').forEach(it => { it.open = true; })")
        if path == "" and width > 1000:
            page.keyboard.press("?")
        found = Axe().run(page).response["violations"]
        violations += [(path, it["id"], it["nodes"][0]["html"]) for it in found]
        assert page.evaluate("document.documentElement.scrollWidth") == width
    context.close()
    assert violations == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_both_themes_are_readable(
    inbox: Inbox, browser: Browser, tmp_path: Path, scheme: str, width: int
) -> None:
    """Text stands out from its background by at least 4.5 to 1, light and dark."""
    answered = inbox.ask(webhook_url="http://127.0.0.1:9/hook")
    inbox.fake.decide(answered, comment="ok", fields={"n": 1})
    waiting = inbox.ask(form=FORM, timeout_hours=0.5)
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 900},
    )
    page = context.new_page()
    for path in ("", f"pauses/{waiting}", f"pauses/{answered}"):
        page.goto(f"{inbox.url}/{path}")
        page.screenshot(path=tmp_path / f"{scheme}-{width}.png", full_page=True)
        assert page.evaluate(FAINT_TEXTS) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, background.removeprefix("rgb(").rstrip(")").split(","))) / 3
    assert (brightness < 60) is (scheme == "dark")
    context.close()


# Contrast as WCAG 2 defines it, for every element with text of its own that is visible.
FAINT_TEXTS = """
() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3)
    .map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const rgb = channels(getComputedStyle(e).backgroundColor);
      if (rgb.length === 3 || rgb[3] === 1) return rgb;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(".unseen, .skip")) continue;
    const [a, b] = [luminance(channels(getComputedStyle(element).color)), luminance(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(2)} ${element.className} ${element.textContent.trim()}`);
  }
  return faint;
}
"""
