"""Resume the interrupt that waits for a proof, wherever in its thread that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from langgraph.errors import UnknownInterruptError
from langgraph.types import Command
from pydantic import ValidationError

from looppause_sdk._json import parse_object, plain
from looppause_sdk.errors import GateError, NoCheckpointer, NotWaiting, ThreadNotFound
from looppause_sdk.proof import claimed_pause_id

from ._run import NO_CHECKPOINTER, STRICT_RESUME, refusal

__all__ = ["aresume_thread", "resume_thread"]

Body = Mapping[str, Any] | str | bytes


def resume_thread(graph: Any, thread_id: str, signed_proof: Body) -> Any:
    """Resume the interrupt that waits for this proof's pause; return what the graph returns.

    Give the proof as it was received, bytes or text, where you have it so. The gate verifies it:
    `ProofInvalid` or `ProofMalformed` is raised if it proves nothing, and the thread stays
    paused. Raises besides `ThreadNotFound`, `NotWaiting` (answered already, perhaps),
    `NoCheckpointer`, `GateError` if two gates of the thread wait for one and the same pause, and
    whatever the graph itself raises after the gate.

    Two calls at the same time for one thread are not kept apart, and may run what comes after
    the gate twice: that is the receiver's work.
    """
    _require_checkpointer(graph)
    config = _config(thread_id)
    command = _command(graph.get_state(config), thread_id, signed_proof)
    with _refusals(thread_id):
        return graph.invoke(command, _strict(config))


async def aresume_thread(graph: Any, thread_id: str, signed_proof: Body) -> Any:
    """`resume_thread` for graphs with an async checkpointer."""
    _require_checkpointer(graph)
    config = _config(thread_id)
    command = _command(await graph.aget_state(config), thread_id, signed_proof)
    with _refusals(thread_id):
        return await graph.ainvoke(command, _strict(config))


@contextmanager
def _refusals(thread_id: str) -> Iterator[None]:
    """Say in the SDK's own errors why an answer was not taken."""
    try:
        yield
    except UnknownInterruptError as error:
        raise NotWaiting(
            f"thread {thread_id} went on meanwhile: somebody else has resumed it"
        ) from error
    except ValidationError as error:
        if reason := refusal(error):
            raise reason from None
        raise


def _require_checkpointer(graph: Any) -> None:
    # A RemoteGraph has no such attribute: its server keeps the checkpoints.
    if getattr(graph, "checkpointer", True) in (None, False):
        raise NoCheckpointer(NO_CHECKPOINTER)


def _config(thread_id: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread_id}}


def _strict(config: dict[str, Any]) -> dict[str, Any]:
    """LangGraph refuses then, before it writes anything, an interrupt no longer pending."""
    return {"configurable": {**config["configurable"], STRICT_RESUME: True}}


def _command(snapshot: Any, thread_id: str, body: Body) -> Command[Any]:
    """The resume by interrupt id, never by bare value: that would answer whatever comes first."""
    pause_id = claimed_pause_id(body)
    if snapshot.created_at is None:
        raise ThreadNotFound(f"thread {thread_id} does not exist; resuming it would start a run")
    waiting = {found.id: found.value for found in snapshot.interrupts if _asks(found, pause_id)}
    if not waiting:
        raise NotWaiting(f"nothing in thread {thread_id} waits for pause {pause_id}")
    if len(waiting) > 1:
        raise GateError(
            f"{len(waiting)} gates of thread {thread_id} wait for pause {pause_id}, and one "
            "answer must not open several: resume the right one by its interrupt id"
        )
    return Command(resume={name: _answer(body, value) for name, value in waiting.items()})


def _asks(found: Any, pause_id: str) -> bool:
    return isinstance(found.value, Mapping) and found.value.get("pause_id") == pause_id


def _answer(body: Body, asked: Mapping[str, Any]) -> Any:
    if isinstance(body, Mapping):
        return dict(body)
    if "action_digest" in asked:  # a gate of ours: verifies the text, as its signer wrote it
        return body if isinstance(body, str) else body.decode()
    return plain(parse_object(body))
