"""`resumer pauses`, `resumer explain` and `resumer retry`, over real pauses."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from resumer import Resumer
from resumer.commands.service import Service, ask
from resumer.db import connect
from resumer.errors import DatabaseNotReady
from tests import agents
from tests.commands import Ended, resumer
from tests.integration.conftest import Rig
from tests.many_pauses import fill

LONG_THREAD = "0193f1c2-7c1e-7d3a-9f7e-2c9d8f0a1b2c"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def run(rig: Rig, *arguments: str, **env: str) -> Ended:
    return await resumer(*arguments, env={"RESUMER_DATABASE_URL": rig.url, **env})


async def parked(rig: Rig, *threads: str) -> list[str]:
    """A pause for each thread, parked since the bank is gone; nobody resumes any more."""
    graph = agents.payment_agent(rig.client(), _broken)
    pause_ids = []
    async with Resumer(
        {"procurement": graph},
        database_url=rig.url,
        signing_secrets=[rig.looppause.secret],
        retry_delays=(),
        reconcile_seconds=0,
    ).running() as receiver:
        for thread in threads:
            [pause_id] = await rig.hibernate(graph, thread)
            await rig.deliver(receiver, rig.looppause.decide(pause_id, comment="between us"))
            await rig.until_state(pause_id, "parked")
            pause_ids.append(pause_id)
    return pause_ids


def _broken(state: Any) -> dict[str, Any]:
    raise RuntimeError("the bank is gone")


# -- pauses -------------------------------------------------------------------------------------


async def test_a_parked_pause_is_listed_and_taken_up_again(rig: Rig) -> None:
    """What is parked is listed with its reason; retried from the shell, it goes through."""
    [pause_id] = await parked(rig, "t1")
    shown = await run(rig, "pauses", "--state", "parked")
    assert (shown.code, shown.err) == (0, "")
    for told in (pause_id, "parked", "approved by", "procurement · thread t1", "bank is gone"):
        assert told in shown.text
    assert "between us" not in shown.out

    again = await run(rig, "retry", pause_id)
    assert (again.code, again.out) == (0, f"{pause_id}: is taken up again\n")
    await rig.receiver()
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1
    assert (await run(rig, "pauses", "--state", "parked")).out == "No pauses.\n"


@pytest.mark.parametrize("columns", ["20", "80", "200"])
async def test_ids_stay_in_one_piece(rig: Rig, columns: str) -> None:
    """However narrow the terminal, an id is never broken and nothing is cut, so it can be copied."""
    await rig.rows(
        "insert into pauses (pause_id, thread_id, agent_id, state, body, decision, reason_code, reason)"
        " values (repeat('x', 90), %s, 'procurement', 'parked', '{}', 'approved', 'early', 'no thread')",
        LONG_THREAD,
    )
    for name in ("x" * 90, LONG_THREAD):
        for command in (["pauses"], ["explain", LONG_THREAD]):
            shown = await run(rig, *command, COLUMNS=columns)
            assert any(name in line for line in shown.out.splitlines()), (command, shown.out)


async def test_usual_ids_fit_80_columns(rig: Rig) -> None:
    """An id of LoopPause's and a UUID as a thread: no line is longer than the terminal."""
    await parked(rig, LONG_THREAD)
    for command in (["pauses"], ["explain", LONG_THREAD]):
        shown = await run(rig, *command)
        assert max(map(len, shown.out.splitlines())) <= 80, shown.out


async def test_what_strangers_wrote_cannot_steer_the_terminal(rig: Rig) -> None:
    """Escape sequences and line breaks in an answer or a reason are shown as what they are not."""
    [pause_id] = await parked(rig, "t1")
    await rig.rows("update pauses set responder = e'\\x1b[2Jann', reason = e'a\\nb\\x1b]0;x\\x07'")
    for command in (["pauses"], ["explain", pause_id]):
        shown = await run(rig, *command)
        assert "\x1b" not in shown.out
        assert "ann" in shown.out


@pytest.mark.parametrize(
    "options, threads",
    [
        ((), ["t3", "t2", "t1"]),
        (("--state", "parked"), ["t2", "t1"]),
        (("--state", "parked", "--state", "failed"), ["t3", "t2", "t1"]),
        (("--agent", "procurement"), ["t3", "t2"]),
        (("--thread", "t2"), ["t2"]),
        (("--reason", "early"), ["t3"]),
        (("--older", "2h"), ["t1"]),
        (("--newer", "2h"), ["t3", "t2"]),
        (("--newer", "2h", "--state", "parked"), ["t2"]),
        (("--older", "2001-01-01"), []),
        (("--newer", "2001-01-01T00:00:00+02:00"), ["t3", "t2", "t1"]),
        (("--text", "BANK"), ["t2", "t1"]),
        (("--text", "t3"), ["t3"]),
        (("--limit", "1"), ["t3"]),
        (("--limit", "1", "--all"), ["t3", "t2", "t1"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
async def test_options_narrow_together(
    rig: Rig, options: tuple[str, ...], threads: list[str]
) -> None:
    """Each option leaves what is so, and several what is all of it; the newest first."""
    await rig.rows(
        "insert into pauses (pause_id, thread_id, state, agent_id, reason_code, reason, created_at,"
        " body, decision) values"
        " ('p1', 't1', 'parked', 'other', 'raised', 'the bank is gone', now() - interval '1 day', '{}', 'approved'),"
        " ('p2', 't2', 'parked', 'procurement', 'raised', 'the bank is gone', now() - interval '1 hour', '{}', 'approved'),"
        " ('p3', 't3', 'failed', 'procurement', 'early', 'no thread', now(), '{}', 'approved')"
    )
    shown = await run(rig, "pauses", "--json", *options)
    assert [row["thread_id"] for row in shown.rows] == threads
    assert shown.code == 0


async def test_a_list_that_does_not_end_says_how_to_go_on(rig: Rig) -> None:
    """With the cursor of each page the whole is read, once; standard output stays JSON."""
    async with await connection(rig) as made:
        await fill(made, 25)
    found: list[str] = []
    cursor: tuple[str, ...] = ()
    for count in (10, 10, 5):
        page = await run(rig, "pauses", "--json", "--limit", "10", *cursor)
        assert len(page.rows) == count
        found += [row["pause_id"] for row in page.rows]
        if count == 10:
            cursor = ("--cursor", page.err.split("--cursor ")[1].split(",")[0])
            assert page.err == f"There are more: add --cursor {cursor[1]}, or --all\n"
    assert page.err == ""
    everything = await run(rig, "pauses", "--all", "--json")
    assert [row["pause_id"] for row in everything.rows] == found
    assert (len(set(found)), everything.err) == (25, "")


async def test_everything_is_more_than_a_page(rig: Rig) -> None:
    """`--all` and a high limit read page after page, in one table."""
    async with await connection(rig) as made:
        await fill(made, 1100)
    for option, count in ((["--all"], 1100), (["--limit", "700"], 700)):
        shown = await run(rig, "pauses", *option)
        assert sum("pause_" in line for line in shown.out.splitlines()) == count
        assert sum(line.startswith("pause  ") for line in shown.out.splitlines()) == 1


async def connection(rig: Rig) -> Any:
    return await connect(rig.url, schema="resumer")


async def test_json_has_what_the_api_has(rig: Rig) -> None:
    """Scripts get the members of the API's rows, times in UTC, and no comment."""
    [pause_id] = await parked(rig, "t1")
    [row] = (await run(rig, "pauses", "--json")).rows
    assert (row["pause_id"], row["state"], row["reason_code"]) == (pause_id, "parked", "raised")
    assert row["created_at"].endswith("Z")
    assert {"description", "responder", "attempts", "next_attempt_at", "expires_at"} <= set(row)
    assert row["recipients"] == [{"channel": "slack", "target": "#finance"}]
    assert "between us" not in str(row)


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["pauses", "--cursor", "nonsense"], "--cursor: the cursor is none of ours"),
        (["pauses", "--older", "yesterday"], "--older: give an age"),
        (["pauses", "--newer", "2026-13-01"], "--newer: give an age"),
        (["pauses", "--newer", "999999w"], "--newer: give an age"),
        (["pauses", "--agent", ""], "--agent: must be a text"),
        (["pauses", "--state", "gone"], "Invalid value for '--state'"),
        (["retry"], "give pause ids, or what narrows"),
        (["retry", "pause_1", "--all-parked"], "give pause ids, or what narrows"),
        (["retry", "--state", "resumed"], "nothing is retried that is resumed"),
        (["retry", "pause_1", "--dry-run"], "--dry-run is for what narrows"),
        (["retry", "pause_1", "--by", "a\nb"], "--by: must hold no control characters"),
        (["explain", "a\x1bb"], "must hold no control characters"),
        (["discard", "pause_1"], "there is nobody here to confirm it: say --yes"),
        (["discard", "pause_1", "--reason", "x" * 501], "--reason: must have at most 500"),
        (["reconcile"], "say --once"),
        (["audit", "export", "--since", "x"], "--since: give an age"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
async def test_a_slip_is_told_and_nothing_is_done(
    rig: Rig, arguments: list[str], complaint: str
) -> None:
    """What cannot be meant ends with 2, before anything is looked at or done."""
    ended = await run(rig, *arguments, COLUMNS="200")
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err


@pytest.mark.parametrize(
    "url, complaint",
    [
        ("postgresql://u:hunter2@127.0.0.1:1/x", "the database does not answer"),
        ("", "RESUMER_DATABASE_URL is missing"),
    ],
)
async def test_a_database_that_is_away_is_told(rig: Rig, url: str, complaint: str) -> None:
    """One line and exit code 2; no traceback, no password."""
    for command in (["pauses"], ["explain", "p"], ["retry", "p"], ["audit", "export"], ["hold"]):
        ended = await run(rig, *command, RESUMER_DATABASE_URL=url)
        assert (ended.code, ended.out) == (2, "")
        assert complaint in ended.err
        assert "hunter2" not in ended.err


async def test_a_database_that_goes_away_meanwhile_is_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a command is at: it ends as if the database had been away before."""
    monkeypatch.setenv("RESUMER_DATABASE_URL", rig.url)

    async def question(service: Service) -> None:
        async with service.reading.pool.connection() as own:
            await own.execute("select pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseNotReady, match="went away"):
        await asyncio.to_thread(ask, None, question)


async def test_beside_resumer_dev_nothing_has_to_be_set(rig: Rig, tmp_path: Path) -> None:
    """The database that `resumer dev` has left in its folder is the one that is asked."""
    (tmp_path / ".resumer").mkdir()
    (tmp_path / ".resumer/env").write_text(f"export DATABASE_URL='{rig.url}'\n")
    ended = await resumer("pauses")
    assert (ended.code, ended.out) == (0, "No pauses.\n")


# -- explain ------------------------------------------------------------------------------------


async def test_a_pause_is_explained(rig: Rig) -> None:
    """A sentence, a paragraph, what to do, a command to paste, and the facts."""
    [pause_id] = await parked(rig, "t1")
    told = await run(rig, "explain", pause_id)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("The graph kept raising.\n")
    assert "Mend what it says, deploy, then retry" in told.text
    assert f"\n  resumer retry {pause_id}\n" in told.out
    for fact in (
        "state parked",
        "asked of #finance (slack)",
        "thread t1",
        "reason code raised",
        "the bank is gone",
    ):
        assert fact in told.text


async def test_an_explanation_for_scripts_is_that_of_the_api(rig: Rig) -> None:
    """`--json` has the members of `GET /pauses/{id}/explanation`, and which pause it is about."""
    [pause_id] = await parked(rig, "t1")
    [told] = (await run(rig, "explain", pause_id, "--json")).rows
    assert (told["pause_id"], told["thread_id"], told["state"]) == (pause_id, "t1", "parked")
    assert told["headline"] == "The graph kept raising."
    assert told["commands"] == [f"resumer retry {pause_id}"]
    assert told["facts"]
    assert told["paragraph"]
    assert told["advice"]


async def test_each_pause_of_a_thread_is_explained(rig: Rig) -> None:
    """What keeps the thread is told first and in full; what is over takes a line."""
    [pause_id] = await parked(rig, "t1")
    await rig.rows(
        "insert into pauses (pause_id, thread_id, state, outcome, body, decision, created_at)"
        " values ('done', 't1', 'resumed', 'resumed', '{}', 'approved', now())"
    )
    told = await run(rig, "explain", "t1")
    assert told.code == 0
    assert told.out.startswith(f"thread t1: 2 pauses\n\n{pause_id}  parked\n")
    assert told.out.count("The graph kept raising.") == 1
    assert told.out.index(pause_id) < told.out.index("done  resumed")
    assert told.text.endswith("done resumed It was resumed, and the thread has finished.")
    rows = (await run(rig, "explain", "t1", "--json")).rows
    assert {row["pause_id"] for row in rows} == {pause_id, "done"}


async def test_what_keeps_a_thread_is_said_of_several(rig: Rig) -> None:
    """Where more than one pause is open, the one that needs a person gives the headline."""
    await rig.rows(
        "insert into pauses (pause_id, thread_id, state, body, reason_code) values"
        " ('p1', 't1', 'waiting', null, null), ('p2', 't1', 'parked', '{}', 'no_node')"
    )
    told = await run(rig, "explain", "t1")
    assert told.out.startswith("thread t1: 2 pauses\nThe graph has no such node any more.\n")


async def test_an_unknown_id_says_what_to_check(rig: Rig) -> None:
    """As a pause and as a thread, with exit code 1."""
    told = await run(rig, "explain", "pause_unknown")
    assert told.code == 1
    assert "Nothing is known of this pause." in told.out
    assert "the gate's webhook_url leads here" in told.text
    assert "No pause of a thread 'pause_unknown'" in told.text
    assert "resumer doctor" in told.out
    told = await run(rig, "explain", "pause_unknown", "--json")
    assert (told.code, told.rows[0]["pause_id"]) == (1, None)


# -- retry --------------------------------------------------------------------------------------


async def test_each_that_is_named_is_answered_for(rig: Rig) -> None:
    """One is taken up, one is on its way already, one is over, one is unknown: each is told."""
    [parked_id] = await parked(rig, "t1")
    await rig.rows(
        "insert into pauses (pause_id, state, body) values ('on', 'answered', '{}'), ('over', 'resumed', '{}')"
    )
    ended = await run(rig, "retry", parked_id, "on", "over", "none", "--by", "ann")
    assert ended.code == 1
    assert ended.out == f"{parked_id}: is taken up again\non: is on its way already\n"
    assert "over: the pause is resumed: its thread has gone on\n" in ended.err
    assert "none: no pause" in ended.err
    assert await rig.rows("select who, action, target from audit") == [
        {"who": "ann", "action": "retried", "target": parked_id}
    ]
    ended = await run(rig, "retry", parked_id, "none", "--json")
    assert [(row["pause_id"], row["retried"]) for row in ended.rows] == [
        (parked_id, False),
        ("none", False),
    ]
    assert (ended.code, ended.rows[0]["refused"]) == (1, None)


async def test_a_dry_run_only_shows(rig: Rig) -> None:
    """It names what would be taken up again, and changes nothing."""
    pause_ids = await parked(rig, "t1", "t2")
    ended = await run(rig, "retry", "--reason", "raised", "--dry-run")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        *(f"  {pause_id}" for pause_id in reversed(pause_ids)),
        "2 pauses would be taken up again.",
    ]
    ended = await run(rig, "retry", "--thread", "t2", "--dry-run", "--json")
    assert ended.rows == [{"dry_run": True, "count": 1, "pause_ids": pause_ids[1:]}]
    assert await rig.rows("select from pauses where state <> 'parked'") == []
    assert await rig.rows("select from audit") == []


async def test_what_matches_is_taken_up_again_once_agreed(rig: Rig) -> None:
    """Without a terminal nobody can agree: then `--yes` does; the audit has filter and user."""
    pause_ids = await parked(rig, "t1", "t2")
    ended = await run(rig, "retry", "--agent", "procurement", "--all-parked")
    assert ended.code == 2
    assert "say --yes" in ended.err
    assert await rig.rows("select from audit") == []

    ended = await run(rig, "retry", "--agent", "procurement", "--all-parked", "--yes")
    assert (ended.code, ended.out) == (0, "2 pauses taken up again.\n")
    [entry] = await rig.rows("select who, detail from audit")
    assert entry["who"] == _system_user()
    assert entry["detail"]["filter"] == {"state": ["parked"], "agent_id": "procurement"}
    assert set(entry["detail"]["pause_ids"]) == set(pause_ids)
    ended = await run(rig, "retry", "--agent", "procurement", "--yes")
    assert (ended.code, ended.out) == (0, "Nothing that is parked or failed matches.\n")


def _system_user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize("answer, code, state", [("y", 0, "answered"), ("n", 1, "parked")])
async def test_on_a_terminal_it_is_asked_first(
    rig: Rig, answer: str, code: int, state: str
) -> None:
    """What matches is named, and only a yes takes it up again."""
    [pause_id] = await parked(rig, "t1")
    ended, said = await on_a_terminal(
        f"{answer}\n", "retry", "--all-parked", env={"RESUMER_DATABASE_URL": rig.url}
    )
    assert ended == code
    assert f"  {pause_id}" in said
    assert "Take 1 pause up again? [y/N]" in said
    record = await rig.pause(pause_id)
    assert record is not None
    assert record["state"] == state


async def on_a_terminal(
    typed: str, *arguments: str, env: Mapping[str, str]
) -> tuple[int | None, str]:
    """Run it on a terminal of its own; return its exit code and what was on the screen."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "resumer", *arguments, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "COLUMNS": "100", **env},
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, typed.encode())
    said = await asyncio.to_thread(_all_of, ours)
    return await process.wait(), said


def _all_of(terminal: int) -> str:
    said = b""
    try:
        while more := os.read(terminal, 4096):
            said += more
    except OSError:  # how a terminal ends on Linux
        pass
    os.close(terminal)
    return said.decode().replace("\r\n", "\n")
