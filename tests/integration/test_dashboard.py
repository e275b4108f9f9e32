"""The dashboard's pages in this process: who comes in, what they see, what they may do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from resumer import Resumer
from resumer.operator.dashboard import doorway, sessions
from resumer.tokens import Token
from tests import agents
from tests.dashboard import ACT, READ, TOKENS, Visit, text_of, visiting
from tests.integration.conftest import Rig, until

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\u202e evil {{7*7}} 👩🏽‍💻 " + "x" * 4000
)
PAGES = ("/", "/ui/pauses", "/ui/agents", "/ui/audit", "/ui/nothing-here")
ACTS = (
    "/ui/retry?pause=p",
    "/ui/discard?pause=p",
    "/ui/retry-matching?state=parked",
    "/ui/hold?agent=procurement",
    "/ui/release?agent=procurement",
)


async def receiver(rig: Rig, **settings: Any) -> Resumer:
    """A web process's receiver unless it is told to have a worker."""
    quick = {"reconcile_seconds": 0.0, "retry_delays": (), "worker": False}
    return await rig.receiver(**{**quick, **TOKENS, **settings})


@asynccontextmanager
async def dashboard(rig: Rig, token: str | None = ACT, **settings: Any) -> AsyncIterator[Visit]:
    """A receiver, and somebody signed in."""
    resumer = await receiver(rig, **settings)
    async with visiting(resumer.app, token) as visit:
        yield visit


async def parked(rig: Rig, resumer: Resumer, name: str = "t-1") -> str:
    """A pause that was really answered and whose graph really raised, until it was parked."""
    [pause_id] = await rig.hibernate(rig.agent(), name)
    await rig.deliver(resumer, rig.looppause.decide(pause_id, "approved", responder="ada"))
    await rig.until_state(pause_id, "parked")
    return pause_id


def broken(rig: Rig) -> dict[str, Any]:
    def raises(_state: Any) -> Any:
        raise RuntimeError("the bank said <b>no</b>")

    return {"procurement": agents.payment_agent(rig.client(), raises)}


# -- off, in and out -----------------------------------------------------------------------------


async def test_it_is_off_without_a_token(rig: Rig) -> None:
    """No token set: every page is a 404 of one line, and nothing can be signed in to."""
    line = "The dashboard is off: set RESUMER_READ_TOKENS or RESUMER_ACT_TOKENS.\n"
    async with dashboard(rig, None, act_tokens=[], read_tokens=[]) as visit:
        for path in (*PAGES, *ACTS, "/ui/login", "/ui/static/dashboard.css"):
            page = await visit.get(path)
            assert (page.status_code, page.text) == (404, line), path


async def test_a_stranger_is_led_to_the_door_and_back(rig: Rig) -> None:
    """Without a session every page leads to signing in, and from there to where one wanted."""
    async with dashboard(rig, None) as visit:
        for path in (*PAGES, *ACTS, "/ui/pauses/p-1?x=1&y=2"):
            visit.http.cookies.clear()
            sent_away = await visit.get(path)
            assert sent_away.status_code == 303
            door = sent_away.headers["location"]
            assert door.startswith("/ui/login?next=")
            assert (await visit.sign_in(READ, door)).headers["location"] == path


async def test_signing_in_never_leads_elsewhere(rig: Rig) -> None:
    """Whatever the address says, one comes to a page of ours."""
    evil = ("https://evil.example/", "//evil.example", "/\\evil.example", "/ui/x\r\ny", "/pauses")
    async with dashboard(rig, None) as visit:
        for wanted in evil:
            door = str(httpx.URL("/ui/login", params={"next": wanted}))
            assert (await visit.sign_in(ACT, door)).headers["location"] == "/"


async def test_the_cookie_is_kept_from_scripts_and_other_sites(rig: Rig) -> None:
    """HttpOnly, SameSite=Strict, for this path; Secure where the browser came by HTTPS."""
    async with dashboard(rig, None) as visit:
        cookie = (await visit.sign_in(ACT)).headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/;" in cookie
        assert "Secure" not in cookie
        assert ACT not in cookie
    async with visiting((await receiver(rig)).app, None, base="https://resumer") as visit:
        assert "; Secure" in (await visit.sign_in(ACT)).headers["set-cookie"]


async def test_a_wrong_token_is_refused_and_told_how(rig: Rig) -> None:
    """401, the form again, and where tokens come from; the wrong one is not repeated."""
    async with dashboard(rig, None) as visit:
        page = await visit.sign_in("not-a-token-of-ours")
        assert page.status_code == 401
        assert "That token is not one of ours" in page.text
        assert "not-a-token-of-ours" not in page.text
        assert (await visit.get("/")).status_code == 303


async def test_attempts_are_limited(rig: Rig) -> None:
    """After ten wrong tokens even the right one has to wait, and other addresses do not."""
    resumer = await receiver(rig)
    async with visiting(resumer.app, None) as visit:
        for _ in range(10):
            assert (await visit.sign_in("a-wrong-token-again")).status_code == 401
        refused = await visit.sign_in(ACT)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 300
        assert "Try again in 5 minutes" in refused.text
    transport = httpx.ASGITransport(resumer.app, client=("203.0.113.8", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://resumer") as http:
        assert (await Visit(http).sign_in(ACT)).status_code == 303


async def test_signing_out_ends_it(rig: Rig) -> None:
    """The cookie is gone, and the door says so."""
    async with dashboard(rig) as visit:
        word = await visit.form_word("/")
        out = await visit.post("/ui/logout", {"form_word": word})
        assert out.headers["location"] == "/ui/login?done=out"
        assert "You are signed out" in (await visit.get("/ui/login?done=out")).text
        assert (await visit.get("/")).status_code == 303


@pytest.mark.parametrize(
    ("later", "is_in"), [(29 * 60, True), (31 * 60, False)], ids=["in time", "too late"]
)
async def test_an_idle_session_ends(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, later: float, is_in: bool
) -> None:
    """Half an hour without a page, and one has to sign in again."""
    async with dashboard(rig) as visit:
        moved(monkeypatch, later)
        assert ((await visit.get("/")).status_code == 200) is is_in


async def test_what_a_page_asks_by_itself_keeps_no_session_open(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forgotten tab polls on, and is signed out all the same; a person who reads is not."""
    async with dashboard(rig) as visit:
        for minutes in (10, 20, 25):
            moved(monkeypatch, minutes * 60)
            assert "set-cookie" not in (await visit.get("/", **{"X-Live": "1"})).headers
        moved(monkeypatch, 35 * 60)
        assert (await visit.get("/", **{"X-Live": "1"})).status_code == 401
    async with dashboard(rig) as visit:
        for minutes in (0, 25, 50, 75):
            moved(monkeypatch, (35 + minutes) * 60)
            if not minutes:
                assert (await visit.sign_in(ACT)).status_code == 303
            assert (await visit.get("/")).status_code == 200


async def test_no_session_outlives_half_a_day(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy somebody is, the token is asked for again after twelve hours."""
    async with dashboard(rig) as visit:
        for minutes in range(25, 12 * 60, 25):
            moved(monkeypatch, minutes * 60)
            assert (await visit.get("/ui/audit")).status_code == 200
        moved(monkeypatch, 12 * 3600 + 1)
        assert (await visit.get("/ui/audit")).status_code == 303


def moved(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the doors' clock go `seconds` before the real one."""
    monkeypatch.setattr(doorway, "now_seconds", lambda: time.time() + seconds)


async def test_replicas_share_sessions_and_others_do_not(rig: Rig) -> None:
    """Who signed in at one replica is known at the next; other tokens, other sessions."""
    first, second = await receiver(rig), await receiver(rig)
    stranger = await receiver(rig, act_tokens=["ada:another-token-to-act"])
    async with visiting(first.app) as visit:
        for app, status in ((second.app, 200), (stranger.app, 303)):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://resumer", cookies=visit.http.cookies
            ) as http:
                assert (await http.get("/")).status_code == status


async def test_a_forged_or_broken_cookie_is_nobody(rig: Rig) -> None:
    """Any change of the cookie, and any other text, is as good as none."""
    async with dashboard(rig) as visit:
        good = visit.http.cookies[doorway.COOKIE]
        parts = good.split(".")
        later = ".".join([*parts[:2], str(int(parts[2]) + 9), *parts[3:]])
        for cookie in (later, good[:-1], good + "0", "a.b.c.d", "....", "ü", ""):
            sent = {b"Cookie": f"{doorway.COOKIE}={cookie}".encode()}
            reply = await httpx.AsyncClient(
                transport=visit.http._transport, base_url="http://resumer"
            ).get("/", headers=sent)
            assert reply.status_code == 303, cookie


# -- headers, forms, other sites ------------------------------------------------------------------


async def test_every_answer_carries_the_policy(rig: Rig) -> None:
    """Nothing from elsewhere, nothing inline, in no frame, in no cache but files that never change."""
    kept = "public, max-age=31536000, immutable"
    async with dashboard(rig) as visit:
        for path in (*PAGES, "/ui/login", "/ui/static/dashboard.css"):
            page = await visit.get(path)
            policy = page.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert page.headers["x-content-type-options"] == "nosniff"
            assert page.headers["referrer-policy"] == "same-origin"
            may_keep = path.endswith("dashboard.css")
            assert page.headers["cache-control"] == (kept if may_keep else "no-store"), path


async def test_no_page_has_anything_inline_or_from_elsewhere(rig: Rig) -> None:
    """No inline script, style or handler, which the policy would stop; no address but ours."""
    resumer = await receiver(rig, graphs=broken(rig), worker=True)
    pause_id = await parked(rig, resumer)
    async with visiting(resumer.app) as visit:
        for path in (*PAGES, f"/ui/pauses/{pause_id}", f"/ui/discard?pause={pause_id}"):
            page = (await visit.get(path)).text
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?!\s+src=)", page), path
            assert not re.search(r'(?:src|href|action)="(?!/|#)', page), path


async def test_a_form_of_another_page_does_nothing(rig: Rig) -> None:
    """Without the session's own word, or from another site, a form is refused."""
    await rig.rows("insert into pauses (pause_id, state, body) values ('p', 'parked', '{}')")
    async with dashboard(rig) as visit:
        word = await visit.form_word("/")
        attempts = [
            ({}, {}),
            ({"form_word": "0" * 64}, {}),
            ({"form_word": word}, {"Origin": "https://evil.example"}),
            ({"form_word": word}, {"Origin": "null"}),
            ({"form_word": word}, {"Sec-Fetch-Site": "cross-site"}),
            ({"form_word": word}, {"Sec-Fetch-Site": "same-site"}),
        ]
        for path in ACTS:
            for fields, headers in attempts:
                reply = await visit.post(path, fields, **headers)
                assert reply.status_code == 403, (path, fields, headers)
    assert await rig.rows("select * from audit") == []
    assert await rig.rows("select * from holds") == []


async def test_the_door_is_guarded_as_well(rig: Rig) -> None:
    """Nobody can be signed in from another site's page."""
    async with dashboard(rig, None) as visit:
        word = await visit.form_word("/ui/login")
        for fields, headers in (
            ({"token": ACT}, {}),
            ({"token": ACT, "form_word": word}, {"Origin": "https://evil.example"}),
        ):
            assert (await visit.post("/ui/login", fields, **headers)).status_code == 403
        assert (await visit.get("/")).status_code == 303


async def test_a_form_that_is_too_big_is_refused(rig: Rig) -> None:
    """64 KiB are more than any form of ours has."""
    async with dashboard(rig) as visit:
        reply = await visit.post("/ui/hold?agent=a", {"reason": "x" * 70_000})
        assert reply.status_code == 413


async def test_a_link_from_elsewhere_finds_the_session(rig: Rig) -> None:
    """A strict cookie does not come with a link from a chat: our own page follows it again."""
    async with dashboard(rig, None) as visit:
        page = await visit.get("/ui/pauses/p?a=1&b=2", **{"Sec-Fetch-Site": "cross-site"})
        assert page.status_code == 200
        assert '<meta http-equiv="refresh" content="0; url=/ui/pauses/p?a=1&amp;b=2">' in page.text


# -- what is shown --------------------------------------------------------------------------------


async def test_nothing_happened_yet(rig: Rig) -> None:
    """Every page has something to say about an empty database."""
    async with dashboard(rig) as visit:
        assert "Nothing was resumed" in (await visit.get("/")).text
        assert "No pauses yet" in (await visit.get("/ui/pauses")).text
        assert "Nothing matches" in (await visit.get("/ui/pauses?state=parked")).text
        assert "No agent has asked yet" in (await visit.get("/ui/agents")).text
        assert "Nothing was done by hand yet" in (await visit.get("/ui/audit")).text


async def test_one_pause_tells_its_life(rig: Rig) -> None:
    """What was asked, who answered, what verified it, every step, the thread and its graph."""
    async with dashboard(rig, worker=True) as visit:
        [pause_id] = await rig.hibernate(rig.agent(), "t-1", 7)
        resumer_app = visit.http._transport
        proof = rig.looppause.decide(
            pause_id, "approved", responder="ada@x.example", comment="fine", fields={"n": 1}
        )
        async with httpx.AsyncClient(transport=resumer_app, base_url="http://resumer") as http:
            for _ in range(2):
                await http.post("/webhooks/looppause", json=proof)
        await rig.until_state(pause_id, "resumed")
        text = text_of(page := await visit.get(f"/ui/pauses/{pause_id}"))
    for said in (
        "Pay 7 EUR",
        "asked by procurement of #finance (slack)",
        "Approved by ada@x.example",
        "fine",
        "Verified HMAC-SHA256",
        "Asked, hibernated",
        "Delivered, verified and recorded",
        "Delivered again",
        "Resume started, attempt 1",
        "Resumed",
        "The run ended",
    ):
        assert said in text
    shown = re.search(r'id="raw-proof-text"[^>]*>(.*?)</pre>', page.text, re.DOTALL)
    assert shown is not None
    assert '<g class="node node-gate"><title>gate: the gate that asked' in re.sub(
        r">\s+<", "><", page.text
    )
    assert "graph TD;" in page.text


async def test_the_raw_proof_is_what_was_signed(rig: Rig) -> None:
    """What is copied from the page is the delivery, character by character."""
    async with dashboard(rig) as visit:
        [pause_id] = await rig.hibernate(rig.agent(), "t-1", 7)
        proof = rig.looppause.decide(pause_id, "rejected", comment="a\u202eb<é>\n\\ \"'&amp;")
        body = json.dumps(proof, ensure_ascii=False)
        await visit.http.post(
            "/webhooks/looppause", content=body, headers={"Content-Type": "application/json"}
        )
        page = await visit.get(f"/ui/pauses/{pause_id}")
    shown = re.search(r'id="raw-proof-text"[^>]*>(.*?)</pre>', page.text, re.DOTALL)
    assert shown is not None
    assert unescape(shown[1]) == body


async def test_hostile_text_is_shown_as_text(rig: Rig) -> None:
    """Markup is escaped, templates are not evaluated, and nothing hides or turns around."""
    hostile_agent = "<b>agent</b>"

    def action(_state: Any) -> dict[str, Any]:
        return {"type": "<i>", "description": HOSTILE, "details": {HOSTILE[:60]: [HOSTILE]}}

    graph = rig.agent(action_builder=action, agent_id=hostile_agent)
    async with dashboard(rig, graphs={hostile_agent: graph}, worker=True) as visit:
        [pause_id] = await rig.hibernate(graph, "t-<u>", 7)
        proof = rig.looppause.decide(pause_id, "approved", responder="<s>", comment=HOSTILE)
        await visit.http.post("/webhooks/looppause", json=proof)
        await rig.until_state(pause_id, "resumed")
        paths = (
            "/",
            "/ui/pauses",
            f"/ui/pauses/{pause_id}",
            "/ui/agents",
            "/ui/hold?agent=%3Cb%3E",
        )
        for path in paths:
            page = (await visit.get(path)).text
            assert not re.search(r"<(?:script>|img src=x|b>agent|u>|s>|i>)", page), path
            seen = re.sub(r'<pre class="raw".*?</pre>', "", page, flags=re.DOTALL)
            assert "\u202e" not in seen, path
            assert "49" not in re.findall(r"evil (\S+)", page), path
        assert "[U+202E] evil {{7*7}}" in text_of(await visit.get(f"/ui/pauses/{pause_id}"))


async def test_a_graph_that_cannot_be_loaded_breaks_no_page(rig: Rig) -> None:
    """A web process whose graph is broken shows the pause, and says what is wrong with it."""
    resumer = Resumer(
        {"procurement": "no.such.module:graph"},
        database_url=rig.url,
        signing_secrets=[rig.looppause.secret],
        worker=False,
        **TOKENS,
    )
    await rig.stack.enter_async_context(resumer.running())
    [pause_id] = await rig.hibernate(rig.agent(), "t-1", 7)
    await rig.deliver(resumer, rig.looppause.decide(pause_id, "approved"))
    await rig.rows("update pauses set agent_id = 'procurement'")
    async with visiting(resumer.app) as visit:
        page = await visit.get(f"/ui/pauses/{pause_id}")
    assert page.status_code == 200
    assert "The graph could not be shown here" in page.text
    assert "No module named" in text_of(page)


async def test_a_pause_that_nobody_knows_is_404(rig: Rig) -> None:
    """And so is an id that could be none; the page says when pauses become known."""
    async with dashboard(rig) as visit:
        for name in ("nobody", "a%00b", "x" * 5000, "a%0Ab", ""):
            page = await visit.get(f"/ui/pauses/{name}")
            assert page.status_code == 404
        assert "There is no such pause here" in (await visit.get("/ui/pauses/nobody")).text


async def test_strange_ids_are_linked_so_that_they_are_found(rig: Rig) -> None:
    """Slashes, spaces, question marks and quotes in an id survive the way into a link and back."""
    strange = "p/1 ?a=b&c#d%41\"'<é>"
    async with dashboard(rig) as visit:
        await rig.rows(
            "insert into pauses (pause_id, state, agent_id) values (%s, 'waiting', 'a&b=\"c\"')",
            strange,
        )
        listed = (await visit.get("/ui/pauses")).text
        link = re.search(r'href="(/ui/pauses/p[^"]+)"', listed)
        assert link is not None
        assert (await visit.get(link[1].replace("&amp;", "&"))).status_code == 200
        agent = re.search(r'href="(/ui/pauses\?agent=[^"]+)"', listed)
        assert agent is not None
        assert link[1] in (await visit.get(agent[1])).text


async def test_filters_narrow_and_pages_follow(rig: Rig) -> None:
    """State, agent, thread, reason, age and text narrow the list; older and newer lead through."""
    async with dashboard(rig) as visit:
        await rig.rows(
            "insert into pauses (pause_id, state, agent_id, thread_id, reason_code, created_at, body)"
            " select 'p-' || lpad(i::text, 3, '0'),"
            " case when mod(i, 2) = 0 then 'parked' else 'resumed' end,"
            " 'agent-' || mod(i, 3), 'thread-' || i, case when mod(i, 2) = 0 then 'raised' end,"
            " now() - make_interval(mins => i), '{}' from generate_series(1, 130) as i"
        )

        async def listed(query: str) -> list[str]:
            return re.findall(r'id="row-(p-\d+)"', (await visit.get(f"/ui/pauses{query}")).text)

        assert (await listed(""))[:2] == ["p-001", "p-002"]
        assert len(await listed("?state=parked")) == 50
        assert set(await listed("?agent=agent-0&age=1h")) == {f"p-{i:03}" for i in range(3, 60, 3)}
        assert await listed("?thread=thread-77") == ["p-077"]
        assert await listed("?text=READ-12&state=resumed") == [
            "p-121",
            "p-123",
            "p-125",
            "p-127",
            "p-129",
        ]
        assert len(await listed("?reason=raised&age=over-1h")) == 36
        pages, address = [], "/ui/pauses"
        for _ in range(3):
            page = (await visit.get(address)).text
            pages.append(re.findall(r'id="row-(p-\d+)"', page))
            older = re.search(r'rel="next" href="([^"]+)"', page)
            address = older[1].replace("&amp;", "&") if older else address
        assert [name for page in pages for name in page] == [f"p-{i:03}" for i in range(1, 131)]
        newer = re.search(r'rel="prev" href="([^"]+)"', page)
        assert newer is not None
        page = (await visit.get(newer[1].replace("&amp;", "&"))).text
        assert re.findall(r'id="row-(p-\d+)"', page) == pages[1]


async def test_addresses_that_mean_nothing_still_show_a_page(rig: Rig) -> None:
    """What cannot be meant is left out."""
    queries = (
        "?cursor=nonsense",
        "?state=nonsense&age=nonsense&hours=x",
        "?text=%00&agent=%ff&thread=" + "y" * 5000,
        "?cursor=" + "z" * 3000 + "&trail=a&trail=b",
        "?done=%3Cscript%3E",
        "?hours=" + "9" * 400,
    )
    async with dashboard(rig) as visit:
        for query in queries:
            for path in ("/ui/pauses", "/"):
                page = await visit.get(path + query)
                assert page.status_code == 200
                assert "<script>" not in page.text


async def test_a_page_asks_for_its_changes_only(rig: Rig) -> None:
    """The part that changes, its version, and nothing at all while it is the same."""
    async with dashboard(rig) as visit:
        page = (await visit.get("/ui/pauses")).text
        found = re.search(r'data-version="(\w+)"', page)
        assert found is not None
        version = found[1]
        same = await visit.get("/ui/pauses", **{"X-Live": "1", "X-Have": version})
        assert (same.status_code, same.text) == (204, "")
        await rig.rows("insert into pauses (pause_id, state) values ('p-new', 'waiting')")
        fresh = await visit.get("/ui/pauses", **{"X-Live": "1", "X-Have": version})
        assert fresh.status_code == 200
        assert "p-new" in fresh.text
        assert "<html" not in fresh.text
        assert fresh.headers["x-version"] not in ("", version)


async def test_an_old_database_day_is_drawn(rig: Rig) -> None:
    """The chart has a column for each hour something happened in, and the table says how much."""
    async with dashboard(rig) as visit:
        await rig.rows(
            "insert into pauses (pause_id, state, outcome, decision, received_at, finished_at, body)"
            " select 'p-' || i, 'resumed', 'resumed', 'approved', at, at + interval '2 s', '{}'"
            " from generate_series(1, 40) as i, lateral (select now() - make_interval(mins => i * 30) as at) as t"
        )
        page = await visit.get("/")
        assert page.text.count('class="column column-decisions"') >= 12
        assert "2.0 s" in text_of(page)
        assert 'Decisions <strong class="number">40</strong>' in page.text


# -- what is done ---------------------------------------------------------------------------------


async def test_retry_takes_it_up_again(rig: Rig) -> None:
    """Confirmed, done, told and noted with the name of the token."""
    resumer = await receiver(rig, graphs=broken(rig), worker=True)
    pause_id = await parked(rig, resumer)
    async with visiting(resumer.app) as visit:
        asked = await visit.get(f"/ui/retry?pause={pause_id}")
        assert "Retry this pause?" in asked.text
        assert await rig.rows("select * from audit") == []
        done = await visit.act(f"/ui/retry?pause={pause_id}")
        assert done.headers["location"] == f"/ui/pauses/{pause_id}?done=retried"
        assert "It is taken up again." in (await visit.get(done.headers["location"])).text
        audit = text_of(await visit.get("/ui/audit"))
    [entry] = await rig.rows("select who, action, target from audit")
    assert entry == {"who": "ada", "action": "retried", "target": pause_id}
    assert f"ada retried {pause_id}" in audit


async def test_discarding_keeps_the_reason(rig: Rig) -> None:
    """A discarded pause says who decided so and why, and offers nothing more."""
    resumer = await receiver(rig, graphs=broken(rig), worker=True)
    pause_id = await parked(rig, resumer)
    async with visiting(resumer.app) as visit:
        await visit.act(f"/ui/discard?pause={pause_id}", reason="paid <by> hand")
        page = await visit.get(f"/ui/pauses/{pause_id}")
        assert "paid <by> hand" in text_of(page)
        assert "/ui/retry?" not in page.text
        again = await visit.post(
            f"/ui/retry?pause={pause_id}", {"form_word": await visit.form_word("/")}
        )
        assert again.status_code == 409
        assert "discarded" in again.text
    assert (await rig.pause(pause_id) or {})["state"] == "discarded"


async def test_all_that_match_are_counted_before_they_are_retried(rig: Rig) -> None:
    """The dry run says how many and which; confirming does it to these, and no others."""
    resumer = await receiver(rig, graphs=broken(rig), worker=True)
    names = [await parked(rig, resumer, f"t-{i}") for i in range(3)]
    async with visiting(resumer.app) as visit:
        query = "?state=parked&reason=raised"
        asked = text_of(await visit.get(f"/ui/retry-matching{query}"))
        assert "This would retry 3 parked or failed pauses" in asked
        assert all(name in asked for name in names)
        assert await rig.rows("select * from audit") == []
        done = await visit.act(f"/ui/retry-matching{query}")
        assert done.headers["location"].endswith("?state=parked&reason=raised&done=retried-3")
        told = await visit.get(done.headers["location"])
        assert "3 pauses are taken up again." in told.text
        nothing = await visit.get("/ui/retry-matching?state=resumed")
        assert "Nothing that matches is parked or failed" in nothing.text
    events = await rig.rows("select pause_id from events where event = 'retried'")
    assert {event["pause_id"] for event in events} == set(names)


async def test_hold_and_release(rig: Rig) -> None:
    """A held agent is shown with who and why, its threads wait, and go on when it is released."""
    async with dashboard(rig, worker=True) as visit:
        [pause_id] = await rig.hibernate(rig.agent(), "t-1", 7)
        assert "Hold this agent?" in (await visit.get("/ui/hold?agent=procurement")).text
        await visit.act("/ui/hold?agent=procurement", reason="the bank is down")
        proof = rig.looppause.decide(pause_id, "approved")
        await visit.http.post("/webhooks/looppause", json=proof)

        async def is_held() -> Any:
            row = await rig.pause(pause_id)
            return row and row["reason_code"] == "held"

        await until(is_held)
        agents_page = text_of(await visit.get("/ui/agents"))
        assert "Held by ada" in agents_page
        assert "the bank is down" in agents_page
        assert "1 agent is held" in text_of(await visit.get("/"))
        assert "Held by ada" in text_of(await visit.get("/ui/release?agent=procurement"))
        await visit.act("/ui/release?agent=procurement")
        await rig.until_state(pause_id, "resumed")
    assert [row["action"] for row in await rig.rows("select action from audit order by id")] == [
        "held",
        "released",
    ]


async def test_who_may_only_read_sees_no_buttons_and_cannot_act(rig: Rig) -> None:
    """A read token: the same pages without a button, and 403 for every act, GET or POST."""
    resumer = await receiver(rig, graphs=broken(rig), worker=True)
    pause_id = await parked(rig, resumer)
    async with visiting(resumer.app, READ) as visit:
        for path in (*PAGES[:-1], f"/ui/pauses/{pause_id}"):
            page = await visit.get(path)
            assert page.status_code == 200
            assert not re.search(r"/ui/(?:retry|discard|hold|release)", page.text), path
        word = await visit.form_word("/")
        for path in (f"/ui/retry?pause={pause_id}", f"/ui/discard?pause={pause_id}", *ACTS):
            assert (await visit.get(path)).status_code == 403
            refused = await visit.post(path, {"form_word": word})
            assert refused.status_code == 403
            assert "Your token may only read" in refused.text
    assert await rig.rows("select * from audit") == []


async def test_signed_out_in_between_does_nothing(rig: Rig) -> None:
    """A form that is sent after the session ended says so, and changes nothing."""
    async with dashboard(rig) as visit:
        word = await visit.form_word("/ui/hold?agent=a")
        visit.http.cookies.clear()
        refused = await visit.post("/ui/hold?agent=a", {"form_word": word})
        assert refused.status_code == 403
        assert "You are signed out" in refused.text
    assert await rig.rows("select * from holds") == []


# -- where it is mounted, and when it is away -----------------------------------------------------


@pytest.mark.parametrize("root", ["", "/behind/a/proxy"])
async def test_mounted_under_a_prefix(rig: Rig, root: str) -> None:
    """Every link, form, redirect and the cookie carry the prefix, the proxy's as well."""
    resumer = await receiver(rig, graphs=broken(rig), worker=True)
    pause_id = await parked(rig, resumer)
    prefix = f"{root}/approvals"
    app = Starlette(routes=[Mount("/approvals", resumer.app)])
    transport = httpx.ASGITransport(app, root_path=root)
    async with httpx.AsyncClient(transport=transport, base_url="http://resumer") as http:
        visit = Visit(http, prefix)
        assert (await visit.get("/ui/audit")).headers[
            "location"
        ] == f"{prefix}/ui/login?next=/ui/audit"
        done = await visit.sign_in(ACT, "/ui/login?next=/ui/audit")
        assert done.headers["location"] == f"{prefix}/ui/audit"
        assert f"Path={prefix};" in done.headers["set-cookie"]
        for path in ("/", "/ui/pauses", f"/ui/pauses/{pause_id}", f"/ui/retry?pause={pause_id}"):
            page = await visit.get(path)
            assert page.status_code == 200
            links = re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text)
            assert [link for link in links if not link.startswith(f"{prefix}/")] == []
            style = next(link for link in links if ".css" in link)
            assert (await http.get(style)).status_code == 200
        acted = await visit.act(f"/ui/retry?pause={pause_id}")
        assert acted.headers["location"] == f"{prefix}/ui/pauses/{pause_id}?done=retried"


async def test_not_started_says_what_to_do(database_url: str) -> None:
    """A mounted receiver that nobody started: 503 with the line to add."""
    resumer = Resumer(database_url=database_url, signing_secrets=["s" * 20], worker=False, **TOKENS)
    async with visiting(resumer.app) as visit:
        page = await visit.get("/")
    assert (page.status_code, page.headers["retry-after"]) == (503, "5")
    assert "<code>resumer.lifespan</code>" in page.text


async def test_a_database_that_is_away_is_503(rig: Rig) -> None:
    """The page says that nothing is lost, and loads itself again."""
    async with dashboard(rig) as visit:
        parts = urlsplit(rig.url)
        name = parts.path.removeprefix("/")
        server = parts._replace(path="/postgres").geturl()
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'alter database "{name}" allow_connections false'.encode())
            connection.execute(
                b"select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
                (name,),
            )
            try:
                page = await visit.get("/")
            finally:
                connection.execute(f'alter database "{name}" allow_connections true'.encode())
    assert page.status_code == 503
    assert "The database does not answer" in page.text
    assert 'http-equiv="refresh" content="10"' in page.text


def test_a_session_key_takes_no_guessing() -> None:
    """It comes from all tokens together, in whatever order, and slowly."""
    one, two = Token.of(ACT, "act"), Token.of(READ)
    assert sessions.Sessions((one, two)).key == sessions.Sessions((two, one)).key
    assert sessions.Sessions((one,)).key != sessions.Sessions((one, two)).key
