"""Interrupts that SQL cannot read are found by what the agent's saver noted."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from looppause_sdk import LoopPauseConfigError
from looppause_sdk.pause_index import PauseIndexMixin
from tests import agents
from tests.integration.conftest import Rig


class AsyncSaver(PauseIndexMixin, AsyncPostgresSaver):
    """The agent's saver."""


class Saver(PauseIndexMixin, PostgresSaver):  # type: ignore[misc]  # both sets of methods stand
    """The agent's saver, sync."""


@pytest.fixture
def aes() -> EncryptedSerializer:
    return EncryptedSerializer.from_pycryptodome_aes(key=b"0123456789abcdef")


async def _hibernate(rig: Rig, graph: Any, saver_class: Any, aes: EncryptedSerializer) -> str:
    attached = copy.copy(graph)
    if saver_class is AsyncSaver:
        async with AsyncSaver.from_conn_string(rig.url, serde=aes) as saver:
            attached.checkpointer = saver
            result = await attached.ainvoke({"amount": 7}, agents.on("t1"))
    else:
        import psycopg
        from psycopg.rows import dict_row

        with psycopg.connect(rig.url, autocommit=True, row_factory=dict_row) as connection:
            saver_of: Any = Saver
            attached.checkpointer = saver_of(connection, serde=aes)
            result = attached.invoke({"amount": 7}, agents.on("t1"))
    pause_id: str = result["__interrupt__"][0].value["pause_id"]
    return pause_id


@pytest.mark.parametrize("saver_class", [AsyncSaver, Saver])
async def test_an_encrypted_thread_is_resumed(
    rig: Rig, aes: EncryptedSerializer, saver_class: Any
) -> None:
    """With the mix-in on the agent's side and the key on ours, encryption changes nothing."""
    resumer = await rig.receiver(serializer=aes)
    pause_id = await _hibernate(rig, rig.agent(), saver_class, aes)
    [row] = await rig.rows(
        "select blob, type from public.checkpoint_writes where channel = '__interrupt__'"
    )
    assert (b"pause_id" in bytes(row["blob"]), row["type"]) == (False, "msgpack+aes")

    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


async def test_a_graph_that_brings_its_serializer_needs_no_setting(
    rig: Rig, aes: EncryptedSerializer
) -> None:
    """The serializer of the registered graph's own checkpointer is used."""
    from langgraph.checkpoint.memory import InMemorySaver

    graph = copy.copy(rig.agent())
    graph.checkpointer = InMemorySaver(serde=aes)
    resumer = await rig.receiver({"procurement": graph})
    pause_id = await _hibernate(rig, rig.agent(), AsyncSaver, aes)
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


async def test_without_the_key_the_pause_parks_with_advice(
    rig: Rig, aes: EncryptedSerializer
) -> None:
    """An interrupt nobody here can decrypt is not taken for a missing one."""
    resumer = await rig.receiver()
    pause_id = await _hibernate(rig, rig.agent(), AsyncSaver, aes)
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    record = await rig.until_state(pause_id, "parked")
    assert record["reason_code"] == "undecodable"
    assert "serializer" in record["reason"]
    assert rig.ledger.payments == []


async def test_a_database_without_the_table_is_told_before_hibernating(
    rig: Rig, aes: EncryptedSerializer
) -> None:
    """The agent fails at once, with what to do, rather than hibernate where nobody finds it."""
    await rig.rows("drop table public.resumer_pause_index")
    with pytest.raises(LoopPauseConfigError, match="resumer migrate"):
        await _hibernate(rig, rig.agent(), AsyncSaver, aes)


async def test_deleting_a_thread_deletes_its_notes(rig: Rig, aes: EncryptedSerializer) -> None:
    """What was noted goes with the thread."""
    await _hibernate(rig, rig.agent(), AsyncSaver, aes)
    assert len(await rig.rows("select 1 from public.resumer_pause_index")) == 1
    async with AsyncSaver.from_conn_string(rig.url, serde=aes) as saver:
        await saver.adelete_thread("t1")
    assert await rig.rows("select 1 from public.resumer_pause_index") == []
