"""Graphs that ask, for workers that are processes of their own, and many threads of each at once.

A graph is run once; its rows in the checkpointer's tables are then copied under other thread ids,
with other pause ids of the same length. Their answers are recorded as deliveries are.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import httpx
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph

from looppause_sdk import LoopPauseClient
from looppause_sdk.langgraph import GateResult, make_interrupt_gate, route_on_gate
from looppause_sdk.proof import verify
from looppause_sdk.testing import FakeLoopPause
from resumer.db import SCHEMA, Connection, Pool, connect, open_pool
from resumer.pauses import Pauses

__all__ = [
    "GRAPHS",
    "LOOPPAUSE",
    "SECRET",
    "answer",
    "api",
    "hibernate",
    "model",
    "paid",
    "record",
    "trivial",
]

SECRET = "whsec_for_the_benchmark_and_nothing_else"  # noqa: S105  (of no use elsewhere)
LOOPPAUSE = FakeLoopPause(secret=SECRET)
API_SECONDS, MODEL_SECONDS = 0.2, 1.0
AT_ONCE = 64

COPY = """
with template as (
    select thread_id, convert_to(%(pause_id)s, 'UTF8') as pause_id
    from (values (%(thread_id)s)) as one (thread_id)
),
copies as (
    select n, template.thread_id as template, %(prefix)s || lpad(n::text, 8, '0') as thread_id,
        convert_to('pause_' || substr(md5(%(prefix)s || n), 1, 26), 'UTF8') as pause_id
    from template cross join generate_series(1, %(count)s::int) as n
),
stored as (
    insert into checkpoints
    select (jsonb_populate_record(
        checkpoints, jsonb_build_object('thread_id', copies.thread_id)
    )).* from checkpoints join copies on checkpoints.thread_id = copies.template
),
kept as (
    insert into checkpoint_blobs
        (thread_id, checkpoint_ns, channel, version, type, blob)
    select copies.thread_id, checkpoint_ns, channel, version, type, blob
    from checkpoint_blobs join copies on checkpoint_blobs.thread_id = copies.template
)
insert into checkpoint_writes
    (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path)
select copies.thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type,
    case when position(template.pause_id in blob) > 0
        then overlay(blob placing copies.pause_id from position(template.pause_id in blob))
        else blob
    end, task_path
from checkpoint_writes join copies on checkpoint_writes.thread_id = copies.template, template
"""
IDS = """
select 'pause_' || substr(md5(%(prefix)s || n), 1, 26) as pause_id
from generate_series(1, %(count)s::int) as n
"""
PAID = """
select count(distinct thread_id) as paid from checkpoints
where starts_with(thread_id, %(prefix)s) and checkpoint -> 'channel_values' ? 'note'
"""


class State(TypedDict, total=False):
    """The state of each graph."""

    amount: int
    looppause: GateResult
    note: str


def _graph(agent_id: str, node: Any) -> Any:
    """Asks, then runs the node."""
    client = LoopPauseClient(
        "key",
        signing_secret=SECRET,
        http_client=httpx.Client(transport=LOOPPAUSE.transport),
        env={},
    )
    gate = make_interrupt_gate(
        client,
        agent_id=agent_id,
        action_builder=lambda state: {
            "type": "payment",
            "description": f"Pay {state['amount']} EUR to Acme Corporation for the order",
            "details": {"amount": state["amount"], "currency": "EUR", "order": "2026-0815"},
        },
        recipients=[{"channel": "slack", "target": "#finance"}],
    )
    builder = StateGraph(State)
    builder.add_node("gate", gate)
    builder.add_node("pay", node)
    builder.add_edge(START, "gate")
    builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})
    builder.add_edge("pay", END)
    return builder.compile()


async def _pay(state: State) -> State:
    return {"note": f"paid {state['amount']}"}


async def _call_an_api(state: State) -> State:
    await asyncio.sleep(API_SECONDS)
    return await _pay(state)


async def _call_a_model(state: State) -> State:
    await asyncio.sleep(MODEL_SECONDS)
    return await _pay(state)


trivial = _graph("trivial", _pay)
api = _graph("api", _call_an_api)
model = _graph("model", _call_a_model)
GRAPHS = {"trivial": trivial, "api": api, "model": model}


async def hibernate(url: str, agent_id: str, prefix: str, count: int) -> list[str]:
    """So many threads of the graph, their ids beginning with `prefix`; the ids of their pauses."""
    async with open_pool(url, size=2, name="agents") as pool:
        pause_id = await _run_once(pool, agent_id, prefix)
    values = {"prefix": prefix, "count": count, "thread_id": prefix, "pause_id": pause_id}
    async with await connect(url) as connection:
        await connection.execute(COPY, values)
        cursor = await connection.execute(IDS, {"prefix": prefix, "count": count})
        return [row["pause_id"] for row in await cursor.fetchall()]


async def _run_once(pool: Pool, agent_id: str, thread_id: str) -> str:
    graph = copy.copy(GRAPHS[agent_id])
    graph.checkpointer = AsyncPostgresSaver(pool)
    config = {"configurable": {"thread_id": thread_id}}
    result = await graph.ainvoke({"amount": 12450}, config)
    return str(result["__interrupt__"][0].value["pause_id"])


def answer(pause_id: str) -> bytes:
    """A person's approval, as it is delivered."""
    return json.dumps(
        LOOPPAUSE.sign(
            {
                "pause_id": pause_id,
                "status": "responded",
                "decision": "approved",
                "authorization_type": "human",
                "human_response": True,
                "channel": "slack",
                "responder": "alice@acme.example",
                "responded_at": "2026-11-22T12:00:00Z",
            }
        )
    ).encode()


async def paid(connection: Connection, prefix: str) -> int:
    """How many of the threads whose ids begin so have run the node behind their gate."""
    cursor = await connection.execute(PAID, {"prefix": prefix})
    row = await cursor.fetchone()
    return row["paid"] if row else 0


async def record(url: str, pause_ids: Sequence[str]) -> None:
    """As the receiver does with a delivery, without HTTP."""
    async with _records(url) as pauses:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(pause_id: str) -> None:
            body = answer(pause_id)
            async with slots:
                await pauses.record(verify(body, secrets=[SECRET]), body)

        await asyncio.gather(*map(one, pause_ids))


@asynccontextmanager
async def _records(url: str) -> AsyncIterator[Pauses]:
    async with open_pool(url, size=4, schema=SCHEMA, name="records") as pool:
        yield Pauses(pool)
