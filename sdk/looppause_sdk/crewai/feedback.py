"""The provider that asks through LoopPause and lets the flow hibernate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from crewai.flow import Flow
from crewai.flow.async_feedback import HumanFeedbackPending, PendingFeedbackContext

from looppause_sdk.client import AsyncLoopPauseClient, LoopPauseClient, Pause
from looppause_sdk.errors import GateError, LoopPauseConfigError
from looppause_sdk.gate import Asked, GateResult, Question, json_copy

from .persistence import KEY, PostgresFlowPersistence, stored_form

__all__ = ["LoopPauseFeedback"]

Client = LoopPauseClient | AsyncLoopPauseClient
Object = Mapping[str, Any]
Visit = tuple[str, int]
FromFlow = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class LoopPauseFeedback:
    """Asks a person through LoopPause; the flow hibernates until a genuine answer comes.

    A provider for CrewAI's `human_feedback`::

        @listen(check)
        @human_feedback(
            message="Pay this refund?",
            emit=["approved", "rejected"],
            provider=LoopPauseFeedback(client, agent_id="refunds", recipients=[...]),
        )
        def propose(self): return {"amount": self.state.amount}

        @listen("approved")
        def pay(self, review): ...

    A verified, human approval of exactly what was shown leads to the outcome `approved`, anything
    else to the outcome `denied`; both must be in `emit`. No model is asked, `feedback` is
    always empty, and a `default_outcome` counts for nothing. `review.metadata["looppause"]` is the
    `GateResult`: act on its `action`, read the person's words from its `comment`, hand its
    `pause_id` to the payment provider as the idempotency key.

    The person is shown what the method returned, or what `action(output, state)` makes of it: a
    JSON object. `recipients`, `form`, `escalation` and `metadata` may be such callables too. Output
    and state come as JSON has them; the callables are called again on resume, so they must depend
    on nothing else. `timeout_hours` counts from asking.

    Raises before it asks `GateError` if the flow's persistence is no `PostgresFlowPersistence`,
    `LoopPauseConfigError` if `emit` lacks an outcome or something has no JSON form, and
    `LoopPauseUnavailable` or `LoopPauseRequestError` if asking failed.

    Traps: without `emit` the next method runs whatever the answer, and must look at `approved`.
    After a crash everything from the gate on runs again.
    """

    client: Client
    _: KW_ONLY
    agent_id: str
    recipients: Iterable[Object] | FromFlow
    action: FromFlow | None = None
    form: Object | FromFlow | None = None
    escalation: Object | FromFlow | None = None
    metadata: Object | FromFlow | None = None
    timeout_hours: float = 24
    webhook_url: str | None = None
    require_human: bool = True
    approved: str = "approved"
    denied: str = "rejected"

    def __post_init__(self) -> None:
        if not isinstance(self.client, (LoopPauseClient, AsyncLoopPauseClient)):
            raise LoopPauseConfigError("client must be a LoopPauseClient or AsyncLoopPauseClient")
        if self.approved == self.denied:
            raise LoopPauseConfigError("approved and denied must be two outcomes")
        if not callable(self.recipients):
            object.__setattr__(self, "recipients", json_copy("recipients", list(self.recipients)))

    def request_feedback(self, context: PendingFeedbackContext, flow: Flow[Any]) -> Any:
        """Ask, and raise `HumanFeedbackPending`. With an async client, when awaited."""
        persistence = _persistence_of(flow)
        self._check(context, flow)
        state = stored_form("state", flow.state)
        context.method_output = stored_form("method output", context.to_dict())["method_output"]
        options = self._options(context.method_output, state)
        visit = persistence.visit(context.flow_id, context.method_name)
        question = self._question(context, visit, state)
        request = question.request(options)
        if isinstance(self.client, AsyncLoopPauseClient):
            return self._ask_later(self.client, context, question, request)
        pause = self.client.open_pause(**request)
        raise self._pending(context, question, pause, request)

    def action_of(self, context: PendingFeedbackContext, state: Any) -> Any:
        """What the person is shown: from the output and the state as they are stored."""
        output = context.method_output
        if self.action is not None:
            return self.action(output, state)
        details = output if isinstance(output, Mapping) else {"output": output}
        return {"type": context.method_name, "description": context.message, "details": details}

    def outcome_of(self, result: GateResult, emit: Iterable[str] | None) -> str | None:
        """The outcome to route by; None where the gate routes nothing."""
        if not emit:
            return None
        outcome = self.approved if result["approved"] is True else self.denied
        if outcome not in emit:
            raise GateError(f"the flow hibernated with emit={list(emit)}, without {outcome!r}")
        return outcome

    def _check(self, context: PendingFeedbackContext, flow: Flow[Any]) -> None:
        if not flow.flow_id:
            raise GateError("the flow's state has no `id`, by which it could be found again")
        if isinstance(flow.state, dict):
            json_copy("flow's state", flow.state)  # what it would turn into text comes back as text
        self._check_outcomes(context.emit)

    def _check_outcomes(self, emit: list[str] | None) -> None:
        missing = [name for name in (self.approved, self.denied) if emit and name not in emit]
        if missing:
            raise LoopPauseConfigError(
                f"emit={emit} has no outcome {' and '.join(map(repr, missing))}: give "
                "LoopPauseFeedback its approved= and denied= from among them"
            )

    def _question(self, context: PendingFeedbackContext, visit: Visit, state: Any) -> Question:
        action = self.action_of(context, state)
        return Question.build(self.agent_id, action, *visit, context.method_name)

    def _options(self, output: Any, state: Any) -> dict[str, Any]:
        given = {
            "recipients": self.recipients,
            "form": self.form,
            "escalation": self.escalation,
            "metadata": self.metadata,
        }
        asked = {name: v(output, state) if callable(v) else v for name, v in given.items()}
        copies = {name: json_copy(name, value) for name, value in asked.items()}
        return {**copies, "timeout_hours": self.timeout_hours, "webhook_url": self.webhook_url}

    async def _ask_later(
        self,
        client: AsyncLoopPauseClient,
        context: PendingFeedbackContext,
        question: Question,
        request: dict[str, Any],
    ) -> None:
        pause = await client.open_pause(**request)
        raise self._pending(context, question, pause, request)

    def _pending(
        self,
        context: PendingFeedbackContext,
        question: Question,
        pause: Pause,
        request: Mapping[str, Any],
    ) -> HumanFeedbackPending:
        asked = Asked.of(question, pause.pause_id, pause.expires_at, request["recipients"])
        context.metadata = {**context.metadata, KEY: asked.interrupt_value()}
        # Whoever resumes past all checks is to find a denial, and no model to talk to.
        context.default_outcome = self.denied if context.emit else None
        context.llm = None
        return HumanFeedbackPending(context, callback_info={"pause_id": pause.pause_id})


def _persistence_of(flow: Flow[Any]) -> PostgresFlowPersistence:
    if not isinstance(flow.persistence, PostgresFlowPersistence):
        raise GateError(
            "the flow has nowhere to hibernate: give it "
            "persistence=PostgresFlowPersistence(database_url)"
        )
    return flow.persistence
