"""CrewAI flows for the tests: real ones, and an LLM that must never be asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from crewai.flow import Flow, HumanFeedbackResult, human_feedback, listen, or_, start
from crewai.flow.async_feedback import HumanFeedbackPending
from crewai.flow.flow import FlowState
from crewai.llms.base_llm import BaseLLM

from looppause_sdk.crewai.flows import LoopPauseFeedback, PostgresFlowPersistence

__all__ = [
    "Done",
    "Refund",
    "SilentLLM",
    "gate",
    "kickoff",
    "looping",
    "pause_of",
    "paying",
    "refunding",
    "two_gates",
]

RECIPIENTS = [{"channel": "slack", "target": "#refunds"}]


class SilentLLM(BaseLLM):
    """A model that fails the test when it is asked what a person meant."""

    def call(self, *_arguments: Any, **_more: Any) -> Any:
        raise AssertionError("a model was asked what the person decided")


class Refund(FlowState):
    """The state of every flow here; `kind` of refund is for the tests to tell them apart."""

    amount: int = 10
    kind: str = ""
    rounds: int = 0


@dataclass
class Done:
    """What the flows did: the method and the gate's result, in order."""

    acts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    raises: int = 0

    def act(self, name: str, review: HumanFeedbackResult) -> str:
        self.acts.append((name, review.metadata["looppause"]))
        if self.raises:
            self.raises -= 1
            raise RuntimeError("the provider is down")
        return name

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.acts]

    @property
    def last(self) -> dict[str, Any]:
        return self.acts[-1][1]


Act = Callable[[str, HumanFeedbackResult], str]


def gate(client: Any, **settings: Any) -> LoopPauseFeedback:
    """The provider with the usual settings."""
    return LoopPauseFeedback(
        client, **{"agent_id": "refunds", "recipients": RECIPIENTS, **settings}
    )


def refunding(
    client: Any, act: Act, emit: tuple[str, str] | None = ("approved", "rejected"), **settings: Any
) -> type[Flow[Refund]]:
    """Asks, then pays or refuses; without `emit` it pays when it looks and finds an approval."""
    yes, no = emit or ("propose", "never")

    class RefundFlow(Flow[Refund]):
        @start()
        @human_feedback(
            message="Pay this refund?",
            emit=emit,
            llm=SilentLLM(model="silent"),
            provider=gate(client, **settings),
        )
        def propose(self) -> dict[str, Any]:
            return {"amount": self.state.amount}

        @listen(yes)
        def pay(self, review: HumanFeedbackResult) -> str:
            return act("pay", review)

        @listen(no)
        def refuse(self, review: HumanFeedbackResult) -> str:
            return act("refuse", review)

    return RefundFlow


def paying(client: Any, pay: Callable[[HumanFeedbackResult], Awaitable[str]]) -> type[Flow[Refund]]:
    """Asks, then pays by a coroutine."""

    class RefundFlow(Flow[Refund]):
        @start()
        @human_feedback(
            message="Pay this refund?", emit=["approved", "rejected"], provider=gate(client)
        )
        def propose(self) -> dict[str, Any]:
            return {"amount": self.state.amount}

        @listen("approved")
        async def pay(self, review: HumanFeedbackResult) -> str:
            return await pay(review)

    return RefundFlow


def two_gates(client: Any, act: Act) -> type[Flow[Refund]]:
    """Asks, asks again, pays."""

    class TwoGates(Flow[Refund]):
        @start()
        @human_feedback(
            message="First?",
            emit=["approved", "rejected"],
            provider=gate(client, denied="rejected"),
        )
        def first(self) -> dict[str, Any]:
            return {"amount": self.state.amount}

        @listen("approved")
        @human_feedback(
            message="Second?",
            emit=["granted", "refused"],
            provider=gate(client, approved="granted", denied="refused"),
        )
        def second(self, review: HumanFeedbackResult) -> dict[str, Any]:
            act("second", review)
            return {"amount": self.state.amount}

        @listen("granted")
        def pay(self, review: HumanFeedbackResult) -> str:
            return act("pay", review)

    return TwoGates


def looping(client: Any, act: Act) -> type[Flow[Refund]]:
    """Asks the very same again after each denial."""

    class Looping(Flow[Refund]):
        @start()
        def begin(self) -> str:
            return "begun"

        @listen(or_(begin, "revise"))
        @human_feedback(
            message="Good now?",
            emit=["approved", "revise"],
            provider=gate(client, denied="revise"),
        )
        def propose(self) -> dict[str, Any]:
            self.state.rounds += 1
            return {"amount": self.state.amount}

        @listen("approved")
        def pay(self, review: HumanFeedbackResult) -> str:
            return act("pay", review)

    return Looping


async def kickoff(
    flow_class: type[Flow[Any]], persistence: PostgresFlowPersistence | str, **inputs: Any
) -> str:
    """Run a new flow to its gate, as an agent's process does; return the pause it waits for."""
    if isinstance(persistence, str):
        persistence = PostgresFlowPersistence(persistence)
    outcome = await flow_class(persistence=persistence).kickoff_async(inputs=inputs)
    return pause_of(outcome)


def pause_of(outcome: Any) -> str:
    """The pause of a flow that hibernates."""
    assert isinstance(outcome, HumanFeedbackPending), outcome
    pause_id: str = outcome.callback_info["pause_id"]
    return pause_id
