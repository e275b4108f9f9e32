"""Deliveries that come at once are recorded together, and none pays for its neighbours."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from looppause_sdk.proof import verify
from resumer.db import SCHEMA, open_pool
from resumer.pauses import Pauses
from tests.vectors import SECRET
from tests.vectors.signing import APPROVAL, python_signed

BESIDE = "-c search_path=resumer"


@pytest.fixture
async def pauses(database_url: str) -> AsyncIterator[Pauses]:
    """The records of an empty database."""
    async with open_pool(database_url, size=4, schema=SCHEMA, name="records") as pool:
        yield Pauses(pool)


async def record(pauses: Pauses, pause_id: str, **members: Any) -> str:
    """What became of a delivery of an approval."""
    proof = python_signed({**APPROVAL, "pause_id": pause_id, **members}, SECRET)
    body = json.dumps(proof).encode()
    return (await pauses.record(verify(body, secrets=[SECRET]), body)).result


async def rows(url: str, query: str) -> list[dict[str, Any]]:
    """What is in the database."""
    connection = await psycopg.AsyncConnection.connect(url, options=BESIDE, row_factory=dict_row)
    async with connection:
        return await (await connection.execute(query.encode())).fetchall()


async def test_one_commit_for_many(pauses: Pauses, database_url: str) -> None:
    """Each gets its own result; copies and contradictions among them are told apart."""
    ids = [f"pause_{number}" for number in range(40)]
    results = await asyncio.gather(
        *(record(pauses, pause_id) for pause_id in ids),
        *(record(pauses, pause_id) for pause_id in ids[:10]),
        *(record(pauses, pause_id, decision="rejected") for pause_id in ids[:5]),
    )
    assert Counter(results) == {"accepted": 40, "duplicate": 10, "conflict": 5}
    # A transaction has one time.
    [times] = await rows(database_url, "select count(distinct received_at) as n from pauses")
    assert times["n"] <= 10
    jobs = await rows(database_url, "select args->>'pause_id' as pause_id from procrastinate_jobs")
    assert sorted(row["pause_id"] for row in jobs) == sorted(ids)
    [kept] = await rows(database_url, "select count(*) as n from conflicts")
    assert kept["n"] == 5


async def test_what_cannot_be_recorded_fails_alone(pauses: Pauses, database_url: str) -> None:
    """Its neighbours are recorded, each once."""
    async with await psycopg.AsyncConnection.connect(database_url, options=BESIDE) as connection:
        await connection.execute("alter table pauses add check (pause_id <> 'pause_bad')")
    ids = [f"pause_{number}" for number in range(20)]
    results = await asyncio.gather(
        *(record(pauses, pause_id) for pause_id in [*ids, "pause_bad", "pause_last"]),
        return_exceptions=True,
    )
    assert results[:20] == ["accepted"] * 20
    assert isinstance(results[20], psycopg.errors.CheckViolation)
    assert results[21] == "accepted"
    [found] = await rows(database_url, "select count(*) as n from pauses")
    assert found["n"] == 21


async def test_who_is_locked_holds_up_nobody(pauses: Pauses, database_url: str) -> None:
    """A pause that somebody has locked waits by itself, and is answered when it is let go."""
    assert await record(pauses, "pause_locked") == "accepted"
    connection = await psycopg.AsyncConnection.connect(database_url, options=BESIDE)
    async with connection:
        await connection.execute("select from pauses where pause_id = 'pause_locked' for update")
        others = [f"pause_{number}" for number in range(10)]
        locked = asyncio.create_task(record(pauses, "pause_locked"))
        beside = await asyncio.gather(*(record(pauses, pause_id) for pause_id in others))
        behind = await record(pauses, "pause_behind")
        assert (beside, behind, locked.done()) == (["accepted"] * 10, "accepted", False)
    assert await asyncio.wait_for(locked, 30) == "duplicate"
