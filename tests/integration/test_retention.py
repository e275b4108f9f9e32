"""What ended long ago is pruned: exported first, deleted once, and known again for ever after."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from looppause_sdk.testing import sign_proof
from resumer.archive import Archive
from resumer.db import connect, open_pool
from resumer.locks import ThreadLocks
from resumer.operator.exporting import Exporting
from resumer.pruning import Pruning
from resumer.retention import ALONE, Retention
from resumer.sql import statement
from tests import commands
from tests.integration.conftest import Rig, Sweeping, until
from tests.many_pauses import fill

RESUME_JOBS = "procrastinate_jobs where task_name = 'resume'"
WAITS_FOR_A_LOCK = (
    "select pid from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'verified proof'"
)


@pytest.fixture
async def retention(rig: Rig) -> AsyncIterator[Retention]:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            open_pool(rig.url, size=4, schema="resumer", name="own")
        )
        checkpoints = await stack.enter_async_context(open_pool(rig.url, size=2, name="threads"))
        yield Retention(pool, checkpoints, Exporting(pool).named)


async def resumed(rig: Rig, **settings: Any) -> tuple[Any, str, dict[str, Any]]:
    """A receiver, and a pause whose thread has gone on, long ago by its record; and its proof."""
    resumer = await rig.receiver(reconcile_seconds=0, **settings)
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    proof = rig.looppause.decide(pause_id)
    assert (await rig.deliver(resumer, proof)).status_code == 202
    await rig.until_state(pause_id, "resumed", seconds=30)
    await long_ago(rig)
    return resumer, pause_id, proof


async def long_ago(rig: Rig) -> None:
    await rig.rows("update pauses set finished_at = finished_at - interval '100 days'")


def before() -> datetime:
    return datetime.now(UTC) - timedelta(days=90)


async def ended(rig: Rig) -> None:
    """A pause that ended long ago, with no receiver beside it."""
    await rig.rows(
        "insert into pauses (pause_id, state, body, fingerprint, finished_at)"
        " values ('pause_1', 'resumed', '{}', '', now() - interval '100 days')"
    )


async def count(rig: Rig, table: str) -> int:
    [row] = await rig.rows(f"select count(*) as n from {table}")
    return int(row["n"])


async def prune(retention: Retention, archive: Archive | None = None) -> int:
    return sum([batch.pauses async for batch in retention.pauses(before(), archive)])


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_what_ended_long_ago_is_exported_and_gone(
    rig: Rig, retention: Retention, tmp_path: Path
) -> None:
    """The file has the whole record with its genuine proof; the tables have none of it."""
    resumer, pause_id, proof = await resumed(rig)
    await rig.deliver(resumer, proof)
    other = sign_proof({**_unsigned(proof), "decision": "rejected"}, secret=rig.looppause.secret)
    assert (await rig.deliver(resumer, other)).json()["status"] == "conflict"

    assert await prune(retention, Archive(tmp_path)) == 1

    assert [await count(rig, table) for table in ("pauses", "events", "conflicts")] == [0, 0, 0]
    [file] = files(tmp_path)
    assert (file.name, file.stat().st_mode & 0o777) == (
        f"pauses-{datetime.now(UTC):%Y-%m-%d}.jsonl",
        0o600,
    )
    record = json.loads(file.read_text())
    assert (record["pause_id"], record["state"]) == (pause_id, "resumed")
    assert [len(record["conflicts"]), len(record["events"])] == [1, 5]
    env = {"LOOPPAUSE_SIGNING_SECRET": rig.looppause.secret}
    verified = await commands.resumer("verify", str(file), "--json", env=env)
    assert (verified.code, verified.rows[0]["result"]) == (0, "genuine")


async def test_an_answer_that_comes_again_is_still_known(
    rig: Rig, retention: Retention, sweeping: Sweeping
) -> None:
    """After its pause is pruned a copy resumes nothing, parks nothing, and is not taken for new."""
    resumer, _, proof = await resumed(rig)
    assert await prune(retention) == 1
    other = sign_proof({**_unsigned(proof), "decision": "rejected"}, secret=rig.looppause.secret)

    answers = [await rig.deliver(resumer, each) for each in (proof, other)]

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [
        (200, "duplicate"),
        (200, "conflict"),
    ]
    assert [await count(rig, table) for table in ("pauses", RESUME_JOBS)] == [0, 0]
    assert len(rig.ledger.payments) == 1
    await sweeping.sweep()
    assert await count(rig, "pauses") == 0
    env = {"RESUMER_DATABASE_URL": rig.url}
    told = await commands.resumer("explain", str(proof["pause_id"]), env=env)
    assert (told.code, "was pruned on" in told.text) == (1, True)


async def test_a_thread_set_back_to_its_gate_is_not_resumed_by_an_old_answer(
    rig: Rig, retention: Retention, sweeping: Sweeping
) -> None:
    """Time travel opens the gate again: the answer of then does not count, pruned or not."""
    resumer, _, proof = await resumed(rig)
    assert await prune(retention) == 1
    await rig.rows(
        "delete from public.checkpoint_writes where channel <> '__interrupt__';"
        "delete from public.checkpoints where checkpoint_id <> ("
        " select checkpoint_id from public.checkpoint_writes)"
    )
    assert (await sweeping.sweep()).waiting == 1

    assert (await rig.deliver(resumer, proof)).json()["status"] == "duplicate"
    assert await count(rig, "pauses") == 0
    assert len(rig.ledger.payments) == 1


async def test_an_answer_that_comes_while_its_pause_is_pruned_is_refused_for_the_moment(
    rig: Rig, retention: Retention
) -> None:
    """It has waited for a row that is gone: the sender tries again, and finds a duplicate."""
    resumer, pause_id, proof = await resumed(rig)
    async with await connect(rig.url, schema="resumer") as pruning, pruning.transaction():
        await pruning.execute("select from pauses for update")
        delivery = asyncio.create_task(rig.deliver(resumer, proof))
        await until(lambda: rig.rows(WAITS_FOR_A_LOCK), seconds=30)
        await pruning.execute(statement("retention/forget"), {"pause_ids": [pause_id]})
    assert (await delivery).status_code == 503
    assert (await rig.deliver(resumer, proof)).json()["status"] == "duplicate"
    assert [await count(rig, table) for table in ("pauses", RESUME_JOBS)] == [0, 0]


async def test_what_waits_for_a_person_is_never_pruned(
    rig: Rig, retention: Retention, tmp_path: Path
) -> None:
    """Of a thousand pauses of all states, those that ended go, batch by batch; no other does."""
    async with await connect(rig.url, schema="resumer") as connection:
        await fill(connection, 1000)
    await rig.rows("update pauses set finished_at = now() - interval '100 days', started_at = null")

    assert await prune(retention, Archive(tmp_path)) == 928

    left = await rig.rows("select state, count(*) as n from pauses group by 1 order by 1")
    assert {row["state"]: row["n"] for row in left} == {
        "answered": 1,
        "failed": 10,
        "parked": 10,
        "resuming": 1,
        "waiting": 50,
    }
    [file] = files(tmp_path)
    written = [json.loads(line)["pause_id"] for line in file.read_text().splitlines()]
    assert (len(written), len(set(written))) == (928, 928)


async def test_a_pause_that_ended_lately_is_kept(rig: Rig, retention: Retention) -> None:
    """The age counts from its end."""
    await resumed(rig)
    await rig.rows("update pauses set finished_at = now() - interval '89 days'")
    assert await prune(retention) == 0


@pytest.mark.parametrize("waits", [True, False])
async def test_a_discarded_pause_stays_as_long_as_its_thread_waits(
    rig: Rig, retention: Retention, waits: bool
) -> None:
    """The thread still hibernates at it: it goes when the thread has."""
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    await rig.rows(
        "insert into pauses (pause_id, state, body, fingerprint, finished_at)"
        f" values ('{pause_id}', 'discarded', '', '', now() - interval '100 days')"
    )
    if not waits:
        await rig.rows("delete from public.checkpoint_writes; delete from public.checkpoints")
    batches = [batch async for batch in retention.pauses(before(), None)]
    assert [batch.kept for batch in batches] == ([(pause_id,)] if waits else [()])


async def test_one_pruner_at_a_time(rig: Rig, retention: Retention, tmp_path: Path) -> None:
    """Whoever comes second does nothing, and finds what is left another time."""
    await resumed(rig)
    async with await connect(rig.url, schema="resumer") as other, other.transaction():
        await other.execute("select pg_advisory_xact_lock(%s)", (ALONE,))
        assert await prune(retention, Archive(tmp_path)) == 0
    assert await prune(retention, Archive(tmp_path)) == 1


async def test_a_crash_after_writing_exports_twice_and_loses_nothing(
    rig: Rig, retention: Retention, tmp_path: Path
) -> None:
    """The rows go after the file is on disk: cut off between, they are written again."""
    await resumed(rig)
    exporting = retention.export

    async def cut_off(*given: Any) -> Any:
        Archive(tmp_path).append("pauses", await exporting(*given), datetime.now(UTC))
        raise ConnectionError("the process died")

    with pytest.raises(ConnectionError):
        await prune(Retention(retention.pool, retention.checkpoints, cut_off), Archive(tmp_path))
    assert await count(rig, "pauses") == 1
    assert await prune(retention, Archive(tmp_path)) == 1
    [file] = files(tmp_path)
    first, second = map(json.loads, file.read_text().splitlines())
    assert first == second


async def test_a_missing_folder_stops_pruning_and_is_told(
    rig: Rig, retention: Retention, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is deleted, the log says why, and so does doctor; with the folder it goes on."""
    await ended(rig)
    folder = tmp_path / "audit"
    pruning = Pruning(retention, 90, Archive(folder))
    assert await pruning.run() == 0
    assert await count(rig, "pauses") == 1
    assert "retention_stopped" in caplog.text
    env = {"RESUMER_DATABASE_URL": rig.url, "RESUMER_AUDIT_DIR": str(folder)}
    told = await _doctor(env)
    assert (told["status"], "No such file" in told["found"]) == ("fail", True)

    folder.mkdir()
    assert await pruning.run() == 1
    assert (await _doctor(env))["status"] == "ok"
    assert [(row["who"], row["target"]) for row in await rig.rows("select * from audit")] == [
        ("retention", "1 pause")
    ]


async def test_without_a_folder_nothing_signed_is_deleted(
    rig: Rig, retention: Retention, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once a day, and by doctor, with what to do; a setting deletes it all the same."""
    await ended(rig)
    waiting = Pruning(retention, 90)
    assert [await waiting.run(), await waiting.run()] == [0, 0]
    assert caplog.text.count("retention_waits") == 1
    told = await _doctor({"RESUMER_DATABASE_URL": rig.url})
    assert (told["status"], "1 pause" in told["found"]) == ("warn", True)
    assert "RESUMER_AUDIT_DIR" in told["mend"]

    assert await Pruning(retention, 0).run() == 0
    assert await Pruning(retention, 90, without_export=True).run() == 1
    assert await count(rig, "pauses") == 0


async def test_acts_go_once_nothing_here_needs_them(
    rig: Rig, retention: Retention, tmp_path: Path
) -> None:
    """Old acts are exported and deleted; those on a pause that is here and the last hold stay."""
    await rig.rows("insert into pauses (pause_id, state) values ('here', 'waiting')")
    await rig.rows(
        "insert into audit (at, who, action, target, detail) values"
        " (now() - interval '100 days', 'ann', 'retried', 'gone', '{}'),"
        " (now() - interval '100 days', 'ann', 'retried', 'here', '{}'),"
        """ (now() - interval '100 days', 'ann', 'retried', '2 pauses',"""
        """ '{"pause_ids": ["gone", "here"]}'),"""
        " (now() - interval '100 days', 'ann', 'held', 'agent', '{}'),"
        " (now() - interval '99 days', 'ann', 'released', 'agent', '{}'),"
        " (now(), 'ann', 'retried', 'gone', '{}')"
    )
    assert await retention.acts(before(), Archive(tmp_path)) == 2
    left = await rig.rows("select action, target from audit order by id")
    assert [(row["action"], row["target"]) for row in left] == [
        ("retried", "here"),
        ("retried", "2 pauses"),
        ("released", "agent"),
        ("retried", "gone"),
    ]
    [file] = files(tmp_path)
    told = [json.loads(line)["target"] for line in file.read_text().splitlines()]
    assert (file.name[:5], told) == ("acts-", ["gone", "agent"])


async def test_the_queues_own_notes_are_bounded(rig: Rig, retention: Retention) -> None:
    """Old events of jobs that wait, jobs that somebody cancelled, old marks and counts: all go."""
    await rig.rows(
        "insert into procrastinate_jobs (queue_name, task_name, status)"
        " values ('resume', 'resume', 'todo'), ('resume', 'resume', 'cancelled');"
        "insert into procrastinate_events (job_id, type, at)"
        " select id, 'started', now() - n * interval '1 hour'"
        " from procrastinate_jobs, generate_series(30, 629) as n;"
        "insert into refusals values (now() - interval '92 days', 'hmac', 1);"
        "insert into pruned select pause_digest(n::text), '', current_date - 700 - n"
        " from generate_series(1, 60) as n"
    )
    await retention.housekeeping(before())
    counts = [
        await count(rig, table)
        for table in ("procrastinate_events", "procrastinate_jobs", "refusals", "pruned")
    ]
    assert counts == [1, 1, 0, 30]


async def test_a_worker_prunes_by_its_settings(rig: Rig, tmp_path: Path) -> None:
    """The task runs in the worker; here it is put in the queue by hand."""
    _, pause_id, _ = await resumed(rig, audit_dir=str(tmp_path), retention_days=30)
    await rig.rows(
        "insert into procrastinate_jobs (queue_name, task_name, args)"
        """ values ('resume', 'prune', '{"timestamp": 0}')"""
    )

    async def is_pruned() -> bool:
        return await count(rig, "pauses") == 0

    await until(is_pruned, seconds=30)
    assert pause_id in files(tmp_path)[0].read_text()


class TestByHand:
    """`resumer prune`."""

    async def test_it_wants_to_know_where_to(self, rig: Rig) -> None:
        """Deleting without a copy has to be said."""
        ended = await commands.resumer("prune", "--yes", env={"RESUMER_DATABASE_URL": rig.url})
        assert (ended.code, "--export FILE" in ended.err) == (2, True)

    async def test_it_looks_first_then_writes_and_prunes(self, rig: Rig, tmp_path: Path) -> None:
        """A dry run does nothing; the file is whole and genuine, and the audit has who did it."""
        _, pause_id, _ = await resumed(rig)
        env = {"RESUMER_DATABASE_URL": rig.url, "LOOPPAUSE_SIGNING_SECRET": rig.looppause.secret}
        file = tmp_path / "old.jsonl"
        given = ("prune", "--export", str(file), "--by", "ann")

        dry = await commands.resumer(*given, "--dry-run", env=env)
        assert (dry.code, dry.out[:13], file.exists()) == (0, "1 pause ended", False)
        unasked = await commands.resumer(*given, env=env)
        assert (unasked.code, "--yes" in unasked.err) == (2, True)
        done = await commands.resumer(*given, "--yes", env=env)
        assert (done.code, done.out[:14]) == (0, "1 pause pruned")

        verified = await commands.resumer("verify", str(file), "--json", env=env)
        assert [row["pause_id"] for row in verified.rows] == [pause_id]
        log = await commands.resumer("audit", "log", "--json", env=env)
        assert [(row["who"], row["action"], row["detail"]["pauses"]) for row in log.rows] == [
            ("ann", "pruned", 1)
        ]
        again = await commands.resumer(*given, "--yes", env=env)
        assert (again.code, "already" in again.err) == (2, True)


class TestHistories:
    """`resumer threads prune`."""

    async def test_a_settled_thread_keeps_where_it_stands(self, rig: Rig) -> None:
        """Its steps go, its state stays, and what was resumed stays known."""
        resumer, _, proof = await resumed(rig)
        env = {"RESUMER_DATABASE_URL": rig.url}
        state = await rig.state(rig.agent(), "t1")
        await rig.rows("insert into public.resumer_pause_index values ('p', 't1', '', 'c', 't')")
        given = ("threads", "prune", "--thread", "t1", "--keep-latest", "--by", "ann")

        dry = await commands.resumer(*given, "--dry-run", "--json", env=env)
        had = await count(rig, "public.checkpoints")
        [would] = [row["checkpoints"] for row in dry.rows]
        assert (dry.code, had, would) == (0, would + 1, had - 1)
        done = await commands.resumer(*given, "--yes", env=env)
        assert (done.code, done.out) == (0, f"{would} checkpoints of 1 thread deleted.\n")

        tables = ("checkpoints", "checkpoint_writes", "resumer_pause_index")
        assert [await count(rig, f"public.{table}") for table in tables] == [1, 0, 0]
        after = await rig.state(rig.agent(), "t1")
        assert (after.values, after.next) == (state.values, ())
        assert (await rig.deliver(resumer, proof)).json()["status"] == "duplicate"
        assert len(rig.ledger.payments) == 1
        [act] = (await commands.resumer("audit", "log", "--json", env=env)).rows
        assert (act["who"], act["action"], act["target"]) == ("ann", "threads_pruned", "1 thread")

    async def test_a_thread_that_waits_is_left(self, rig: Rig) -> None:
        """At a gate, or with a pause that has not ended: by name or by age, and says why."""
        env = {"RESUMER_DATABASE_URL": rig.url}
        [pause_id] = await rig.hibernate(rig.agent(), "gated")
        given = ("threads", "prune", "--keep-latest", "--json", "--yes")
        had = await count(rig, "public.checkpoints")

        named = await commands.resumer(*given, "--thread", "gated", "--thread", "none", env=env)
        assert (named.code, [row["left"] for row in named.rows]) == (1, ["waits", "unknown"])
        aged = await commands.resumer(*given, "--settled-before", "0s", env=env)
        assert [(row["thread_id"], row["left"]) for row in aged.rows] == [("gated", "waits")]

        resumer = await rig.receiver(reconcile_seconds=0)
        await rig.deliver(resumer, rig.looppause.decide(pause_id))
        await rig.until_state(pause_id, "resumed", seconds=30)
        await rig.rows("update pauses set state = 'failed'")
        failed = await commands.resumer(*given, "--thread", "gated", env=env)
        assert (failed.rows[0]["left"], pause_id in failed.rows[0]["reason"]) == ("waits", True)
        assert await count(rig, "public.checkpoints") > had

    async def test_a_thread_that_is_being_resumed_is_left(self, rig: Rig) -> None:
        """Whoever resumes it holds its lock."""
        await resumed(rig)
        given = ("threads", "prune", "--keep-latest", "--json", "--yes", "--thread", "t1")
        async with ThreadLocks(rig.url).running() as locks, locks.hold("t1", patience=10):
            ended = await commands.resumer(*given, env={"RESUMER_DATABASE_URL": rig.url})
        assert (ended.code, ended.rows[0]["left"]) == (1, "busy")


async def _doctor(env: dict[str, str]) -> dict[str, Any]:
    """What doctor says of retention."""
    ended = await commands.resumer("doctor", "--json", env=env)
    [told] = [row for row in ended.rows if row["check"] == "retention"]
    return told


def _unsigned(proof: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in proof.items() if name != "signature"}
