"""`resume_thread` and its async twin: one proof, one interrupt, or a clear reason why not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel, ValidationError

from looppause_sdk.errors import (
    GateError,
    NoCheckpointer,
    NotWaiting,
    ProofError,
    ProofInvalid,
    ProofMalformed,
    ThreadNotFound,
)
from looppause_sdk.langgraph import aresume_thread, resume_thread
from looppause_sdk.testing import FakeLoopPause, sign_proof
from tests.agents import State, client_of, gate, on
from tests.gates import Payments, agent, asked, async_client_of, over
from tests.vectors.signing import hmac_hex

FORMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "dict": dict,
    "text": json.dumps,
    "bytes": lambda proof: json.dumps(proof, ensure_ascii=False).encode(),
}


@pytest.fixture
def saver(database_url: str) -> Iterator[PostgresSaver]:
    """A sync saver on a database of this test's own."""
    with PostgresSaver.from_conn_string(database_url) as saver:
        yield saver


@pytest.fixture
async def async_saver(database_url: str) -> AsyncIterator[AsyncPostgresSaver]:
    """An async saver on the same database."""
    async with AsyncPostgresSaver.from_conn_string(database_url) as saver:
        yield saver


def _hibernated(looppause: FakeLoopPause, saver: Any, **settings: Any) -> tuple[Any, str]:
    graph = agent(looppause, saver, **settings)
    graph.invoke({"amount": 5}, on("t"))
    return graph, asked(graph)[0]


# -- resumed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("scheme", ["hmac", "ed25519"])
def test_a_proof_in_any_form_resumes(
    saver: PostgresSaver, form: Callable[[dict[str, Any]], Any], scheme: Any
) -> None:
    """Bytes, text or mapping, in either scheme; what the graph returns comes back."""
    looppause = FakeLoopPause(scheme=scheme)
    graph, pause_id = _hibernated(looppause, saver)
    proof = looppause.decide(pause_id, comment="für Müller", fields={"rate": 1e-7})
    state = resume_thread(graph, "t", form(proof))
    assert (state["done"], state["looppause"]["fields"]) == (["paid"], {"rate": 1e-7})


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_twin_works_with_an_async_saver(
    looppause: FakeLoopPause, async_saver: AsyncPostgresSaver, kind: str
) -> None:
    """Whichever client the gate asks with."""
    client = {"sync": client_of, "async": async_client_of}[kind](looppause)
    graph = agent(looppause, async_saver, client=client)
    await graph.ainvoke({"amount": 5}, on("t"))
    proof = looppause.decide(*looppause.pauses)
    state = await aresume_thread(graph, "t", json.dumps(proof).encode())
    assert state["done"] == ["paid"]


def test_a_number_is_verified_as_its_signer_wrote_it(
    looppause: FakeLoopPause, saver: PostgresSaver
) -> None:
    """Given as bytes, a proof need not be written in Python's or JavaScript's notation."""
    graph, pause_id = _hibernated(looppause, saver)
    body = _signed_text(looppause, looppause.decide(pause_id, fields={"rate": 7}), "7", "7.500")
    with pytest.raises(ProofInvalid):
        resume_thread(graph, "t", json.loads(body))
    assert resume_thread(graph, "t", body.encode())["looppause"]["fields"] == {"rate": 7.5}


def _signed_text(looppause: FakeLoopPause, proof: dict[str, Any], plain: str, written: str) -> str:
    """The proof with a number written its own way, signed so."""
    unsigned = {name: value for name, value in proof.items() if name != "signature"}
    text = json.dumps(unsigned, sort_keys=True, separators=(",", ":"))
    text = text.replace(f'"rate":{plain}', f'"rate":{written}')
    assert written in text
    return f'{text[:-1]},"signature":"{hmac_hex(text, looppause.secret)}"}}'


def test_of_two_pending_gates_the_right_one_goes_on(
    looppause: FakeLoopPause, saver: PostgresSaver
) -> None:
    """Found by its pause, resumed by its interrupt id; the other one waits."""
    graph = over(_two_gates(gate(client_of(looppause)), looppause), saver)
    graph.invoke({"amount": 5}, on("t"))
    one, two = asked(graph)
    state = resume_thread(graph, "t", looppause.decide(two))
    assert (state["second"]["pause_id"], "looppause" in state) == (two, False)
    assert asked(graph) == [one]


def _two_gates(first: Any, looppause: FakeLoopPause) -> Any:
    builder: Any = StateGraph(State)
    builder.add_node("one", first)
    builder.add_node("two", gate(client_of(looppause), state_key="second"))
    builder.add_edge(START, "one")
    builder.add_edge(START, "two")
    return builder.compile()


# -- refused, and nothing happened -------------------------------------------------------------


@pytest.fixture(params=["sync", "async"])
def resume(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Either twin, awaited."""
    twin = {"sync": resume_thread, "async": aresume_thread}[request.param]

    async def call(*arguments: Any) -> Any:
        result = twin(*arguments)
        return result if request.param == "sync" else await result

    return call


async def test_an_unknown_thread_is_never_started(
    looppause: FakeLoopPause, resume: Callable[..., Any]
) -> None:
    """LangGraph by itself would start a new run from START."""
    graph, pause_id = _hibernated(looppause, InMemorySaver())
    proof = looppause.decide(pause_id)
    with pytest.raises(ThreadNotFound, match="thread other does not exist"):
        await resume(graph, "other", proof)
    assert graph.get_state(on("other")).created_at is None
    assert len(looppause.pauses) == 1


async def test_a_pause_nobody_waits_for_is_refused(
    looppause: FakeLoopPause, resume: Callable[..., Any]
) -> None:
    """Another thread's approval, however genuine, touches nothing here."""
    graph, _ = _hibernated(looppause, InMemorySaver())
    graph.invoke({"amount": 7}, on("other"))
    [elsewhere] = asked(graph, "other")
    with pytest.raises(NotWaiting, match=f"waits for pause {elsewhere}"):
        await resume(graph, "t", looppause.decide(elsewhere))
    assert len(asked(graph)) == 1


async def test_the_same_proof_again_is_refused(
    looppause: FakeLoopPause, resume: Callable[..., Any]
) -> None:
    """The thread has gone on: nothing waits for this pause any more."""
    payments = Payments()
    graph, pause_id = _hibernated(looppause, InMemorySaver(), pay=payments.pay)
    proof = looppause.decide(pause_id)
    await resume(graph, "t", proof)
    with pytest.raises(NotWaiting):
        await resume(graph, "t", proof)
    assert len(payments.made) == 1


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], type[ProofError]]] = {
    "forged": (lambda proof: sign_proof(proof, secret="not the secret"), ProofInvalid),
    "tampered": (lambda proof: json.dumps({**proof, "comment": "x"}), ProofInvalid),
    "unsigned": (lambda proof: {**proof, "signature": None}, ProofInvalid),
    "no pause": (lambda _: {"decision": "approved"}, ProofMalformed),
    "not JSON": (lambda _: b"approved", ProofMalformed),
    "not UTF-8": (lambda _: b"\xff", ProofMalformed),
    "empty": (lambda _: "", ProofMalformed),
    "true": (lambda _: True, ProofMalformed),
    "none": (lambda _: None, ProofMalformed),
}


@pytest.mark.parametrize(("bad", "error"), BAD.values(), ids=BAD)
async def test_a_bad_proof_leaves_the_thread_paused(
    looppause: FakeLoopPause,
    resume: Callable[..., Any],
    bad: Callable[[dict[str, Any]], Any],
    error: type[ProofError],
) -> None:
    """The reason is an error of the SDK; the genuine proof still opens."""
    graph, pause_id = _hibernated(looppause, InMemorySaver())
    proof = looppause.decide(pause_id)
    with pytest.raises(error):
        await resume(graph, "t", bad(proof))
    assert asked(graph) == [pause_id]
    assert (await resume(graph, "t", proof))["done"] == ["paid"]


@dataclass
class Outdated:
    """A graph whose thread somebody else resumes while we still look at it."""

    graph: Any
    snapshot: Any

    @property
    def checkpointer(self) -> Any:
        return self.graph.checkpointer

    def get_state(self, *_: Any) -> Any:
        return self.snapshot

    async def aget_state(self, *_: Any) -> Any:
        return self.snapshot

    def __getattr__(self, name: str) -> Any:
        return getattr(self.graph, name)


async def test_a_thread_that_went_on_meanwhile_is_not_touched(
    looppause: FakeLoopPause, resume: Callable[..., Any]
) -> None:
    """The answer to the first gate must not be taken for that of the second."""
    graph = over(_gates_in_a_row(looppause), InMemorySaver())
    graph.invoke({"amount": 5}, on("t"))
    outdated = Outdated(graph, graph.get_state(on("t")))
    proof = looppause.decide(*asked(graph))
    await resume(graph, "t", proof)
    [second] = asked(graph)
    with pytest.raises(NotWaiting, match="thread t went on meanwhile"):
        await resume(outdated, "t", proof)
    assert asked(graph) == [second]


async def test_a_graph_without_a_checkpointer_is_refused(
    looppause: FakeLoopPause, resume: Callable[..., Any]
) -> None:
    """It has no threads to resume."""
    graph = agent(looppause, None)
    with pytest.raises(NoCheckpointer, match="compile it with one"):
        await resume(graph, "t", {"pause_id": "p"})


async def test_one_proof_never_opens_two_gates(
    looppause: FakeLoopPause, resume: Callable[..., Any]
) -> None:
    """Where two interrupts name one pause (0.1.0's gates can), a person has to choose."""

    def careless(state: State) -> Any:
        return {"looppause": interrupt({"pause_id": "p", "action": {}})}

    def careless_too(state: State) -> Any:
        return {"second": interrupt({"pause_id": "p", "action": {}})}

    builder: Any = StateGraph(State)
    for node in (careless, careless_too):
        builder.add_node(node)
        builder.add_edge(START, node.__name__)
    graph = builder.compile(checkpointer=InMemorySaver())
    graph.invoke({}, on("t"))
    with pytest.raises(GateError, match="2 gates of thread t wait for pause p"):
        await resume(graph, "t", {"pause_id": "p"})
    assert asked(graph) == ["p", "p"]


async def test_what_the_graph_raises_later_comes_through(
    looppause: FakeLoopPause, resume: Callable[..., Any]
) -> None:
    """A `ValidationError` of the agent's own is not mistaken for a refused proof."""

    class Payment(BaseModel):
        amount: int

    def pay(state: State) -> Any:
        return Payment.model_validate({"amount": "a lot"})

    graph, pause_id = _hibernated(looppause, InMemorySaver(), pay=pay)
    with pytest.raises(ValidationError, match="a lot"):
        await resume(graph, "t", looppause.decide(pause_id))


async def test_a_refusal_by_another_interrupt_comes_through(
    looppause: FakeLoopPause, resume: Callable[..., Any]
) -> None:
    """An interrupt of the agent's own may refuse its answer for reasons of its own."""

    class Form(BaseModel):
        signature: int
        pause_id: str

    def own(state: State) -> Any:
        return interrupt({"pause_id": "p"}, response_schema=Form)

    builder: Any = StateGraph(State)
    builder.add_node("own", own)
    builder.add_edge(START, "own")
    graph = builder.compile(checkpointer=InMemorySaver())
    graph.invoke({}, on("t"))
    with pytest.raises(ValidationError):
        await resume(graph, "t", {"pause_id": "p", "signature": "x"})


def test_a_second_gate_is_found_after_the_first(looppause: FakeLoopPause) -> None:
    """Two approvals, two resumes of one thread, each for the gate it hibernates at."""
    graph = over(_gates_in_a_row(looppause), InMemorySaver())
    graph.invoke({"amount": 5}, on("t"))
    first = looppause.decide(*asked(graph))
    resume_thread(graph, "t", first)
    [second] = asked(graph)
    with pytest.raises(NotWaiting):
        resume_thread(graph, "t", first)
    assert resume_thread(graph, "t", looppause.decide(second))["second"]["pause_id"] == second


def _gates_in_a_row(looppause: FakeLoopPause) -> Any:
    builder: Any = StateGraph(State)
    builder.add_node("one", gate(client_of(looppause)))
    builder.add_node("two", gate(client_of(looppause), state_key="second"))
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    return builder.compile()
