"""A support agent whose refunds LangChain's own review middleware holds back until a person signs.

resumer dev --graph examples/review_agent.py:graph \
    --input '{"messages": [{"role": "user", "content": "Refund 80 EUR for order 1007"}]}'
"""

from __future__ import annotations

import re
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from typing_extensions import override

from looppause_sdk import LoopPauseClient, current_approval
from looppause_sdk.langchain.review import signed_review


def refund(order: int, amount: int) -> str:
    """Refund an amount in EUR for an order."""
    # A process that dies in here runs it again: the pause id is the key that keeps a payment
    # provider from paying twice.
    key = current_approval()["pause_id"]
    return f"REFUNDED {amount} EUR for order {order}, idempotency key {key}"


class Clerk(BaseChatModel):
    """Stands in for a chat model, so that the example needs no key: any other will do."""

    @property
    @override
    def _llm_type(self) -> str:
        return "clerk"

    @override
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self  # it knows the tools already

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        last = messages[-1]
        if isinstance(last, ToolMessage):
            says = AIMessage(f"The result: {last.content}")
        else:
            amount, order = (int(number) for number in re.findall(r"\d+", str(last.content)))
            wanted = {"name": "refund", "args": {"order": order, "amount": amount}, "id": "call-1"}
            says = AIMessage("", tool_calls=[wanted])
        return ChatResult(generations=[ChatGeneration(message=says)])


review = signed_review(
    HumanInTheLoopMiddleware(
        {
            "refund": {
                "allowed_decisions": ["approve", "edit", "reject"],
                "description": lambda call, *_: "Refund {amount} EUR for order {order}".format(
                    **call["args"]
                ),
            }
        },
        interrupt_mode="per_call",
    ),
    LoopPauseClient(),
    agent_id="support",
    recipients=[{"channel": "slack", "target": "#support-leads"}],
    form={"fields": [{"name": "amount", "label": "Refund instead", "type": "integer"}]},
    fields={"refund": ["amount"]},
)
graph = create_agent(Clerk(), [refund], middleware=[review])
