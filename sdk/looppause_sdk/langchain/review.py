"""For agents that have LangChain's `HumanInTheLoopMiddleware`: its questions, signed answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from langchain.agents.middleware import AgentState, HumanInTheLoopMiddleware
from langchain_core.messages import ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import Runtime
from langgraph.types import Command
from typing_extensions import override

from looppause_sdk.approval import ToolCall
from looppause_sdk.client import AsyncLoopPauseClient
from looppause_sdk.errors import LoopPauseConfigError
from looppause_sdk.langgraph._calls import check_client
from looppause_sdk.langgraph._gates import Client, pause_options
from looppause_sdk.langgraph._run import require_async_interrupts

from ._decisions import Decisions
from ._review import Review
from ._stock import Middleware, Stock

__all__ = ["signed_review"]

Result = ToolMessage | Command[Any]
Object = Mapping[str, Any]
Recipients = Iterable[Object]


def signed_review(
    middleware: Middleware,
    client: Client,
    *,
    agent_id: str,
    recipients: Recipients | Callable[[list[ToolCall]], Recipients],
    fields: Mapping[str, Collection[str]] | None = None,
    reply_field: str | None = None,
    form: Object | Callable[[list[ToolCall]], Object | None] | None = None,
    escalation: Object | Callable[[list[ToolCall]], Object | None] | None = None,
    metadata: Object | Callable[[list[ToolCall]], Object | None] | None = None,
    timeout_hours: float = 24,
    webhook_url: str | None = None,
    require_human: bool = True,
    graph: str | None = None,
) -> Middleware:
    """Return the middleware, asking through LoopPause and taking none but signed answers.

    One line changes in the agent::

        signed_review(
            HumanInTheLoopMiddleware({"pay": {"allowed_decisions": ["approve", "reject"]}}),
            client,
            agent_id="billing",
            recipients=[{"channel": "slack", "target": "#finance"}],
        )

    What it asks opens a pause: one for all calls of a message in `batched` mode, so that one
    approval covers exactly the calls that were shown, and one for each call in `per_call` mode.
    The interrupt's value is what it was, with the pause before it. The proof answers it: approved
    is `approve`; rejected, answered by a default, and not answered in time are `reject`, with the
    person's comment and the reason. An answer that is forged, belongs to another pause or is
    plain `decisions` raises at whoever resumed, and the thread stays paused.

    `fields` names, for each tool, the answers to `form` that may replace arguments of the same
    name (`edit`), and `reply_field` the one whose text the model gets in place of the tool's
    result (`respond`). An answer that could be meant for several calls of a message is not
    guessed at: they are rejected. Have a pause for each call (`interrupt_mode="per_call"`) where
    a message may hold several. `recipients`, `form`, `escalation` and `metadata` may be callables
    that get the calls; they are called when the question is put. `timeout_hours` counts from
    asking. In `per_call` mode the tool may ask for its `current_approval()`; in `batched` mode it
    runs in another step of the graph, which has none. `graph` names the agent to a receiver that
    cannot tell it by `agent_id`: as it is registered there.

    Traps: `when` is asked again on resume and must say the same for the same call; if it does
    not, `GateError` is raised and nothing runs. The agent needs a checkpointer, and `ainvoke`
    with an `AsyncLoopPauseClient`.

    Raises `LoopPauseConfigError` if a tool's `allowed_decisions` lack what an answer may need,
    for settings that cannot be used, and for a middleware that asks in a way not known here.
    """
    check_client(client)
    if isinstance(client, AsyncLoopPauseClient):
        require_async_interrupts()
    if not isinstance(middleware, HumanInTheLoopMiddleware):
        raise LoopPauseConfigError(
            "signed_review takes a HumanInTheLoopMiddleware of langchain, "
            f"not {type(middleware).__qualname__}"
        )
    stock = Stock(middleware)
    settings = pause_options(
        recipients,
        timeout_hours,
        form=form,
        escalation=escalation,
        metadata=metadata,
        webhook_url=webhook_url,
    )
    decisions = Decisions.checked(stock, fields or {}, reply_field)
    return _reviewed(Review(stock, client, agent_id, settings, decisions, require_human, graph))


def _reviewed(review: Review) -> Middleware:
    """The stock middleware with its asking method replaced, and everything else as it was."""
    stock = review.stock.middleware
    base = _PerCall if review.stock.mode == "per_call" else _Batched
    # Agents know a middleware, and threads its node, by the name of its class.
    kind = type(type(stock).__name__, (base, type(stock)), {})
    made: Middleware = object.__new__(kind)
    vars(made).update(vars(stock), looppause_review=review)
    return made


class _Batched(HumanInTheLoopMiddleware[Any, Any, Any]):
    looppause_review: Review

    @override
    def after_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        def run(stock: Middleware, check: Callable[[], None]) -> dict[str, Any] | None:
            update = stock.after_model(state, runtime)
            check()
            return update

        return self.looppause_review.now(run, state)

    @override
    async def aafter_model(
        self, state: AgentState[Any], runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        async def run(stock: Middleware, check: Callable[[], None]) -> dict[str, Any] | None:
            update = await stock.aafter_model(state, runtime)
            check()
            return update

        return await self.looppause_review.later(run, state)


class _PerCall(HumanInTheLoopMiddleware[Any, Any, Any]):
    looppause_review: Review

    @override
    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]
    ) -> Result:
        def run(stock: Middleware, check: Callable[[], None]) -> Result:
            def act(request: ToolCallRequest) -> Result:
                check()
                return handler(request)

            return stock.wrap_tool_call(request, act)

        return self.looppause_review.now(run, request.state)

    @override
    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        async def run(stock: Middleware, check: Callable[[], None]) -> Result:
            async def act(request: ToolCallRequest) -> Result:
                check()
                return await handler(request)

            return await stock.awrap_tool_call(request, act)

        return await self.looppause_review.later(run, request.state)
