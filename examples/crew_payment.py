"""A CrewAI crew that pays an invoice only after a person has approved that very payment.

resumer dev                          # in one terminal: a local LoopPause with an inbox page
source .resumer/env                  # in another: its address and keys
python examples/crew_payment.py      # asks; answer in the inbox

An LLM with a script plays the model, so that this runs without an account; put your own in its
place. `resumer emulator` with LOOPPAUSE_API_URL, LOOPPAUSE_API_KEY and LOOPPAUSE_SIGNING_SECRET
set serves as well.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from crewai import Agent, BaseLLM, Crew, Task
from crewai.tools import ToolExecutionFailedError, tool

from looppause_sdk import GateError, LoopPauseClient, current_approval
from looppause_sdk.crewai import gated


@tool
def pay_invoice(supplier: str, amount: float, currency: str = "EUR") -> str:
    """Pays an invoice. The money is gone afterwards."""
    return f"PAID {amount:.2f} {currency} to {supplier}, {_by()}"


def _by() -> str:
    try:
        approval = current_approval()
    except GateError:
        return "no approval needed"
    # The key that keeps a payment provider from paying twice.
    return f"approved by {approval['responder']}, idempotency key {approval['pause_id']}"


class ScriptedLLM(BaseLLM):
    """Pays, and then reports what came of it."""

    def supports_function_calling(self) -> bool:
        """Have CrewAI take the tool calls as they are."""
        return True

    def get_context_window_size(self) -> int:
        """Enough for this script."""
        return 8192

    def call(self, messages: Any, *_: Any, **__: Any) -> Any:
        """The tool's result if there is one, else the call of the tool."""
        results = [message["content"] for message in messages if message["role"] == "tool"]
        if results:
            return results[-1]
        arguments = {"supplier": "Acme GmbH", "amount": 4200}
        function = {"name": "pay_invoice", "arguments": json.dumps(arguments)}
        return [{"id": "call-1", "type": "function", "function": function}]


def crew_of(client: LoopPauseClient) -> Crew:
    """One clerk, one task, one tool that asks before it acts."""
    pay = gated(
        pay_invoice,
        client,
        agent_id="procurement-crew",
        recipients=[{"channel": "slack", "target": "#procurement-approvals"}],
        when=lambda arguments: arguments["amount"] > 1000,
        description=lambda call: (
            f"Pay {call.arguments['amount']:.2f} {call.arguments['currency']} "
            f"to {call.arguments['supplier']}"
        ),
        # What the reviewer may lower in the form; every other argument runs as it was shown.
        form={"fields": [{"name": "amount", "type": "number", "label": "Amount"}]},
        fields=["amount"],
        timeout_hours=4,
    )
    clerk = Agent(
        role="Accounts payable clerk",
        goal="Pay what is due",
        backstory="You pay invoices and report what happened.",
        llm=ScriptedLLM(model="scripted"),
        tools=[pay],
    )
    task = Task(
        description="Pay invoice 2024-17 of Acme GmbH: 4200 EUR.",
        expected_output="What became of the payment.",
        agent=clerk,
    )
    return Crew(agents=[clerk], tasks=[task])


def main() -> int:
    """Run the crew. A denial is a result; that no decision could be had is an error."""
    with LoopPauseClient() as client:
        print(f"Asking a person: answer at {client.base_url}", flush=True)
        try:
            print(crew_of(client).kickoff())
        except ToolExecutionFailedError as stop:
            print(f"The crew stopped: {stop}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
