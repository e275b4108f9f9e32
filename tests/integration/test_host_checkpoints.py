"""A host's own pool and saver: used for the checkpointer's side, and left as they are."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row, tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from looppause_sdk.langgraph import route_on_gate
from looppause_sdk.pause_index import PauseIndexMixin
from resumer.errors import SettingsError
from tests import agents, postgres

from .conftest import Rig

FIT: dict[str, Any] = {"autocommit": True, "row_factory": dict_row, "prepare_threshold": 0}


@asynccontextmanager
async def host_pool(url: str, **kwargs: Any) -> AsyncIterator[Any]:
    """A pool as LangGraph wants it, that counts its connections."""
    pool: Any = AsyncConnectionPool(url, kwargs={**FIT, **kwargs}, max_size=12, open=False)
    async with pool:
        yield pool


async def resumes(rig: Rig, **given: Any) -> None:
    """A thread that hibernates is resumed by a receiver that is given this."""
    [pause_id] = await rig.hibernate(rig.agent(), "t")
    receiver = await rig.receiver(**given)
    await rig.deliver(receiver, rig.looppause.decide(pause_id, "approved"))
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


@pytest.mark.parametrize("as_function", [False, True])
@pytest.mark.parametrize("kind", ["checkpoint_pool", "checkpointer"])
async def test_the_hosts_own_is_used_and_left_open(rig: Rig, kind: str, as_function: bool) -> None:
    """Given itself or by a function, which is called once the host has started."""
    async with host_pool(rig.url) as pool:
        own = pool if kind == "checkpoint_pool" else AsyncPostgresSaver(pool)
        before = pool.get_stats().get("requests_num", 0)
        await resumes(rig, **{kind: (lambda: own) if as_function else own})
        assert pool.get_stats()["requests_num"] > before + 5  # each statement asks for one
        await rig.stack.aclose()
        assert not pool.closed
        async with pool.connection() as connection:
            assert (await (await connection.execute("select 1 as one")).fetchone())["one"] == 1


class Saver(PauseIndexMixin, AsyncPostgresSaver):
    """The host's own kind, which notes what SQL cannot read."""


def two_gates(rig: Rig) -> Any:
    """START → gate → second → pay."""
    builder = StateGraph(agents.State)
    builder.add_node("gate", agents.gate(rig.client()))
    builder.add_node("second", agents.gate(rig.client(), state_key="second"))
    builder.add_node("pay", rig.ledger.pay)
    builder.add_edge(START, "gate")
    builder.add_conditional_edges("gate", route_on_gate(), {"approved": "second", "halt": END})
    builder.add_conditional_edges(
        "second", route_on_gate("second"), {"approved": "pay", "halt": END}
    )
    builder.add_edge("pay", END)
    return builder.compile()


@pytest.mark.parametrize("given", ["saver", "serializer"])
async def test_the_next_gate_of_an_encrypted_thread_is_found(rig: Rig, given: str) -> None:
    """What we write of a thread is noted, too: by the host's kind of saver, or by ours."""
    aes = EncryptedSerializer.from_pycryptodome_aes(key=b"0123456789abcdef")
    graph = two_gates(rig)
    async with host_pool(rig.url) as pool:
        saver = Saver(pool, serde=aes)
        attached = graph.copy(update={"checkpointer": saver})
        await attached.ainvoke({"amount": 7}, agents.on("t"))
        own = {"checkpointer": saver} if given == "saver" else {"serializer": aes}
        receiver = await rig.receiver({"procurement": graph}, **own)
        for _ in range(2):
            state = await attached.aget_state(agents.on("t"))
            pause_id = state.interrupts[0].value["pause_id"]
            await rig.deliver(receiver, rig.looppause.decide(pause_id, "approved"))
            await rig.until_state(pause_id, "resumed")
        await rig.stack.aclose()
    assert len(rig.ledger.payments) == 1


async def test_what_cannot_be_used_says_what_to_give(rig: Rig) -> None:
    """Before anything is resumed, and in words that name the argument."""
    single: Any = await psycopg.AsyncConnection.connect(rig.url, **FIT)
    async with single, host_pool(rig.url) as pool:
        cases: list[tuple[dict[str, Any], str]] = [
            ({"checkpointer": InMemorySaver()}, "checkpointer is a InMemorySaver: give an Async"),
            ({"checkpointer": AsyncPostgresSaver(single)}, "checkpointer has a single connection"),
            ({"checkpoint_pool": single}, "checkpoint_pool is a AsyncConnection: give a psycopg_"),
            (
                {"checkpoint_pool": ConnectionPool(rig.url, open=False)},
                "checkpoint_pool is a ConnectionPool: give a psycopg_pool.AsyncConnectionPool",
            ),
            (
                {"checkpoint_pool": AsyncConnectionPool(rig.url, open=False)},
                "checkpoint_pool is not open: open it before the receiver starts",
            ),
            (
                {"checkpoint_pool": pool, "checkpointer": AsyncPostgresSaver(pool)},
                "checkpointer and checkpoint_pool: give one, a saver has its pool",
            ),
        ]
        for given, reason in cases:
            with pytest.raises(SettingsError) as caught:
                await rig.receiver(**given)
            assert reason in str(caught.value)


@pytest.mark.parametrize(
    "kwargs, missing",
    [
        ({"autocommit": False}, "without autocommit=True, which LangGraph needs"),
        ({"row_factory": tuple_row}, "without row_factory=dict_row, which"),
        ({"autocommit": False, "row_factory": tuple_row}, "autocommit=True and row_factory=dict"),
    ],
)
async def test_a_pool_made_otherwise_is_refused(
    rig: Rig, kwargs: dict[str, Any], missing: str
) -> None:
    """However it makes its connections: they are looked at, not its arguments."""
    async with host_pool(rig.url, **kwargs) as pool:
        with pytest.raises(SettingsError, match=missing):
            await rig.receiver(checkpoint_pool=pool)
        assert not pool.closed


async def test_a_pool_of_another_database_is_refused(
    rig: Rig, postgres_server: postgres.Server
) -> None:
    """The locks would be taken elsewhere, and two workers could run one thread; a URL mends it."""
    other = postgres_server.database()
    try:
        async with host_pool(other) as pool:
            with pytest.raises(SettingsError, match="of another database than RESUMER_CHECKPOINT"):
                await rig.receiver(checkpoint_pool=pool)
            assert (await rig.receiver(checkpoint_pool=pool, checkpoint_url=other)).is_running
            await rig.stack.aclose()
    finally:
        postgres_server.drop(other)


async def test_a_pool_that_is_too_small_is_warned_of(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """It works, with runs that wait for each other."""
    with caplog.at_level(logging.WARNING, logger="resumer"):
        async with host_pool(rig.url) as pool:
            await resumes(rig, checkpoint_pool=pool, concurrency=13)
            await rig.stack.aclose()
    assert "checkpoint_pool_small" in caplog.text


async def test_a_graph_with_a_checkpointer_of_its_own_is_not_touched(rig: Rig) -> None:
    """Ours is attached to a copy: the user's object keeps what it was compiled with."""
    memory = InMemorySaver()
    graph = rig.agent()
    graph.checkpointer = memory
    [pause_id] = await rig.hibernate(graph, "t")
    receiver = await rig.receiver({"procurement": graph})
    await rig.deliver(receiver, rig.looppause.decide(pause_id, "approved"))
    await rig.until_state(pause_id, "resumed")
    assert graph.checkpointer is memory
    assert list(memory.storage) == []
