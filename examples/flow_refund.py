"""A CrewAI flow that refunds a customer only after a person has approved exactly that refund.

It needs no model. While the person decides the flow hibernates in PostgreSQL and this program
has ended; the receiver lets the flow go on, in a process of its own:

    export DATABASE_URL=postgresql://...
    export LOOPPAUSE_API_KEY=... LOOPPAUSE_SIGNING_SECRET=...
    export LOOPPAUSE_WEBHOOK_URL=http://localhost:8000/webhooks/looppause
    resumer migrate
    resumer serve --flow refunds=examples/flow_refund.py:RefundFlow  # or RESUMER_FLOWS
    python examples/flow_refund.py 120                               # in another terminal

Without an account, start `resumer emulator` first and set what it prints.
"""

from __future__ import annotations

import sys
from typing import Any

from crewai.flow import Flow, HumanFeedbackResult, human_feedback, listen, start
from crewai.flow.async_feedback import HumanFeedbackPending
from crewai.flow.flow import FlowState

from looppause_sdk import LoopPauseClient
from looppause_sdk.crewai.flows import LoopPauseFeedback, PostgresFlowPersistence


class Refund(FlowState):
    """What the flow knows; stored while it hibernates, so no secrets."""

    customer: str = "Beta Ltd"
    amount: int = 0


def describe(proposal: dict[str, Any], _state: dict[str, Any]) -> dict[str, Any]:
    """What the person is asked; they approve exactly this."""
    return {
        "type": "refund",
        "description": f"Refund {proposal['amount']} EUR to {proposal['customer']}",
        "details": proposal,
    }


class RefundFlow(Flow[Refund]):
    """Propose, ask, then pay or decline."""

    @start()
    @human_feedback(
        message="Pay this refund?",
        emit=["approved", "rejected"],  # decided by the signed proof alone, never by a model
        provider=LoopPauseFeedback(
            LoopPauseClient(),
            agent_id="refunds",
            recipients=[{"channel": "slack", "target": "#refunds"}],
            action=describe,
        ),
    )
    def propose(self) -> dict[str, Any]:
        """Work out the refund; runs before anybody is asked."""
        return {"customer": self.state.customer, "amount": self.state.amount}

    @listen("approved")
    def pay(self, review: HumanFeedbackResult) -> str:
        """Pay what was approved, not what the state says by now."""
        approval = review.metadata["looppause"]
        refund = approval["action"]["details"]
        # A flow that is killed half-way runs again from its gate: the pause id is the key that
        # keeps a payment provider from paying twice.
        return said(
            f"PAID {refund['amount']} EUR to {refund['customer']}, approved by "
            f"{approval['responder']}, idempotency key {approval['pause_id']}"
        )

    @listen("rejected")
    def decline(self, review: HumanFeedbackResult) -> str:
        """Rejected, timed out, or answered by nobody but a default."""
        denial = review.metadata["looppause"]
        comment = f": {denial['comment']}" if denial["comment"] else ""
        return said(f"NOT PAID, {denial['halt_reason']}{comment}")


def said(text: str) -> str:
    """Say it here and return it as the flow's result."""
    print(text, flush=True)
    return text


def main() -> None:
    """Start a refund for each amount and leave."""
    for amount in sys.argv[1:] or ["120"]:
        flow = RefundFlow(persistence=PostgresFlowPersistence())
        outcome = flow.kickoff(inputs={"amount": int(amount)})
        if isinstance(outcome, HumanFeedbackPending):
            print(f"Hibernating until somebody answers {outcome.callback_info['pause_id']}")


if __name__ == "__main__":
    main()
