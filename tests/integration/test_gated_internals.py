"""What gated calls build on in LangGraph, what they leave behind, and a process that dies."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph._internal import _constants as names
from langgraph._internal._scratchpad import PregelScratchpad
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.config import get_config
from langgraph.errors import GraphInterrupt
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Interrupt

from looppause_sdk.langchain import gate_tool
from looppause_sdk.testing import FakeLoopPause
from tests.agents import client_of, on
from tests.chat import call
from tests.gated import RUNS, USUAL, Run, Till, plain_node, tool_messages

SOURCE = Path(__file__).parents[2]


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    return RUNS[request.param]


# -- LangGraph's own names ---------------------------------------------------------------------


def test_the_private_names_that_gated_calls_use() -> None:
    """Should one of them move, this says which, before anything else fails."""
    assert names.CONFIG_KEY_CALL == "__pregel_call"
    assert names.CONFIG_KEY_SCRATCHPAD == "__pregel_scratchpad"
    assert names.CONFIG_KEY_CHECKPOINTER == "__pregel_checkpointer"
    assert (names.CONFIG_KEY_CHECKPOINT_NS, names.NS_SEP) == ("checkpoint_ns", "|")
    assert "subgraph_counter" in PregelScratchpad.__dataclass_fields__
    assert GraphInterrupt([Interrupt(1)]).args == ([Interrupt(1)],)

    @entrypoint()
    def workflow(_: Any) -> None: ...

    assert workflow.stream_eager is True


def test_what_a_node_finds_in_its_config() -> None:
    """An object of this very execution that takes attributes, and the saver with its serializer."""
    seen: list[dict[str, Any]] = []

    def node(_: MessagesState) -> dict[str, Any]:
        seen.append(get_config()["configurable"])
        vars(seen[-1][names.CONFIG_KEY_CALL])["looppause_test"] = True
        return {}

    builder: Any = StateGraph(MessagesState)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    graph = builder.compile(checkpointer=InMemorySaver())
    graph.invoke({"messages": []}, on("t"))
    graph.invoke({"messages": []}, on("t"))
    first, second = seen
    assert first[names.CONFIG_KEY_CALL] is not second[names.CONFIG_KEY_CALL]
    assert isinstance(first[names.CONFIG_KEY_SCRATCHPAD], PregelScratchpad)
    assert first[names.CONFIG_KEY_CHECKPOINTER].serde.dumps_typed("x")


async def test_every_call_has_a_namespace_of_its_own(run: Run, looppause: FakeLoopPause) -> None:
    """Named after the call: as many as there are calls, however often the node runs."""
    saver = InMemorySaver()
    gated = gate_tool(Till().tool(), run.client_of(looppause), **USUAL)
    graph = plain_node([gated], saver)
    await run.start(graph, *(call("pay", _id=f"c{n}", amount=n) for n in range(3)))
    for pause_id in list(await run.waiting(graph)):
        await run.answer(graph, looppause.decide(pause_id))
    config: Any = on("t")
    found = {stored.config["configurable"]["checkpoint_ns"] for stored in saver.list(config)}
    nested = [namespace for namespace in found if namespace]
    assert len(nested) == 3
    for namespace in nested:
        outer, _, inner = namespace.partition("|")
        assert outer.startswith("tools:")
        assert inner.startswith("looppause_call:")


# -- what is left behind -----------------------------------------------------------------------


async def test_nothing_is_kept_of_executions_that_ended(run: Run, looppause: FakeLoopPause) -> None:
    """Of hibernating, refused and finished ones alike."""
    graph = plain_node([gate_tool(Till().tool(), run.client_of(looppause), **USUAL)])
    for thread_id in map(str, range(3)):
        calls = (call("pay", _id=f"c{n}", amount=n) for n in range(2))
        await run.start(graph, *calls, thread_id=thread_id)
        first, second = await run.waiting(graph, thread_id)
        proof = looppause.decide(first)
        forged = {**proof, "signature": "0" * 64}
        with pytest.raises(ValueError, match="refused"):
            await run.answer(graph, forged, thread_id=thread_id)
        await run.answer(graph, proof, thread_id=thread_id)
        if thread_id != "2":
            await run.answer(graph, looppause.decide(second), thread_id=thread_id)
    gc.collect()
    assert [found for found in gc.get_objects() if type(found).__name__ == "Siblings"] == []


# -- other processes ---------------------------------------------------------------------------

STRICT = """
import asyncio
from decimal import Decimal
from langchain_core.tools import tool
from looppause_sdk.langchain import gate_tool
from looppause_sdk.testing import FakeLoopPause
from tests.chat import call
from tests.gated import RUNS, USUAL, plain_node, tool_messages

@tool(response_format="content_and_artifact")
def pay(amount: int):
    "Pay."
    return f"paid {amount}", {"left": Decimal(amount)}

async def main():
    for run in RUNS.values():
        looppause = FakeLoopPause()
        graph = plain_node([gate_tool(pay, run.client_of(looppause), **USUAL)])
        await run.start(graph, *(call("pay", _id=f"c{n}", amount=n) for n in (1, 2)))
        for pause_id in list(await run.waiting(graph)):
            await run.answer(graph, looppause.decide(pause_id))
        said = tool_messages(await run.state(graph))
        assert [(one.content, one.artifact) for one in said] == [
            (f"paid {n}", {"left": Decimal(n)}) for n in (1, 2)
        ], said

asyncio.run(main())
"""


def _python(source: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", source, *arguments],
        cwd=SOURCE,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_strict_msgpack_keeps_the_types() -> None:
    """With LANGGRAPH_STRICT_MSGPACK a result that comes out of the memory is what it was."""
    done = _python(STRICT, LANGGRAPH_STRICT_MSGPACK="true")
    assert done.returncode == 0, done.stderr
    assert "Blocked" not in done.stderr


DYING = """
import json, os, signal, sys
from langchain_core.tools import tool
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.types import Command
from looppause_sdk.langchain import gate_tool
from looppause_sdk.testing import FakeLoopPause
from tests.agents import client_of, on
from tests.gated import USUAL, plain_node

url, secret, answers, ledger, dying = sys.argv[1:]

@tool
def pay(amount: int, to: str = "ACME") -> str:
    "Pay."
    if dying == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    with open(ledger, "a") as file:
        file.write(f"{amount}\\n")
    if dying == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"paid {amount}"

with PostgresSaver.from_conn_string(url) as saver:
    graph = plain_node([gate_tool(pay, client_of(FakeLoopPause(secret=secret)), **USUAL)], saver)
    graph.invoke(Command(resume=json.loads(answers)), on("t"), durability="sync")
"""


@pytest.mark.parametrize(("dying", "paid"), [("before", 1), ("after", 2)])
async def test_a_process_killed_in_an_approved_tool(
    looppause: FakeLoopPause, database_url: str, tmp_path: Path, dying: str, paid: int
) -> None:
    """The answer is not lost; the tool runs again (at least once); its sibling is untouched."""
    run, ledger = RUNS["sync"], tmp_path / "ledger"
    with PostgresSaver.from_conn_string(database_url) as saver:
        graph = plain_node([gate_tool(Till().tool(), client_of(looppause), **USUAL)], saver)
        await run.start(graph, call("pay", _id="a", amount=1), call("pay", _id="b", amount=2))
        first, second = (
            (pause_id, interrupt_id)
            for pause_id, interrupt_id in (await run.waiting(graph)).items()
        )

        def resumed(pause: tuple[str, str], dying: str) -> int:
            proof = looppause.document(pause[0])["proof"] or looppause.decide(pause[0])
            answers = json.dumps({pause[1]: proof})
            return _python(
                DYING, database_url, looppause.secret, answers, str(ledger), dying
            ).returncode

        assert resumed(first, dying) == -signal.SIGKILL
        assert list(await run.waiting(graph)) == [first[0], second[0]]
        assert resumed(first, "no") == 0
        assert list(await run.waiting(graph)) == [second[0]]
        lines = ledger.read_text().split()
        assert lines == [lines[0]] * paid
        assert resumed(second, "no") == 0
        said = [message.content for message in tool_messages(await run.state(graph))]
    assert said == ["paid 1", "paid 2"]
    assert len(ledger.read_text().split()) == paid + 1
    assert len(looppause.pauses) == 2
