"""A LangChain agent that may pay up to 1,000 EUR alone; beyond that a person decides.

resumer dev --graph examples/langchain_agent.py:graph --input \
    '{"messages": [{"role": "user", "content": "Pay the invoice of ACME."}]}'

Set MODEL to a chat model LangChain knows (`openai:gpt-5`, with its package and key) to let a real
one decide what to pay; without it a script does, so that the example runs anywhere.
"""

from __future__ import annotations

import os
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool

from looppause_sdk import LoopPauseClient, current_approval
from looppause_sdk.approval import ToolCall
from looppause_sdk.langchain import ApprovalMiddleware


@tool
def pay(amount: int, to: str, currency: str = "EUR") -> str:
    """Pay an invoice."""
    if amount <= 1000:
        return f"PAID {amount} {currency} to {to}"
    # A tool that is killed half-way runs again: the pause id is the key that keeps a payment
    # provider from paying twice.
    approval = current_approval()
    return (
        f"PAID {amount} {currency} to {to}, approved by {approval['responder']}, "
        f"idempotency key {approval['pause_id']}"
    )


def another_amount(call: ToolCall) -> dict[str, Any]:
    """A form in which the person may change how much is paid."""
    amount = call.arguments["amount"]
    return {"fields": [{"name": "amount", "label": "Amount", "type": "integer", "default": amount}]}


class Script(BaseChatModel):
    """Says what a model would: it calls the tool, then reports what came of it."""

    @property
    def _llm_type(self) -> str:
        return "script"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:  # noqa: ARG002  (a script needs none)
        """Take the tools, as an agent offers them."""
        return self

    def _generate(self, messages: list[BaseMessage], *_args: Any, **_options: Any) -> ChatResult:
        last = messages[-1]
        if isinstance(last, ToolMessage):
            said = AIMessage(f"Here is what happened: {last.text}")
        else:
            call = {"name": "pay", "args": {"amount": 4800, "to": "ACME"}, "id": "call-1"}
            said = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=said)])


graph = create_agent(
    os.environ.get("MODEL") or Script(),
    tools=[pay],
    middleware=[
        ApprovalMiddleware(
            LoopPauseClient(),
            {"pay": {"when": lambda args: args["amount"] > 1000, "fields": ["amount"]}},
            agent_id="langchain-agent",
            recipients=[{"channel": "slack", "target": "#finance"}],
            form=another_amount,
        )
    ],
)
