"""What a gate knows of the LangGraph run it stands in, and how it refuses an answer there."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Annotated, Any
from uuid import uuid4

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.config import get_config
from langgraph.errors import is_invalid_resume
from langgraph.runtime import get_runtime
from pydantic import AfterValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import override

from looppause_sdk.errors import LoopPauseConfigError, NoCheckpointer, ProofError
from looppause_sdk.gate import Answer

__all__ = [
    "NO_CHECKPOINTER",
    "SCRATCHPAD",
    "STRICT_RESUME",
    "TwoForms",
    "Visit",
    "answer_schema",
    "can_hibernate",
    "refusal",
    "require_async_interrupts",
    "require_checkpointer",
    "visit",
]

NO_CHECKPOINTER = (
    "the graph has no checkpointer, so it cannot hibernate: compile it with one, "
    "e.g. builder.compile(checkpointer=PostgresSaver(...)), or use make_polling_gate"
)

# LangGraph has no public names for them; the tests fail should one move.
STRICT_RESUME = "__pregel_strict_resume"
CHECKPOINTER = "__pregel_checkpointer"
SCRATCHPAD = "__pregel_scratchpad"

# The thread, the task, and how many gates were called before; see `visit`.
Visit = tuple[str, str, int]

_REFUSED = "looppause_refused"

# Every execution of a node has a context of its own, so a re-execution counts from 0 again.
_gate_calls: ContextVar[tuple[str, int]] = ContextVar("looppause_gate_calls", default=("", 0))


class TwoForms(Runnable[Any, dict[str, Any]]):
    """A node that blocks under `invoke` and when it is called, and is a coroutine under `ainvoke`.

    LangGraph would run a plain function in a thread under `ainvoke`, and a gate would hold it.
    """

    def __init__(
        self,
        now: Callable[[Any], dict[str, Any]],
        later: Callable[[Any], Awaitable[dict[str, Any]]],
    ) -> None:
        self.name = self.__name__ = now.__name__
        self._now = now
        self._later = later

    def __call__(self, state: Any) -> dict[str, Any]:
        return self._now(state)

    @override
    def invoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        return self._now(input)

    @override
    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        return await self._later(input)


def require_async_interrupts() -> None:
    """Raise `LoopPauseConfigError` where LangGraph cannot interrupt a coroutine."""
    if sys.version_info < (3, 11):
        raise LoopPauseConfigError(
            "LangGraph's interrupt works under `ainvoke` from Python 3.11 on: use LoopPauseClient "
            "and `invoke`, or make_polling_gate"
        )


def require_checkpointer() -> None:
    """Raise `NoCheckpointer` unless the node that runs now can hibernate."""
    try:
        configurable = get_config().get("configurable", {})
    except RuntimeError as error:
        raise NoCheckpointer(
            "what asks for approval and hibernates has to run inside a graph with a checkpointer, "
            "and under `ainvoke` only from Python 3.11 on"
        ) from error
    if configurable.get(CHECKPOINTER) in (None, False):
        raise NoCheckpointer(NO_CHECKPOINTER)


def can_hibernate() -> bool:
    """Whether what runs now stands in a graph that keeps its threads."""
    try:
        require_checkpointer()
    except NoCheckpointer:
        return False
    return True


def visit() -> Visit:
    """What tells this call of a gate from every other, and is the same on re-execution.

    The thread, the task (one pass through a node), and how many gates the same execution of the
    node has called before.
    """
    try:
        info = get_runtime().execution_info
    except RuntimeError:
        info = None
    if info is None:  # called by hand: no thread to come back to, so never the same again
        return "", uuid4().hex, 0
    task_id, calls = _gate_calls.get()
    call = calls + 1 if task_id == info.task_id else 0
    _gate_calls.set((info.task_id, call))
    return info.thread_id or "", info.task_id, call


def answer_schema(bind: Callable[[Any], Answer]) -> Any:
    """A `response_schema` for `interrupt` that takes only what `bind` takes.

    LangGraph raises a refusal at whoever resumed, and saves nothing of the answer. The message
    says why and shows nothing of the answer either.
    """

    def genuine(answer: Any) -> Answer:
        try:
            return bind(answer)
        except ProofError as error:
            raise _refused(error) from error

    return Annotated[Any, AfterValidator(genuine), WithJsonSchema({"title": "LoopPause proof"})]


def refusal(error: BaseException) -> ProofError | None:
    """The reason, if `error` came out of a graph because a gate refused its answer."""
    if not isinstance(error, ValidationError) or not is_invalid_resume(error):
        return None
    first = error.errors(include_url=False)[0]
    reason = first.get("ctx", {}).get("error")
    return _bare(reason) if isinstance(reason, ProofError) else None


def _refused(error: ProofError) -> ValidationError:
    kind = PydanticCustomError(_REFUSED, "{reason}", {"reason": str(error), "error": _bare(error)})
    return ValidationError.from_exception_data(
        "LoopPause proof", [{"type": kind, "input": "not shown"}]
    )


def _bare(error: ProofError) -> ProofError:
    """The error without its traceback: pydantic hides it, and all it holds, from the collector."""
    return type(error)(*error.args)
