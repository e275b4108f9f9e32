"""The inbox page without a browser: what it shows, takes and refuses."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from looppause_sdk.testing import FakeLoopPause
from resumer.emulator import Emulator
from resumer.emulator.forms import read_answers, read_form
from resumer.emulator.views import ago, duration, is_tabular

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
SECRET = "the-signing-secret-of-this-test"
API_KEY = "the-api-key-of-this-test"


@pytest.fixture
def emulator() -> Emulator:
    """An emulator whose secrets are known to the test."""
    return Emulator(FakeLoopPause(secret=SECRET, api_key=API_KEY))


def client(app: Any, base_url: str = "http://localhost:8787") -> httpx.AsyncClient:
    """A browser as far as headers go: same origin unless told otherwise."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url=base_url, headers=SAME_ORIGIN
    )


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the page."""
    async with client(emulator.app) as http:
        yield http


def ask(emulator: Emulator, description: str = "Pay 5 €", **members: Any) -> str:
    """Open a pause and return its id."""
    details = members.pop("details", None)
    request = {
        "agent_id": "payer",
        "action": {"type": "payment", "description": description, "details": details},
        "recipients": [{"channel": "slack", "target": "#finance"}],
        **members,
    }
    pause_id: str = emulator.fake.create(request)["pause_id"]
    return pause_id


def said(emulator: Emulator, pause_id: str) -> tuple[Any, ...]:
    """What was decided, by whom, with which comment and fields."""
    proof = emulator.fake.get(pause_id)
    return tuple(proof.get(name) for name in ("decision", "responder", "comment", "fields"))


# -- what it shows ---------------------------------------------------------------------------


async def test_an_empty_inbox_says_what_to_do(http: httpx.AsyncClient) -> None:
    """The first thing a newcomer reads is how to point an agent here."""
    page = (await http.get("/")).text
    assert "LOOPPAUSE_API_URL=http://localhost:8787" in page
    assert API_KEY not in page


async def test_a_waiting_pause_shows_what_is_asked(
    emulator: Emulator, http: httpx.AsyncClient
) -> None:
    """Description, agent, recipients, details, time left and the two buttons are there."""
    ask(emulator, details={"vendor": {"city": "Köln"}, "lines": [1, 2]}, timeout_hours=2)
    page = (await http.get("/")).text
    for shown in ("Pay 5 €", "payer", "#finance", "Köln", "1 h 59 min left", "Approve", "Reject"):
        assert shown in page


async def test_an_answered_pause_shows_who_said_what(
    emulator: Emulator, http: httpx.AsyncClient
) -> None:
    """Decision, responder, comment and fields are shown, and no buttons."""
    pause_id = ask(emulator)
    emulator.fake.decide(pause_id, "rejected", responder="bob", comment="No.", fields={"n": 7})
    page = (await http.get(f"/pauses/{pause_id}")).text
    assert "Rejected by bob" in page
    assert "No." in page
    assert 'name="decision"' not in page


async def test_a_fallback_is_shown_as_no_sign_off(
    emulator: Emulator, http: httpx.AsyncClient
) -> None:
    """Nobody can take a configured default for a person's approval."""
    pause_id = ask(emulator)
    emulator.fake.decide(pause_id, responder="system", authorization_type="system_fallback")
    page = (await http.get(f"/pauses/{pause_id}")).text
    assert "Approved by the configured default" in page
    assert "no sign-off" in page


@pytest.mark.parametrize("state", ["retrying", "delivered", "gave_up", "dropped"])
async def test_every_state_of_a_delivery_is_shown(
    emulator: Emulator, http: httpx.AsyncClient, state: str
) -> None:
    """The attempts are listed with status, error and duration."""
    pause_id = ask(emulator, webhook_url="http://user:pw@h.example/hook?token=t")
    emulator.fake.decide(pause_id)
    attempts = [
        {"at": "2026-11-22T10:00:00+00:00", "status": 503, "error": "<b>busy</b>", "ms": 12},
        {"at": "2026-11-22T10:00:01+00:00", "error": "ConnectError", "ms": 3},
    ]
    again = "2099-01-01T00:00:00+00:00" if state == "retrying" else None
    emulator.fake.note(
        pause_id,
        delivery={"state": state, "attempts": attempts, "failed": 2, "next_attempt_at": again},
    )
    page = (await http.get(f"/pauses/{pause_id}")).text
    label = {"gave_up": "Gave up", "dropped": "Dropped on purpose"}.get(state, state.capitalize())
    for shown in (
        label,
        "503",
        "ConnectError",
        "12 ms",
        "http://h.example/hook?…",
        "&lt;b&gt;busy",
    ):
        assert shown in page
    assert "user:pw" not in page
    assert "token=t" not in page


async def test_no_secret_is_on_any_page(emulator: Emulator, http: httpx.AsyncClient) -> None:
    """The pages name the key by its id only."""
    waiting, answered = ask(emulator), ask(emulator)
    emulator.fake.decide(answered)
    for path in ("/", f"/pauses/{waiting}", f"/pauses/{answered}", "/updates"):
        page = (await http.get(path)).text
        assert SECRET not in page
        assert API_KEY not in page


HOSTILE = "</textarea><script>alert(1)</script><img src=x onerror=alert(1)>\"'{{7*7}}"


async def test_hostile_text_is_text_wherever_it_stands(
    emulator: Emulator, http: httpx.AsyncClient
) -> None:
    """Every member an agent or a person controls is escaped."""
    form = {"fields": [{"name": HOSTILE, "label": HOSTILE, "type": "select", "options": [HOSTILE]}]}
    pause_id = ask(
        emulator,
        HOSTILE,
        agent_id=HOSTILE,
        details={HOSTILE: [HOSTILE, {HOSTILE: None}]},
        recipients=[{"channel": "slack", "target": HOSTILE}],
        form=form,
        escalation={"after_hours": 1, "escalate_to": HOSTILE},
        webhook_url="http://h.example/<script>",
    )
    pages = [(await http.get("/")).text, (await http.get("/updates")).json()["detail"]]
    emulator.fake.decide(pause_id, responder=HOSTILE, comment=HOSTILE, fields={HOSTILE: HOSTILE})
    pages.append((await http.get(f"/pauses/{pause_id}")).text)
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "{{7*7}}" in html.unescape(page)


async def test_ordinary_members_with_odd_names_are_shown(
    emulator: Emulator, http: httpx.AsyncClient
) -> None:
    """Details whose members are called like a mapping's own methods break nothing."""
    ask(
        emulator,
        details={"items": {"keys": 1}, "values": [[]], "get": {}, "": [None, True, "", 0.5]},
    )
    assert (await http.get("/")).status_code == 200


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "items", "name", "type", "options", "default"]), inner
        )
    ),
    max_leaves=12,
)
FORMS = st.dictionaries(st.sampled_from(["fields", "properties", "required", "x"]), JSON)


@settings(max_examples=60, deadline=None)
@given(details=JSON, form=FORMS)
def test_whatever_json_an_agent_sends_is_shown(details: Any, form: dict[str, Any]) -> None:
    """No details and no form make the page fail, before and after the answer."""
    emulator = Emulator()
    pause_id = ask(emulator, details=details, form=form)

    async def look() -> None:
        async with client(emulator.app) as http:
            assert (await http.get("/")).status_code == 200
            emulator.fake.decide(pause_id, fields={"answer": details})
            assert (await http.get(f"/pauses/{pause_id}")).status_code == 200

    asyncio.run(look())


async def test_an_unknown_pause_is_a_404_page(http: httpx.AsyncClient) -> None:
    """A link to a forgotten pause says so, in the page."""
    reply = await http.get("/pauses/pause_unknown")
    assert reply.status_code == 404
    assert "There is no such pause" in reply.text


async def test_links_and_forms_stay_under_a_mount(emulator: Emulator) -> None:
    """Mounted under a prefix, every address of the page has it, and deciding leads back."""
    pause_id = ask(emulator)
    outer = Starlette(routes=[Mount("/inbox", emulator.app)])
    async with client(outer) as http:
        page = (await http.get("/inbox/")).text
        addresses = re.findall(r'(?:href|src|action|data-updates)="(/[^"]*)"', page)
        assert addresses
        assert all(address.startswith("/inbox/") for address in addresses)
        for address in addresses:
            if "/static/" in address:
                assert (await http.get(address)).status_code == 200
        form = {"decision": "approved", "responder": "me"}
        decided = await http.post(f"/inbox/pauses/{pause_id}/decide", data=form)
        assert decided.headers["location"] == f"/inbox/pauses/{pause_id}"
        assert "Path=/inbox" in decided.headers["set-cookie"]


# -- updates ---------------------------------------------------------------------------------


async def test_updates_are_empty_until_something_changes(
    emulator: Emulator, http: httpx.AsyncClient
) -> None:
    """The page polls with the version it has; a change gives it the new parts."""
    version = (await http.get("/updates")).json()["version"]
    assert (await http.get("/updates", params={"have": version})).status_code == 204
    ask(emulator, "Something new")
    changed = (await http.get("/updates", params={"have": version})).json()
    assert changed["waiting"] == 1
    assert "Something new" in changed["list"]
    assert "Something new" in changed["detail"]


async def test_updates_keep_the_chosen_pause(emulator: Emulator, http: httpx.AsyncClient) -> None:
    """A new question never takes the place of the one somebody is reading."""
    chosen = ask(emulator, "The one I read")
    ask(emulator, "A newer one")
    detail = (await http.get("/updates", params={"pause": chosen})).json()["detail"]
    assert f'data-pause="{chosen}"' in detail


async def test_a_page_left_open_over_a_restart_notices(http: httpx.AsyncClient) -> None:
    """Another process never has the version of this one."""
    version = (await http.get("/updates")).json()["version"]
    async with client(Emulator().app) as other:
        await asyncio.sleep(0.002)
        assert (await other.get("/updates", params={"have": version})).status_code == 200


# -- finding ---------------------------------------------------------------------------------


def listed(page: str) -> list[str]:
    """The pauses that a list shows, in its order."""
    return re.findall(r'id="item-(pause_[0-9A-Z]{26})"', page)


@pytest.mark.parametrize(
    "query, found",
    [
        ("", ["new", "old", "done"]),
        ("?show=waiting", ["new", "old"]),
        ("?show=answered", ["done"]),
        ("?show=nonsense", ["new", "old", "done"]),
        ("?q=globex", ["new"]),
        ("?q=GLOBEX+pay", ["new"]),
        ("?q=köln", ["old"]),
        ("?q=bob", ["done"]),
        ("?q=not+today", ["done"]),
        ("?q=approved&show=waiting", []),
        ("?q=auditor", ["old"]),
        ("?q=token", []),
        ("?q=%3Cscript%3E", []),
    ],
)
async def test_the_list_shows_what_is_wanted(
    emulator: Emulator, http: httpx.AsyncClient, query: str, found: list[str]
) -> None:
    """Every word is looked for in the question and the answer, nowhere that is secret."""
    done = ask(emulator, "Pay Initech", webhook_url="http://h.example/?token=t")
    old = ask(emulator, "Pay Acme", details={"city": "Köln"}, agent_id="auditor")
    new = ask(emulator, "Pay Globex")
    emulator.fake.decide(done, "rejected", responder="bob", comment="Not today")
    names = {new: "new", old: "old", done: "done"}
    for page in ((await http.get(f"/{query}")).text, (await http.get(f"/updates{query}")).text):
        assert [names[pause_id] for pause_id in listed(page.replace('\\"', '"'))] == found


async def test_what_is_wanted_stays_wanted(emulator: Emulator, http: httpx.AsyncClient) -> None:
    """Links and forms of a page that was narrowed down lead to pages that are."""
    pause_id = ask(emulator, "Pay Acme & Sons")
    page = (await http.get("/?q=acme+%26&show=waiting")).text
    query = "?show=waiting&amp;q=acme+%26"
    assert f'href="/pauses/{pause_id}{query}"' in page
    assert f'action="/pauses/{pause_id}/decide{query}"' in page
    form = {"decision": "approved", "responder": "me"}
    decided = await http.post(f"/pauses/{pause_id}/decide{html.unescape(query)}", data=form)
    assert decided.headers["location"] == f"/pauses/{pause_id}{html.unescape(query)}"


async def test_a_search_opens_the_first_it_finds(
    emulator: Emulator, http: httpx.AsyncClient
) -> None:
    """Not the newest that waits, which may be something else."""
    wanted = ask(emulator, "Pay Acme")
    ask(emulator, "Pay Globex")
    assert f'data-pause="{wanted}"' in (await http.get("/?q=acme")).text


async def test_a_search_that_finds_nothing_says_so(
    emulator: Emulator, http: httpx.AsyncClient
) -> None:
    """With the words, and a way back to everything."""
    ask(emulator)
    page = (await http.get("/?q=nobody+%3Cb%3E&show=answered")).text
    assert "Nothing answered has “nobody &lt;b&gt;” in it." in page
    assert "Show all 1" in page


async def test_a_long_list_is_cut_and_says_so(emulator: Emulator, http: httpx.AsyncClient) -> None:
    """The latest two hundred of each are shown; the count is of all."""
    for number in range(203):
        ask(emulator, f"Pay {number}")
    page = (await http.get("/")).text
    assert len(listed(page)) == 200
    assert "3 older not shown" in page
    assert "<title>(203) Inbox" in page


# -- the dashboard beside it -----------------------------------------------------------------


async def test_pauses_lead_to_their_page_in_the_dashboard() -> None:
    """Where there is a dashboard, the bar and every pause link to it; else nothing does."""
    emulator = Emulator(dashboard="http://127.0.0.1:1/dashboard/")
    pause_id = ask(emulator)
    async with client(emulator.app) as http:
        page = (await http.get("/")).text
    assert 'href="http://127.0.0.1:1/dashboard/"' in page
    assert f'href="http://127.0.0.1:1/dashboard/pauses/{pause_id}"' in page
    without = Emulator()
    ask(without)
    async with client(without.app) as http:
        assert "ashboard" not in (await http.get("/")).text


# -- deciding --------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", ["approved", "rejected"])
async def test_the_page_decides(emulator: Emulator, http: httpx.AsyncClient, decision: str) -> None:
    """The form's post is signed with name and comment, and leads back to the pause."""
    pause_id = ask(emulator)
    form = {"decision": decision, "responder": " Änne ", "comment": "eins\r\nzwei\n"}
    reply = await http.post(f"/pauses/{pause_id}/decide", data=form)
    assert (reply.status_code, reply.headers["location"]) == (303, f"/pauses/{pause_id}")
    assert said(emulator, pause_id) == (decision, "Änne", "eins\nzwei", None)


async def test_the_page_remembers_the_name(emulator: Emulator, http: httpx.AsyncClient) -> None:
    """Who has decided once need not type the name again, whatever letters it has."""
    form = {"decision": "approved", "responder": 'Änne "x"; y'}
    await http.post(f"/pauses/{ask(emulator)}/decide", data=form)
    ask(emulator)
    assert 'value="Änne &#34;x&#34;; y"' in (await http.get("/")).text


@pytest.mark.parametrize(
    "form, status, shown",
    [
        ({"decision": "approved", "responder": "  "}, 400, "Responder must be"),
        ({"decision": "maybe", "responder": "me"}, 400, "Decision must be"),
        ({}, 400, "Decision must be"),
        ({"decision": "approved", "comment": "x" * 300_000}, 413, "over 256 KiB"),
        ({f"x{i}": "" for i in range(600)}, 400, "Decision must be"),
    ],
)
async def test_an_unusable_post_is_shown_as_such(
    emulator: Emulator, http: httpx.AsyncClient, form: dict[str, str], status: int, shown: str
) -> None:
    """The page comes back with the reason, and the pause still waits."""
    pause_id = ask(emulator)
    reply = await http.post(f"/pauses/{pause_id}/decide", data=form)
    assert reply.status_code == status
    assert shown in reply.text
    assert emulator.fake.get(pause_id)["status"] == "pending"


async def test_a_second_decision_is_shown_the_first(
    emulator: Emulator, http: httpx.AsyncClient
) -> None:
    """Who comes late reads who was first."""
    pause_id = ask(emulator)
    emulator.fake.decide(pause_id, "rejected", responder="bob")
    form = {"decision": "approved", "responder": "me"}
    reply = await http.post(f"/pauses/{pause_id}/decide", data=form)
    assert reply.status_code == 409
    assert "Already rejected by bob: the first decision stands." in reply.text


@pytest.mark.parametrize("verb", ["decide", "redeliver", "try"])
async def test_posts_to_an_unknown_pause_are_404(http: httpx.AsyncClient, verb: str) -> None:
    """There is nothing to decide or to send."""
    reply = await http.post(f"/pauses/nope/{verb}", data={"decision": "approved"})
    assert reply.status_code == 404


# -- forms -----------------------------------------------------------------------------------


FORM = {
    "fields": [
        {"name": "amount", "type": "number", "required": True, "default": 10},
        {"name": "count", "type": "integer"},
        {"name": "urgent", "type": "boolean", "default": True},
        {"name": "account", "type": "select", "options": ["a", 2, {"value": None, "label": "—"}]},
        {"name": "due", "type": "date"},
        {"name": "note", "type": "textarea"},
    ]
}


async def test_form_answers_come_back_typed(emulator: Emulator, http: httpx.AsyncClient) -> None:
    """Numbers are numbers, choices the values they stand for, a missing tick is false."""
    pause_id = ask(emulator, form=FORM)
    page = (await http.get("/")).text
    assert 'type="number" step="any" value="10"' in page
    form = {
        "decision": "approved",
        "responder": "me",
        "field-0": "12.50",
        "field-1": "3",
        "field-3": "1",
        "field-4": "2026-12-01",
        "field-5": "  kept as it is ",
    }
    await http.post(f"/pauses/{pause_id}/decide", data=form)
    assert said(emulator, pause_id)[3] == {
        "amount": 12.5,
        "count": 3,
        "urgent": False,
        "account": 2,
        "due": "2026-12-01",
        "note": "  kept as it is ",
    }


async def test_a_wrong_answer_comes_back_with_what_was_typed(
    emulator: Emulator, http: httpx.AsyncClient
) -> None:
    """Nothing is decided, nothing typed is lost, and each problem stands at its input."""
    pause_id = ask(emulator, form=FORM)
    form = {"decision": "approved", "responder": "me", "comment": "typed", "field-4": "tomorrow"}
    reply = await http.post(f"/pauses/{pause_id}/decide", data=form)
    assert reply.status_code == 422
    for shown in ("Please fill this in.", "YYYY-MM-DD", 'value="tomorrow"', "typed</textarea>"):
        assert shown in reply.text
    assert reply.text.count('aria-invalid="true"') == 2
    assert emulator.fake.get(pause_id)["status"] == "pending"


async def test_a_rejection_needs_no_answers(emulator: Emulator, http: httpx.AsyncClient) -> None:
    """Who says no need not fill in the form; what is usable comes along."""
    pause_id = ask(emulator, form=FORM)
    form = {"decision": "rejected", "responder": "me", "field-1": "x", "field-5": "why"}
    await http.post(f"/pauses/{pause_id}/decide", data=form)
    assert said(emulator, pause_id)[::3] == ("rejected", {"urgent": False, "note": "why"})


SCHEMA = {
    "properties": {
        "amount": {"type": "number", "title": "How much", "description": "In EUR"},
        "kind": {"enum": ["x", 1]},
        "day": {"type": "string", "format": "date"},
        "sure": {"type": "boolean"},
        "why_not": {"type": "string", "default": "because"},
    },
    "required": ["amount"],
}


def test_a_json_schema_is_a_form_too() -> None:
    """Properties become inputs of the same types, with titles as labels."""
    inputs = read_form(SCHEMA)
    assert [(i.name, i.type, i.required) for i in inputs] == [
        ("amount", "number", True),
        ("kind", "select", False),
        ("day", "date", False),
        ("sure", "boolean", False),
        ("why_not", "text", False),
    ]
    assert (inputs[0].label, inputs[0].help) == ("How much", "In EUR")
    assert (inputs[4].label, inputs[4].initial) == ("Why not", "because")


@pytest.mark.parametrize("form", [None, {}])
def test_without_a_form_there_are_no_inputs(form: Any) -> None:
    """Nothing is asked for that was not asked for."""
    assert read_form(form) == ()


@pytest.mark.parametrize(
    "form",
    [{"fields": "x"}, {"fields": [1, {"name": 5}, {}]}, {"properties": []}, {"elements": [{}]}],
)
def test_a_form_of_another_shape_is_answered_in_json(form: dict[str, Any]) -> None:
    """One text takes a JSON object, whose members are the fields."""
    (only,) = read_form(form)
    assert read_answers([only], {only.id: '{"a": [1]}'}) == ({"a": [1]}, {})
    assert read_answers([only], {only.id: ""}) == ({}, {})
    for wrong in ("[1]", "{", "[" * 100_000):
        assert read_answers([only], {only.id: wrong})[1]


@pytest.mark.parametrize(
    "kind, text, value",
    [
        ("number", " 5 ", 5),
        ("number", "-0.25", -0.25),
        ("number", "1e3", 1000.0),
        ("integer", "+7", 7),
        ("date", "2024-02-29", "2024-02-29"),
        ("text", "a\r\nb", "a\nb"),
        ("select", "0", "first"),
        ("boolean", "yes", True),
        ("surprise", "text", "text"),
    ],
)
def test_an_answer_gets_its_type(kind: str, text: str, value: Any) -> None:
    """Each type of input has its type of value."""
    inputs = read_form({"fields": [{"name": "n", "type": kind, "options": ["first"]}]})
    answers, problems = read_answers(inputs, {"field-0": text})
    assert (answers, problems) == ({"n": value}, {})
    assert type(answers["n"]) is type(value)


@pytest.mark.parametrize(
    "kind, text",
    [
        ("number", "nan"),
        ("number", "1e999"),
        ("number", "five"),
        ("number", "٣x"),
        ("integer", "1.5"),
        ("date", "2023-02-29"),
        ("select", "1"),
        ("select", "first"),
        ("select", "²"),
        ("select", "-1"),
    ],
)
def test_an_answer_that_does_not_fit_is_a_problem(kind: str, text: str) -> None:
    """Nothing is guessed."""
    inputs = read_form({"fields": [{"name": "n", "type": kind, "options": ["first"]}]})
    answers, problems = read_answers(inputs, {"field-0": text})
    assert answers == {}
    assert list(problems) == ["field-0"]


# -- what protects it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:8787"}, 403),
        ({"Origin": "http://localhost:8787"}, 303),
        ({"Origin": "http://localhost:9999"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
async def test_only_the_page_itself_may_decide(
    emulator: Emulator, headers: dict[str, str], status: int
) -> None:
    """A post that another site made this browser send decides nothing."""
    pause_id = ask(emulator)
    form = {"decision": "approved", "responder": "me"}
    async with client(emulator.app) as http:
        del http.headers["Sec-Fetch-Site"]
        reply = await http.post(f"/pauses/{pause_id}/decide", data=form, headers=headers)
    assert reply.status_code == status
    assert (emulator.fake.get(pause_id)["status"] == "responded") is (status == 303)


@pytest.mark.parametrize(
    "host, status",
    [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("app.localhost", 200),
        ("127.0.0.1:8787", 200),
        ("[::1]:8787", 200),
        ("192.168.0.5", 200),
        ("inbox.internal:80", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
async def test_the_page_answers_to_its_own_names_only(host: str, status: int) -> None:
    """A name that was bound to this machine by somebody else gets nothing (DNS rebinding)."""
    async with client(Emulator(allowed_hosts=["Inbox.internal"]).app) as http:
        assert (await http.get("/", headers={"Host": host})).status_code == status
        assert (await http.get("/updates", headers={"Host": host})).status_code == status


async def test_the_page_runs_nothing_but_its_own_files(http: httpx.AsyncClient) -> None:
    """A strict policy, and a page without anything inline or from elsewhere."""
    reply = await http.get("/")
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert reply.headers["x-frame-options"] == "DENY"
    assert not re.search(
        r"<style|<script>|\son\w+=|style=|(?:src|href)=\"(?:https?:)?//", reply.text
    )


# -- words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seconds, text",
    [
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (86399, "23 h 59 min"),
        (86400, "1 d"),
        (90000, "1 d 1 h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    """Time left is short and never negative."""
    assert duration(seconds) == text


def test_the_last_minute_is_just_now() -> None:
    """No seconds tick on the page."""
    assert (ago(59), ago(61)) == ("just now", "1 min ago")


@pytest.mark.parametrize(
    "value, tabular",
    [
        ([{"a": 1}, {"a": 2}], True),
        ([{"a": 1}], False),
        ([{"a": 1}, {"b": 2}], False),
        ([{"a": 1}, {"a": [2]}], False),
        ([{}, {}], False),
        ([1, 2], False),
        ("ab", False),
    ],
)
def test_lists_of_like_objects_are_tables(value: Any, tabular: bool) -> None:
    """Only flat objects with the same members share a table."""
    assert is_tabular(value) is tabular
