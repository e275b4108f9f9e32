"""The dashboard in Chromium: a receiver's own process, real threads, real proofs."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from looppause_sdk.proof import key_id
from tests import postgres
from tests.browser.conftest import IMPATIENT
from tests.browser.desk import ACT, READ, Desk, desk

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

HOSTILE = (
    "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\"> "
    "\u202eFRE 1 yaP\u202c {{7*7}} " + "very-long-" * 60
)


@pytest.fixture(scope="module")
def service(postgres_server: postgres.Server) -> Iterator[Desk]:
    """One receiver for all tests here; each asks pauses of its own."""
    url = postgres_server.database()
    with tempfile.TemporaryDirectory() as folder, desk(url, Path(folder)) as made:
        yield made
    postgres_server.drop(url)


def sign_in(page: Page, service: Desk, token: str = ACT) -> None:
    page.goto(f"{service.url}/ui/login")
    page.get_by_label("Operator token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()


def open_pause(page: Page, service: Desk, pause_id: str) -> None:
    page.goto(f"{service.url}/ui/pauses/{pause_id}")


def step(page: Page, text: str) -> Locator:
    return page.get_by_role("listitem").filter(has_text=text)


@pytest.fixture
def ada(page: Page, service: Desk) -> Page:
    """A page of somebody who may act."""
    sign_in(page, service)
    return page


# -- in and out -----------------------------------------------------------------------------------


def test_the_way_in_leads_to_the_page_one_wanted(service: Desk, page: Page) -> None:
    """A link, the door, the token, the page; and out again."""
    pause_id = service.ask("Wanted Ltd")
    service.until(pause_id, "waiting")
    open_pause(page, service, pause_id)
    expect(page).to_have_title("Sign in · Resumer")
    expect(page.get_by_label("Operator token")).to_be_focused()
    page.keyboard.type(ACT)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Pay 980 EUR to Wanted Ltd")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_a_link_in_a_chat_finds_the_session(service: Desk, ada: Page) -> None:
    """The strict cookie does not come with a click elsewhere, and one is let in all the same."""
    ada.goto("about:blank")
    ada.set_content(f'<a href="{service.url}/ui/audit">look</a>')
    ada.get_by_role("link").click()
    expect(ada).to_have_title("Audit · Resumer")


def test_a_wrong_token_is_told(service: Desk, browser: Browser) -> None:
    """The form comes again and says where tokens come from."""
    page = browser.new_page()
    page.goto(f"{service.url}/ui/login")
    page.get_by_label("Operator token").fill("not-one-of-them-at-all")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("That token is not one of ours")
    page.close()


# -- what is shown --------------------------------------------------------------------------------


def test_a_life_is_followed_without_a_reload(service: Desk, ada: Page) -> None:
    """Waiting, answered, resuming, resumed: the open page follows, and opened parts stay open."""
    pause_id = service.ask("Followed Inc")
    service.until(pause_id, "waiting")
    open_pause(ada, service, pause_id)
    expect(ada.get_by_role("heading", name="Nobody has answered yet.")).to_be_visible()
    ada.evaluate("window.notReloaded = true")
    ada.get_by_text("Mermaid source").click()
    with service.flag("slow"):
        service.answer(pause_id, comment="Checked against the order.")
        expect(ada.get_by_role("heading", name="A worker runs it now.")).to_be_visible()
        expect(ada.get_by_text("Checked against the order.", exact=True)).to_be_visible()
    expect(ada.get_by_role("heading", name="It was resumed")).to_be_visible()
    for said in ("Asked, hibernated", "Delivered, verified and recorded", "Resume started"):
        expect(step(ada, said).first).to_be_visible()
    expect(ada.get_by_text("graph TD;")).to_be_visible()
    assert ada.evaluate("window.notReloaded")


def test_a_request_that_hangs_does_not_end_the_updates(service: Desk, ada: Page) -> None:
    """It is given up, said to be lost, and the next one brings what is new."""
    pause_id = service.ask("Hung Inc")
    service.until(pause_id, "waiting")
    ada.add_init_script(IMPATIENT)
    open_pause(ada, service, pause_id)
    ada.route(f"**/ui/pauses/{pause_id}", lambda _request: None, times=1)
    expect(ada.locator("#live")).to_have_text("Not reachable, trying again")
    service.resolve(pause_id, "resumed")
    expect(ada.get_by_role("heading", name="It was resumed")).to_be_visible()
    expect(ada.locator("#live")).to_have_text("Live")


def test_one_pause_tells_everything(service: Desk, ada: Page) -> None:
    """Question, answer, proof, conflict, thread and graph of a pause that led to a second one."""
    pause_id = service.ask("Globex GmbH", 47_300)
    proof = service.answer(pause_id, comment="Ja, für Müller.", channel="slack")
    service.deliver(proof)
    service.until(pause_id, "resumed")
    open_pause(ada, service, pause_id)
    answer = ada.get_by_role("region", name="The answer")
    expect(answer.get_by_role("heading", name="Approved by ada@example.com")).to_be_visible()
    expect(answer).to_contain_text("Ja, für Müller.")
    expect(answer).to_contain_text("Verified")
    expect(ada.get_by_role("region", name="What was asked")).to_contain_text("Steel beams")
    expect(step(ada, "Delivered again")).to_be_visible()
    drawing = ada.get_by_role("img", name="The graph's nodes")
    expect(drawing).to_be_visible()
    expect(drawing.locator(".node-gate")).to_have_text(re.compile("ask_finance"))
    expect(ada.get_by_role("region", name="The thread now", exact=True)).to_contain_text(
        "ask_board"
    )
    ada.get_by_role("region", name="Other pauses of this thread").get_by_role("link").click()
    expect(ada).not_to_have_url(re.compile(pause_id))
    expect(ada.get_by_role("heading", name="Nobody has answered yet.")).to_be_visible()


def test_an_error_shows_its_traceback(service: Desk, ada: Page) -> None:
    """The exception first, the whole traceback on demand, why it is stuck and what to do."""
    pause_id = service.park("Initech Ltd")
    open_pause(ada, service, pause_id)
    expect(ada.get_by_role("heading", name="The graph kept raising.")).to_be_visible()
    error = ada.get_by_role("region", name="Error")
    expect(error.locator(".error-line")).to_contain_text("BankRefused: the account DE02 is blocked")
    error.get_by_text("Traceback", exact=True).click()
    expect(error.locator("pre")).to_contain_text("in _pay")


def test_the_raw_proof_can_be_copied(service: Desk, browser: Browser) -> None:
    """One click, and the signed bytes are in the clipboard."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    sign_in(page, service)
    pause_id = service.ask("Copied Ltd")
    service.resolve(pause_id, "resumed")
    open_pause(page, service, pause_id)
    page.get_by_text("Raw proof", exact=True).click()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    [row] = service.rows("select body from pauses where pause_id = %s", pause_id)
    assert page.evaluate("navigator.clipboard.readText()") == bytes(row["body"]).decode()
    context.close()


def test_hostile_text_is_only_text(service: Desk, ada: Page) -> None:
    """Markup of an agent or a person is read, not run, and fits on the page."""
    pause_id = service.ask(HOSTILE)
    service.resolve(pause_id, "resumed", responder=HOSTILE[:80], comment=HOSTILE)
    for path in ("/", "/ui/pauses", f"/ui/pauses/{pause_id}"):
        ada.goto(service.url + path)
        assert "hacked" not in ada.title().replace("'hacked'", "")
        assert ada.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert ada.locator("main script, main img[src=x]").count() == 0
    expect(ada.get_by_role("heading", level=1)).to_contain_text("[U+202E]FRE 1 yaP[U+202C] {{7*7}}")


def test_the_list_follows_and_stays_where_it_is(service: Desk, ada: Page) -> None:
    """A new pause appears by itself; the focus and what is typed stay, and so does the scrolling."""
    for number in range(12):
        service.ask(f"Row {number}")
    ada.set_viewport_size({"width": 1280, "height": 500})
    ada.goto(f"{service.url}/ui/pauses?agent=procurement")
    expect(ada.get_by_role("link", name="Pay 980 EUR to Row 11")).to_be_visible()
    ada.get_by_label("Text or id").fill("half a sent")
    link = ada.get_by_role("link", name="Pay 980 EUR to Row 3")
    link.focus()
    link.scroll_into_view_if_needed()
    above = link.bounding_box()
    pause_id = service.ask("A newcomer")
    expect(ada.get_by_role("link", name="Pay 980 EUR to A newcomer")).to_be_attached()
    expect(link).to_be_focused()
    expect(ada.get_by_label("Text or id")).to_have_value("half a sent")
    below = link.bounding_box()
    assert above is not None
    assert below is not None
    assert abs(above["y"] - below["y"]) < 3
    service.resolve(pause_id, "resumed")
    row = ada.get_by_role("row").filter(has_text="A newcomer")
    expect(row).to_contain_text("Resumed")


def test_filters_and_pages_by_hand(service: Desk, ada: Page) -> None:
    """Fill in, tick, show; take it away again; go to older ones and back."""
    service.resolve(service.ask("Needle in hay"), "resumed")
    for number in range(52):
        service.ask(f"Hay {number}", thread=f"hay-{number}")
    ada.goto(f"{service.url}/ui/pauses")
    ada.get_by_label("Text or id").fill("needle")
    ada.get_by_text("Resumed", exact=True).first.click()
    ada.get_by_role("button", name="Show").click()
    expect(ada.get_by_role("heading", name="1 pause", exact=True)).to_be_visible()
    expect(ada).to_have_title("Resumed pauses · Resumer")
    ada.get_by_role("link", name="Clear").click()
    service.until(
        service.rows("select pause_id from pauses order by created_at desc")[0]["pause_id"],
        "waiting",
    )
    expect(ada.get_by_role("link", name="Older")).to_be_visible()
    first = ada.locator(".ask-link").first.get_attribute("href")
    ada.get_by_role("link", name="Older").click()
    expect(ada.get_by_role("link", name="Newer")).to_be_visible()
    assert ada.locator(".ask-link").first.get_attribute("href") != first
    ada.get_by_role("link", name="Newer").click()
    expect(ada.get_by_role("link", name="Newer")).to_have_count(0)


# -- what is done ---------------------------------------------------------------------------------


def test_retry_after_mending(service: Desk, ada: Page) -> None:
    """Ask, see what will happen, confirm: the thread goes on, and the audit says who did it."""
    pause_id = service.park("Mended Ltd")
    open_pause(ada, service, pause_id)
    button = ada.get_by_role("link", name="Retry…")
    button.click()
    dialog = ada.get_by_role("dialog", name="Retry this pause?")
    expect(dialog).to_contain_text("Pay 980 EUR to Mended Ltd")
    ada.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    assert service.state(pause_id) == "parked"
    button.click()
    dialog.get_by_role("button", name="Retry").click()
    expect(ada.get_by_text("It is taken up again.")).to_be_visible()
    expect(ada.get_by_role("heading", name="It was resumed")).to_be_visible()
    expect(step(ada, "Taken up again by an operator")).to_contain_text("ada")
    ada.get_by_role("link", name="Audit").click()
    expect(ada.get_by_role("row").nth(1)).to_contain_text(f"ada retried {pause_id}")


def test_discard_with_a_reason(service: Desk, ada: Page) -> None:
    """Nothing more is done about it, and everybody can read why."""
    pause_id = service.park("Discarded Ltd")
    open_pause(ada, service, pause_id)
    ada.get_by_role("link", name="Discard…").click()
    dialog = ada.get_by_role("dialog", name="Discard this pause?")
    dialog.get_by_label("Why").fill("paid by hand")
    dialog.get_by_role("button", name="Discard").click()
    expect(ada.get_by_role("heading", name="It was discarded")).to_be_visible()
    expect(ada.get_by_text("paid by hand").first).to_be_visible()
    expect(ada.get_by_role("link", name="Retry…")).to_have_count(0)
    assert service.state(pause_id) == "discarded"


def test_retry_all_that_match(service: Desk, ada: Page) -> None:
    """The dry run names them, confirming takes them up, and the list shows them going on."""
    names = [service.park(f"Batch {number}", 500) for number in range(3)]
    ada.goto(f"{service.url}/ui/pauses?state=parked&text=Batch")
    ada.get_by_role("link", name="Retry all that match…").click()
    dialog = ada.get_by_role("dialog", name="Retry all that match?")
    expect(dialog).to_contain_text("This would retry 3 parked or failed pauses")
    for name in names:
        expect(dialog).to_contain_text(name)
    assert [service.state(name) for name in names] == ["parked"] * 3
    dialog.get_by_role("button", name="Retry them").click()
    expect(ada.get_by_text("3 pauses are taken up again.")).to_be_visible()
    for name in names:
        service.until(name, "resumed")
    expect(ada.get_by_text("Nothing matches")).to_be_visible()


def test_hold_and_release_an_agent(service: Desk, ada: Page) -> None:
    """Held: the answered thread waits and says why. Released: it goes on."""
    ada.goto(f"{service.url}/ui/agents")
    ada.get_by_role("link", name="Hold… procurement").click()
    dialog = ada.get_by_role("dialog", name="Hold this agent?")
    dialog.get_by_label("Why").fill("the bank is down")
    dialog.get_by_role("button", name="Hold").click()
    expect(ada.get_by_role("row").filter(has_text="procurement")).to_contain_text("Held")
    pause_id = service.ask("Held Ltd")
    service.answer(pause_id)
    open_pause(ada, service, pause_id)
    expect(step(ada, "Held: its agent is paused").first).to_be_visible()
    ada.goto(service.url)
    expect(ada.get_by_text("1 agent is held")).to_be_visible()
    ada.get_by_role("link", name="All agents").click()
    ada.get_by_role("link", name="Release… procurement").click()
    ada.get_by_role("dialog").get_by_role("button", name="Release").click()
    expect(ada.get_by_text("Released: what had to wait goes on.")).to_be_visible()
    service.until(pause_id, "resumed")


def test_who_may_only_read_sees_no_buttons(service: Desk, browser: Browser) -> None:
    """The same pages, and nothing to press; the address of an act is refused."""
    pause_id = service.park("Read Ltd")
    page = browser.new_page()
    sign_in(page, service, READ)
    expect(page.get_by_text("read only")).to_be_visible()
    for path in (f"/ui/pauses/{pause_id}", "/ui/pauses?state=parked", "/ui/agents"):
        page.goto(service.url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.locator("main a.button:has-text('…')").count() == 0
    page.goto(f"{service.url}/ui/retry?pause={pause_id}")
    expect(page.get_by_role("heading", name="Your token may only read")).to_be_visible()
    page.close()


def test_everything_works_without_javascript(service: Desk, browser: Browser) -> None:
    """Sign in, find a parked pause, confirm on a page of its own."""
    pause_id = service.park("Plain Ltd")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, service)
    page.get_by_role("link", name="Pauses").click()
    page.get_by_label("Text or id").fill("Plain Ltd")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="Pay 980 EUR to Plain Ltd").click()
    page.get_by_role("link", name="Retry…").click()
    expect(page.get_by_role("heading", name="Retry this pause?")).to_be_visible()
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.get_by_text("It is taken up again.")).to_be_visible()
    service.until(pause_id, "resumed")
    context.close()


def test_the_keyboard_alone_is_enough(service: Desk, ada: Page) -> None:
    """Skip to the content, tab to the link, open it, ask and confirm without a mouse."""
    pause_id = service.park("Keyboard Ltd")
    ada.goto(f"{service.url}/ui/pauses?text=Keyboard")
    ada.keyboard.press("Tab")
    expect(ada.get_by_role("link", name="Skip to the content")).to_be_focused()
    ada.keyboard.press("Enter")
    tab_to(ada, ada.get_by_role("link", name="Pay 980 EUR to Keyboard Ltd"))
    expect(ada.locator("tr:has(a:focus-visible) .when").first).to_be_visible()
    ada.keyboard.press("Enter")
    expect(ada.get_by_role("heading", level=1)).to_contain_text("Keyboard Ltd")
    tab_to(ada, ada.get_by_role("link", name="Retry…"))
    ada.keyboard.press("Enter")
    expect(ada.get_by_role("dialog")).to_be_visible()
    tab_to(ada, ada.get_by_role("dialog").get_by_role("button", name="Retry"))
    ada.keyboard.press("Enter")
    expect(ada.get_by_text("It is taken up again.")).to_be_visible()
    service.until(pause_id, "resumed")


def tab_to(page: Page, wanted: Locator) -> None:
    for _ in range(60):
        if wanted.evaluate("element => element === document.activeElement"):
            outline = wanted.evaluate("element => getComputedStyle(element).outlineStyle")
            assert outline != "none"
            return
        page.keyboard.press("Tab")
    raise AssertionError("it cannot be reached")


# -- for everybody, everywhere --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1360), ("dark", 1360), ("light", 390)], ids=str
)
def test_no_page_keeps_anybody_out(
    service: Desk, browser: Browser, scheme: Any, width: int
) -> None:
    """axe finds nothing on any page, light and dark, wide and on a phone; nothing runs off."""
    parked, hostile = service.park("Axe Ltd", 800), service.ask(HOSTILE, 12_000)
    service.resolve(hostile, "resumed", comment=HOSTILE)
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"{service.url}/ui/login")
    found = violations(page)
    sign_in(page, service)
    for path in (
        "/",
        "/ui/pauses",
        "/ui/pauses?state=parked&reason=raised",
        "/ui/pauses?text=nothing-at-all",
        f"/ui/pauses/{parked}",
        f"/ui/pauses/{hostile}",
        "/ui/agents",
        "/ui/audit",
        f"/ui/retry?pause={parked}",
        f"/ui/discard?pause={parked}",
        "/ui/retry-matching?state=parked",
        "/ui/hold?agent=procurement",
        "/ui/nothing-here",
    ):
        page.goto(service.url + path)
        for summary in page.locator("summary").all():
            if summary.is_visible():
                summary.click()
        found += violations(page)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        found += [f"{path} is {wide} pixels too wide"] * (wide > 0)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, background.removeprefix("rgb(").rstrip(")").split(","))) / 3
    assert (brightness < 60) is (scheme == "dark")
    context.close()
    assert found == []


AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    page.evaluate(AXE)
    found_here = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    return [
        f"{page.url} {found['id']}: {node['html'][:200]} {node['failureSummary']}"
        for found in found_here
        for node in found["nodes"]
    ]


def test_it_can_be_printed(service: Desk, ada: Page) -> None:
    """On paper there are no buttons, and every time is exact."""
    pause_id = service.park("Paper Ltd")
    open_pause(ada, service, pause_id)
    ada.emulate_media(media="print")
    expect(ada.get_by_role("link", name="Retry…")).to_be_hidden()
    expect(ada.get_by_role("navigation", name="Main")).to_be_hidden()
    content = "getComputedStyle(document.querySelector('.step .when'), '::after').content"
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", ada.evaluate(content))


def test_the_documents_have_their_pictures(
    postgres_server: postgres.Server, browser: Browser, tmp_path: Path
) -> None:
    """A day of payments, drawn for the documents if RESUMER_SCREENSHOTS names their folder."""
    folder = Path(os.environ.get("RESUMER_SCREENSHOTS") or tmp_path)
    with desk(postgres_server.database(), tmp_path) as service:
        parked = a_day_of_payments(service)
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 390)):
            draw(browser, service, folder, parked, scheme=scheme, width=width)


def draw(
    browser: Browser, service: Desk, folder: Path, pause_id: str, *, scheme: Any, width: int
) -> None:
    is_phone = width < 500
    context = browser.new_context(
        color_scheme=scheme,
        viewport={"width": width, "height": 844 if is_phone else 900},
        device_scale_factor=2 if is_phone else 1,
    )
    page = context.new_page()
    sign_in(page, service)
    suffix = "-phone" if is_phone else "-dark" if scheme == "dark" else ""
    paths = {"": "/", "-pauses": "/ui/pauses", "-pause": f"/ui/pauses/{pause_id}"}
    for name, path in paths.items():
        page.goto(service.url + path)
        expect(page.locator("#live")).to_have_text("Live")
        file = folder / f"dashboard{name}{suffix}.png"
        page.screenshot(path=file, full_page=name != "-pauses" and not is_phone)
        assert file.stat().st_size > 20_000
    context.close()


def a_day_of_payments(service: Desk) -> str:
    """Real pauses of now over a made-up day before; return one that is parked."""
    service.rows(MADE_UP, key_id(service.looppause.secret))
    service.rows(
        "insert into events (pause_id, event, at) select pause_id, 'parked', received_at"
        " from pauses where state = 'parked'"
    )
    service.resolve(service.ask("Umbrella AG", 2_150), "resumed", decision="rejected")
    second = service.ask("Globex GmbH", 47_300, thread="order-2026-0119")
    service.resolve(second, "resumed", comment="Matches the offer of 3 November.", channel="slack")
    waiting = service.ask("Hooli", 8_900)
    pause_id = service.ask("Acme Corp", 8_450)
    with service.flag("broken"):
        proof = service.answer(pause_id, comment="Checked against order 4711.", channel="slack")
        service.deliver(proof)
        service.until(pause_id, "parked")
    service.until(waiting, "waiting")
    return pause_id


MADE_UP = """
    insert into pauses (pause_id, state, outcome, decision, responder, agent_id, thread_id, action,
        body, scheme, key_id, deliveries, attempts, reason_code, reason, received_at, finished_at,
        created_at)
    select 'pause_' || md5(i::text), case when is_parked then 'parked' else 'resumed' end,
        case when is_parked then 'parked' else 'resumed' end,
        case when mod(i, 7) = 0 then 'rejected' else 'approved' end,
        (array['ada@example.com', 'grace@example.com'])[1 + mod(i, 2)],
        (array['procurement', 'refunds', 'onboarding'])[1 + mod(i, 3)], 'order-2025-' || 1000 + i,
        jsonb_build_object('type', 'payment', 'description',
            'Pay ' || 40 * i || ' EUR to ' || (array['Acme Corp', 'Globex GmbH', 'Initech Ltd'])[1 + mod(i, 3)]),
        '{}', 'hmac', %s, 1, case when is_parked then 3 else 0 end,
        case when is_parked then (array['raised', 'raised', 'no_node'])[1 + mod(i, 3)] end,
        case when is_parked then 'the graph raised 3 times' end,
        at, case when not is_parked then at + make_interval(secs => 0.04 + 0.7 * power(random(), 6)) end, at
    from generate_series(1, 640) as i,
    lateral (select mod(i * 0.6180339, 1) as x) as chance,
    lateral (select now() - interval '24 hours' * (0.02 + 0.97 * (x - 0.05 * sin(x * 4 * pi()))) as at,
        mod(i, 97) = 5 and x > 0.2 as is_parked) as spread
"""
