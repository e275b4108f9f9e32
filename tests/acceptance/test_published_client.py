"""Side by side with the published looppause 0.1.0: its threads wake up, its client believes us."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import looppause_client
import looppause_langgraph
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import END, START, StateGraph

from looppause_sdk.langgraph import resume_thread
from looppause_sdk.testing import FakeLoopPause
from resumer import Resumer
from tests.agents import RECIPIENTS, Ledger, State, action_of, on
from tests.gates import asked, over

HOOK = "https://agents.example/webhooks/looppause"


def _published_client(looppause: FakeLoopPause) -> Any:
    """0.1.0's client, its HTTP replaced by a transport over `looppause`."""
    client = looppause_client.LoopPauseClient("key", looppause.secret)
    client._http.close()
    client._http = httpx.Client(transport=looppause.transport)
    return client


def _published_agent(looppause: FakeLoopPause, ledger: Ledger) -> Any:
    """START → 0.1.0's interrupt gate → pay, or the end."""
    gate = looppause_langgraph.make_interrupt_gate(
        _published_client(looppause),
        agent_id="procurement",
        action_builder=action_of,
        recipients=RECIPIENTS,
        webhook_url=HOOK,
    )

    # Its own annotation, `config: dict`, is none that LangGraph injects today.
    def with_config(state: State, config: RunnableConfig) -> Any:
        return gate(state, config)

    builder: Any = StateGraph(State)
    builder.add_node("gate", with_config)
    builder.add_node("pay", ledger.pay)
    builder.add_edge(START, "gate")
    routes = {"approved": "pay", "halt": END}
    builder.add_conditional_edges("gate", looppause_langgraph.route_on_gate(), routes)
    builder.add_edge("pay", END)
    return builder.compile()


def _hibernate(graph: Any, database_url: str) -> None:
    with PostgresSaver.from_conn_string(database_url) as saver:
        over(graph, saver).invoke({"amount": 5}, on("old thread"))


FORMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "dict": dict,
    "bytes": lambda proof: json.dumps(proof).encode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_our_resume_thread_wakes_its_thread(
    looppause: FakeLoopPause, database_url: str, form: Callable[[dict[str, Any]], Any]
) -> None:
    """By interrupt id, and with the parsed proof that its gate wants."""
    ledger = Ledger()
    graph = _published_agent(looppause, ledger)
    _hibernate(graph, database_url)
    proof = looppause.decide(*looppause.pauses)
    with PostgresSaver.from_conn_string(database_url) as saver:
        state = resume_thread(over(graph, saver), "old thread", form(proof))
    assert state["done"] == ["paid"]
    assert [payment["responder"] for payment in ledger.payments] == ["alice@example.com"]
    assert len(looppause.pauses) == 1


def test_a_rejection_halts_its_thread(looppause: FakeLoopPause) -> None:
    """Resumed, and not paid."""
    ledger = Ledger()
    graph = over(_published_agent(looppause, ledger), InMemorySaver())
    graph.invoke({"amount": 5}, on("t"))
    state = resume_thread(graph, "t", looppause.decide(asked(graph)[0], "rejected"))
    assert (state["looppause"]["approved"], ledger.payments) == (False, [])


async def test_the_receiver_wakes_its_thread(looppause: FakeLoopPause, database_url: str) -> None:
    """The thread hibernated before the receiver was ever installed; it is found and it pays."""
    ledger = Ledger()
    graph = _published_agent(looppause, ledger)
    await asyncio.to_thread(_hibernate, graph, database_url)
    proof = looppause.decide(*looppause.pauses)
    resumer = Resumer({"*": graph}, database_url=database_url, signing_secrets=[looppause.secret])
    transport = httpx.ASGITransport(resumer.app)
    async with (
        resumer.running(),
        httpx.AsyncClient(transport=transport, base_url="http://receiver") as http,
    ):
        deliveries = [await http.post("/webhooks/looppause", json=proof) for _ in range(2)]
        async with asyncio.timeout(15):
            while not ledger.payments:
                await asyncio.sleep(0.02)
    assert [delivery.status_code for delivery in deliveries] == [202, 200]
    assert [payment["pause_id"] for payment in ledger.payments] == [proof["pause_id"]]


def test_its_verifier_believes_our_proofs(looppause: FakeLoopPause) -> None:
    """HMAC proofs of ours, with text and numbers of every kind, verify there unchanged."""
    client = _published_client(looppause)
    pause_id = client.create_pause(
        agent_id="procurement",
        action=action_of({"amount": 5}),
        recipients=RECIPIENTS,
        idempotency_key="key",
    )
    fields = {"rate": 1e-7, "total": 1e21, "whole": 5.0, "name": "Ünal", "open": [None, True]}
    proof = looppause.decide(pause_id, comment="für Müller ✓", fields=fields)
    assert looppause_client.verify_signature(proof, looppause.secret)
    parsed = client.parse_resume_proof(json.loads(json.dumps(proof)))
    assert (parsed.human_authorized, parsed.fields) == (True, fields)
    assert not looppause_client.verify_signature({**proof, "comment": ""}, looppause.secret)
    assert client.wait_for_proof(pause_id).responder == "alice@example.com"
