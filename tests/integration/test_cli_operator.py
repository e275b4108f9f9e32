"""What an operator does from the shell beside retrying: discard, hold, sweep, export, look back."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog

from looppause_sdk.proof import Scheme
from looppause_sdk.testing import FakeLoopPause
from resumer.db import SCHEMA, Pool, connect, open_pool
from resumer.emulator import Emulator
from resumer.operator.exporting import AT_ONCE, Exporting
from resumer.operator.views import Filter
from resumer.pauses import Pauses
from resumer.serving import serving
from resumer.watchlist import SWEEP_LOCK
from tests.commands import Ended, resumer
from tests.integration.conftest import Rig
from tests.integration.test_cli_pauses import on_a_terminal
from tests.many_pauses import fill


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("resumer")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before
    structlog.reset_defaults()


async def run(
    rig: Rig, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b""
) -> Ended:
    """Run it in an environment that a worker has."""
    known = {"RESUMER_DATABASE_URL": rig.url, "LOOPPAUSE_SIGNING_SECRET": rig.looppause.secret}
    return await resumer(*arguments, env={**known, **(env or {})}, stdin=stdin)


async def insert(rig: Rig, pause_id: str, state: str, **more: Any) -> None:
    columns = {
        "pause_id": pause_id,
        "state": state,
        "body": "{}",
        "agent_id": "procurement",
        **more,
    }
    names = ", ".join(columns)
    places = ", ".join(["%s"] * len(columns))
    await rig.rows(f"insert into pauses ({names}) values ({places})", *columns.values())


async def acts(rig: Rig) -> list[tuple[str, str, str]]:
    rows = await rig.rows("select who, action, target from audit order by id")
    return [(row["who"], row["action"], row["target"]) for row in rows]


# -- discard ------------------------------------------------------------------------------------


async def test_a_discarded_pause_stays_so(rig: Rig) -> None:
    """It is discarded once, with who and why; a second time changes nothing and is no error."""
    await insert(rig, "p1", "parked")
    arguments = ("discard", "p1", "--reason", "the order was cancelled", "--by", "ann", "--yes")
    ended = await run(rig, *arguments)
    assert (ended.code, ended.out) == (0, "p1: is discarded: its proof is kept\n")
    assert (await run(rig, *arguments)).out == "p1: was discarded before\n"
    assert await acts(rig) == [("ann", "discarded", "p1")]
    told = await run(rig, "explain", "p1")
    assert "ann decided that this answer is not handed on (the order was cancelled)" in told.text
    again = await run(rig, "discard", "p1", "--json", "--yes")
    assert again.rows == [{"pause_id": "p1", "discarded": False}]


@pytest.mark.parametrize(
    "state, why",
    [("answered", "it is about to be resumed"), ("resumed", "its thread has gone on"), (None, "no pause")],
)  # fmt: skip
async def test_what_cannot_be_discarded_says_why(rig: Rig, state: str | None, why: str) -> None:
    """Exit code 1, and nothing is done."""
    if state:
        await insert(rig, "p1", state)
    ended = await run(rig, "discard", "p1", "--yes")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("p1: ")
    assert why in ended.err
    assert await acts(rig) == []


# -- hold and release ---------------------------------------------------------------------------


async def test_an_agent_that_is_held_waits_until_it_is_released(rig: Rig) -> None:
    """Held from the shell, its answered thread stays; released, it goes through at once."""
    graph = rig.agent()
    receiver = await rig.receiver({"procurement": graph})
    [pause_id] = await rig.hibernate(graph, "t1")
    ended = await run(rig, "hold", "procurement", "--reason", "the bank is down", "--by", "ann")
    assert ended.code == 0
    assert ended.out == "procurement is held; none of its threads runs\n"
    await rig.deliver(receiver, rig.looppause.decide(pause_id))
    await _until_reason(rig, pause_id, "held")
    shown = await run(rig, "hold")
    for told in ("procurement", "ann", "the bank is down"):
        assert told in shown.out
    again = await run(rig, "hold", "procurement")
    assert (again.code, again.err) == (0, "")
    assert "procurement is held already, by ann" in again.out

    ended = await run(rig, "release", "procurement", "--by", "bob")
    assert (ended.code, ended.out) == (0, "procurement is released: what waited goes on\n")
    await rig.until_state(pause_id, "resumed")
    ended = await run(rig, "release", "procurement")
    assert (ended.code, ended.err) == (1, "procurement is not held\n")
    assert (await run(rig, "hold")).out == "No agent is held.\n"
    assert [act[:2] for act in await acts(rig)] == [("ann", "held"), ("bob", "released")]


async def _until_reason(rig: Rig, pause_id: str, code: str) -> None:
    async with asyncio.timeout(10):
        while (record := await rig.pause(pause_id)) is None or record["reason_code"] != code:
            await asyncio.sleep(0.02)


async def test_an_agent_nobody_has_seen_is_held_with_a_warning(rig: Rig) -> None:
    """It may ask for the first time in a minute; it may as well be misspelt."""
    ended = await run(rig, "hold", "procurment")
    assert (ended.code, ended.out) == (0, "procurment is held; none of its threads runs\n")
    assert "no pause of an agent 'procurment' has been seen" in ended.err


async def test_every_agent_can_be_held_at_once(rig: Rig) -> None:
    """`*` is no unknown agent; scripts get the hold as the API tells it."""
    held = await run(rig, "hold", "*", "--json", "--by", "ann")
    [row] = held.rows
    assert (row["agent_id"], row["held_by"], row["running"], held.err) == ("*", "ann", 0, "")
    assert (await run(rig, "hold", "--json")).rows == held.rows
    assert (await run(rig, "release", "*", "--json")).rows == [{"agent_id": "*", "released": True}]


async def test_what_still_runs_is_told(rig: Rig) -> None:
    """A drain has ended when nothing of the agent runs any more."""
    await insert(rig, "p1", "resuming")
    ended = await run(rig, "hold", "procurement")
    assert ended.out == "procurement is held; 1 thread still runs to the end or the next gate\n"


# -- reconcile ----------------------------------------------------------------------------------


@pytest.fixture
async def local(rig: Rig) -> AsyncIterator[str]:
    """The rig's LoopPause, as a server."""
    emulator = Emulator(rig.looppause)
    async with emulator.running(), serving(emulator.app, "127.0.0.1", 0, drain_seconds=1) as url:
        yield url


async def test_one_sweep_finds_a_lost_answer(rig: Rig, local: str) -> None:
    """What LoopPause knows and nobody delivered is recorded here, and told; a second finds nothing."""
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    known = {"LOOPPAUSE_API_URL": local, "LOOPPAUSE_API_KEY": "any"}
    first = await run(rig, "reconcile", "--once", env=known)
    assert first.code == 0
    assert "Found   1 pause that threads hibernate at" in first.out
    assert "Mended  nothing" in first.out

    rig.looppause.decide(pause_id)
    await rig.rows("update pauses set next_check_at = now() - interval '1 second'")
    second = await run(rig, "reconcile", "--once", env=known)
    assert "Asked   LoopPause about 1 pause that were due: 1 had an answer." in second.out
    assert "Mended  1 pause answered at LoopPause, and never delivered" in second.out
    record = await rig.pause(pause_id)
    assert record is not None
    assert (record["state"], record["decision"]) == ("answered", "approved")

    third = await run(rig, "reconcile", "--once", "--json", env=known)
    assert third.rows[0]["swept"] is True
    assert (third.rows[0]["answered"], third.rows[0]["asked"]) == (0, 0)


async def test_a_sweep_without_an_api_key_says_what_it_misses(rig: Rig) -> None:
    """Nobody is asked; lost work is found all the same."""
    await insert(rig, "p1", "answered", received_at=datetime.now(UTC) - timedelta(hours=1))
    ended = await run(rig, "reconcile", "--once")
    assert ended.code == 0
    assert "set LOOPPAUSE_API_KEY" in ended.out
    assert "Mended  1 pause answered, with no job that works on them" in ended.out


async def test_beside_another_sweep_nothing_is_done(rig: Rig) -> None:
    """One at a time over all processes: exit code 1, and it says to try again."""
    other = await connect(rig.url)
    async with other:
        await other.execute("select pg_advisory_lock(%s)", (SWEEP_LOCK,))
        ended = await run(rig, "reconcile", "--once")
        assert (ended.code, ended.out.startswith("Another process is sweeping")) == (1, True)
        ended = await run(rig, "reconcile", "--once", "--json")
        assert (ended.code, ended.rows) == (1, [{"swept": False}])


async def test_a_sweep_takes_no_settings_from_resumer_dev(rig: Rig, tmp_path: Path) -> None:
    """Else a production database would be swept with the word of a local LoopPause."""
    (tmp_path / ".resumer").mkdir()
    (tmp_path / ".resumer/env").write_text("export LOOPPAUSE_SIGNING_SECRET=local\n")
    ended = await resumer("reconcile", "--once", env={"RESUMER_DATABASE_URL": rig.url})
    assert ended.code == 2
    assert "no key to verify proofs with" in ended.err


# -- audit export -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["hmac", "ed25519"])
async def test_an_export_can_be_verified_again(database_url: str, scheme: Scheme) -> None:
    """Every proof that came, of either scheme, in whatever spelling, passes `resumer verify`."""
    rig = Rig(database_url, FakeLoopPause(scheme=scheme))
    keys = (
        {"LOOPPAUSE_SIGNING_SECRET": rig.looppause.secret}
        if scheme == "hmac"
        else {"LOOPPAUSE_PUBLIC_KEYS": json.dumps([rig.looppause.public_key])}
    )
    async with rig.stack:
        graph = rig.agent()
        receiver = await rig.receiver({"procurement": graph}, early_hours=24)
        answered = await _answered(rig, receiver, graph)
        [waiting] = await rig.hibernate(graph, "waits")
        await insert(rig, waiting, "waiting", body=None, thread_id="waits")
        await Pauses(receiver._running.readiness.pool).record_denial("p_denied", "expired")  # type: ignore[union-attr]  # it runs

        out = await run(rig, "audit", "export", "--out", "evidence.jsonl")
        assert (out.code, out.out) == (0, "")
        assert "5 pauses written to evidence.jsonl, 3 with a signed proof." in out.err
        assert "resumer verify evidence.jsonl" in out.err
        verdicts = await run(rig, "verify", "evidence.jsonl", "--json", env=keys)
        assert verdicts.code == 0, verdicts.out
        results = {row["pause_id"]: row["result"] for row in verdicts.rows}
        unsigned = dict.fromkeys((waiting, "p_denied"), "unsigned")
        assert results == dict.fromkeys(answered, "genuine") | unsigned

        piped = await run(rig, "audit", "export")
        assert (piped.err, len(piped.rows)) == ("", 5)
        by_id = {row["pause_id"]: row for row in piped.rows}
        assert {name: by_id[name]["proof"] for name in answered} == answered


async def _answered(rig: Rig, receiver: Any, graph: Any) -> dict[str, str]:
    """Answer three pauses, each proof written in another way; return what was sent."""
    import httpx

    sent = {}
    spellings: tuple[dict[str, Any], ...] = (
        {}, {"indent": 2, "ensure_ascii": False}, {"separators": (",", ":")},
    )  # fmt: skip
    for number, spelling in enumerate(spellings):
        [pause_id] = await rig.hibernate(graph, f"t{number}")
        proof = rig.looppause.decide(pause_id, comment="Grüße \U0001f44d", fields={"amount": 1.50})
        body = json.dumps(proof, **spelling)
        transport = httpx.ASGITransport(receiver.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://resumer") as http:
            headers = {"Content-Type": "application/json"}
            reply = await http.post("/webhooks/looppause", content=body.encode(), headers=headers)
            assert reply.status_code == 202
        await rig.until_state(pause_id, "resumed")
        sent[pause_id] = body
    return sent


async def test_a_changed_export_is_found_out(rig: Rig) -> None:
    """One letter of a proof, or another decision beside it, and verifying ends with 1."""
    receiver = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    await rig.deliver(receiver, rig.looppause.decide(pause_id, "rejected"))
    await rig.until_state(pause_id, "resumed")
    [line] = (await run(rig, "audit", "export")).rows
    for changed in (
        {"decision": "approved"},
        {"pause_id": "another"},
        {"proof": line["proof"].replace("rejected", "approved")},
        {"proof": None, "decision": "approved"},
    ):
        text = json.dumps({**line, **changed}).encode()
        assert (await run(rig, "verify", "-", stdin=text)).code == 1, changed
    assert (await run(rig, "verify", "-", stdin=json.dumps(line).encode())).code == 0


async def test_a_line_ties_all_together(rig: Rig) -> None:
    """Thread, checkpoint, question, each event, the conflicting answer, and every act on it."""
    graph = rig.agent()
    await run(rig, "hold", "procurement", "--by", "early")
    await run(rig, "release", "procurement", "--by", "early")
    await run(rig, "hold", "*", "--by", "before")
    receiver = await rig.receiver({"procurement": graph})
    [pause_id] = await rig.hibernate(graph, "t1")
    await insert(rig, "other", "parked", agent_id="another")
    await run(rig, "hold", "procurement", "--by", "ann", "--reason", "audit")
    document = rig.looppause.decide(pause_id)
    await rig.deliver(receiver, document)
    await _until_reason(rig, pause_id, "held")
    await run(rig, "release", "*", "--by", "bob")
    await run(rig, "release", "procurement", "--by", "bob")
    await rig.until_state(pause_id, "resumed")
    await run(rig, "hold", "procurement", "--by", "later")
    conflicting = rig.looppause.sign({**_unsigned(document), "decision": "rejected"})
    assert (await rig.deliver(receiver, conflicting)).json()["status"] == "conflict"
    await run(rig, "retry", "--agent", "another", "--yes", "--by", "eve")

    lines = {row["pause_id"]: row for row in (await run(rig, "audit", "export")).rows}
    line = lines[pause_id]
    assert (line["thread_id"], line["agent_id"], line["state"]) == ("t1", "procurement", "resumed")
    assert line["checkpoint_id"]
    assert line["interrupt_id"]
    assert line["action"]["details"] == {"amount": 7}
    names = [event["event"] for event in line["events"]]
    assert names[0] == "delivered"
    assert {"held", "started", "resumed"} <= set(names)
    [conflict] = line["conflicts"]
    assert json.loads(conflict["proof"]) == conflicting
    assert [(act["who"], act["action"], act["target"]) for act in line["acts"]] == [
        ("before", "held", "*"),
        ("ann", "held", "procurement"),
        ("bob", "released", "*"),
        ("bob", "released", "procurement"),
    ]
    act = lines["other"]["acts"][-1]
    assert (act["who"], act["detail"]["filter"]) == ("eve", {"agent_id": "another"})
    assert "pause_ids" not in act["detail"]


def _unsigned(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "signature"}


async def test_since_and_until_say_which(rig: Rig) -> None:
    """From the first moment on, and not the last."""
    for day in (1, 2, 3):
        await insert(rig, f"p{day}", "resumed", created_at=datetime(2026, 1, day, tzinfo=UTC))
    ended = await run(rig, "audit", "export", "--since", "2026-01-02", "--until", "2026-01-03")
    assert [row["pause_id"] for row in ended.rows] == ["p2"]


async def test_a_file_is_new_whole_and_private(rig: Rig, tmp_path: Path) -> None:
    """No other file is touched, nobody else can read it, and half an export leaves none."""
    await insert(rig, "p1", "resumed")
    file = tmp_path / "out.jsonl"
    assert (await run(rig, "audit", "export", "--out", str(file))).code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_text()
    again = await run(rig, "audit", "export", "--out", str(file))
    assert (again.code, file.read_text()) == (2, before)
    assert "is there already" in again.err
    nowhere = await run(rig, "audit", "export", "--out", str(tmp_path / "none/out.jsonl"))
    assert (nowhere.code, "No such file or directory" in nowhere.err) == (2, True)

    await rig.rows("alter table conflicts rename to elsewhere")
    with pytest.raises(psycopg.errors.UndefinedTable):
        await run(rig, "audit", "export", "--out", str(tmp_path / "half.jsonl"))
    assert _files(tmp_path) == ["out.jsonl"]


def _files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_an_unfinished_file_of_another_export_is_left_alone(rig: Rig, tmp_path: Path) -> None:
    """Two that write the same file do not mix: the second is told."""
    (tmp_path / "out.jsonl.part").write_text("begun")
    ended = await run(rig, "audit", "export", "--out", str(tmp_path / "out.jsonl"))
    assert (ended.code, "another export writes it" in ended.err) == (2, True)
    assert (tmp_path / "out.jsonl.part").read_text() == "begun"


@pytest.fixture
async def pool(rig: Rig) -> AsyncIterator[Pool]:
    async with open_pool(rig.url, size=1, schema=SCHEMA, name="test") as made:
        yield made


async def test_each_pause_is_exported_once_in_small_memory(rig: Rig, pool: Pool) -> None:
    """Thousands of pauses, many of one moment: every one, and no more memory than for some."""
    async with await connect(rig.url, schema="resumer") as connection:
        await fill(connection, 3000)
        await connection.execute("update pauses set body = convert_to(repeat('x', 10000), 'UTF8')")
        await connection.execute("update pauses set created_at = date_trunc('week', created_at)")
    seen: set[str] = set()
    tracemalloc.start()
    try:
        async for record in Exporting(pool).pauses(Filter()):
            assert record["pause_id"] not in seen
            seen.add(record["pause_id"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen) == 3000
    assert peak < 6 * AT_ONCE * 10_000 < 3000 * 10_000


async def test_a_terminal_shows_how_far_it_is(rig: Rig, tmp_path: Path) -> None:
    """A bar with the number of pauses, which is gone at the end; the file has only the lines."""
    async with await connect(rig.url, schema="resumer") as connection:
        await fill(connection, 200)
    env = {"RESUMER_DATABASE_URL": rig.url, "TERM": "xterm"}
    code, said = await on_a_terminal("", "audit", "export", "--out", "out.jsonl", env=env)
    assert code == 0
    assert "/200" in said
    assert "200 pauses written to out.jsonl" in said
    assert len(await asyncio.to_thread(_lines, tmp_path / "out.jsonl")) == 200


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


# -- audit log ----------------------------------------------------------------------------------


async def test_what_was_done_is_listed_with_who_and_when(rig: Rig) -> None:
    """The latest first: the act, its target, and what else was noted; JSON as in the API."""
    for name in ("p1", "p2"):
        await insert(rig, name, "parked")
    await run(rig, "discard", "p1", "--yes", "--by", "ann", "--reason", "cancelled")
    await insert(rig, "p3", "parked")
    await run(rig, "retry", "--all-parked", "--yes", "--by", "bob")
    shown = await run(rig, "audit", "log")
    lines = shown.out.splitlines()
    assert lines[0].endswith("bob retried 2 pauses")
    assert {"p2", "p3"} in [set(line.split()) for line in lines]
    assert any(line.endswith("ann discarded p1") for line in lines)
    assert "reason: cancelled" in shown.out
    rows = (await run(rig, "audit", "log", "--json")).rows
    assert [(row["who"], row["action"]) for row in rows] == [("bob", "retried"), ("ann", "discarded")]  # fmt: skip
    assert rows[0]["at"].endswith("Z")
    assert len((await run(rig, "audit", "log", "--json", "--limit", "1")).rows) == 1


async def test_nothing_done_is_said(rig: Rig) -> None:
    """An empty log is no error."""
    ended = await run(rig, "audit", "log")
    assert (ended.code, ended.out) == (0, "Nothing has been done.\n")


# -- completion ---------------------------------------------------------------------------------


async def complete(rig_url: str, typed: str) -> set[str]:
    """What bash is offered for this line."""
    words = typed.split(" ")
    ended = await resumer(
        env={
            "_RESUMER_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(words) - 1),
            "RESUMER_DATABASE_URL": rig_url,
        }
    )
    assert ended.err == ""
    return set(ended.out.split())


@pytest.mark.parametrize(
    "typed, offered",
    [
        ("resumer exp", {"explain"}),
        ("resumer pauses --state res", {"resuming", "resumed"}),
        ("resumer explain p", {"p_parked", "p_resumed"}),
        ("resumer retry p", {"p_parked"}),
        ("resumer discard ", {"p_parked"}),
        ("resumer pauses --thread t", {"t1"}),
        ("resumer hold pro", {"procurement"}),
        ("resumer release ", {"held-one"}),
    ],
)
async def test_the_shell_completes(rig: Rig, typed: str, offered: set[str]) -> None:
    """Commands and states, and what the database has: ids that make sense there, agents, holds."""
    await insert(rig, "p_parked", "parked", thread_id="t1")
    await insert(rig, "p_resumed", "resumed")
    await rig.rows("insert into holds (agent_id, held_by) values ('held-one', 'ann')")
    assert await complete(rig.url, typed) == offered


async def test_without_a_database_nothing_is_completed() -> None:
    """No message gets into the line that is typed."""
    assert await complete("postgresql://127.0.0.1:1/x", "resumer explain p") == set()
    assert await complete("", "resumer retry p") == set()


def test_who_acts_is_the_user_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what a variable says; where the user has no name, the number."""
    from resumer.commands.given import who

    monkeypatch.setenv("USER", "mallory")
    monkeypatch.setenv("LOGNAME", "mallory")
    assert who(None) != "mallory"
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert who(None) == "user 4000000"
    assert who("ann") == "ann"
