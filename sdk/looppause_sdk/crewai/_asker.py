"""Ask a person about one call of a tool, and wait for the answer in the tool's thread."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from uuid import uuid4

from looppause_sdk.approval import Approval, ToolCall, plain_arguments
from looppause_sdk.client import AsyncLoopPauseClient, LoopPauseClient
from looppause_sdk.errors import LoopPauseConfigError, PauseEnded, WaitDeadlineExceeded
from looppause_sdk.gate import Asked, GateResult, Question, action_digest, denied, judge

from ._limits import Patience

__all__ = ["Asker", "check_client", "check_deadline"]


@dataclass(frozen=True)
class Asker:
    """How the calls of one tool are asked about; its client is shown nowhere."""

    client: LoopPauseClient = field(repr=False)
    approval: Approval = field(repr=False)
    deadline_seconds: float | None = None

    def decide(self, call: ToolCall) -> GateResult:
        """Open a pause for this call alone and return what came of it.

        Raises `LoopPauseError` if no decision could be had, among them `ProofError` for an answer
        that is not genuine and `GateError` if the agent gave up first. Nothing may run then.
        """
        patience = Patience.of_agents()
        patience.check()
        asked = self._ask(call)
        result = self._wait(call, asked, patience.at_most(self.deadline_seconds))
        patience.check()
        return result

    def _ask(self, call: ToolCall) -> Asked:
        # The key is drawn anew: equal calls are different questions, in one run and across runs.
        agent_id, action = self.approval.agent_id, self.approval.action(call)
        question = Question.build(agent_id, action, uuid4().hex)
        pause = self.client.open_pause(
            agent_id=agent_id,
            action=question.action,
            idempotency_key=question.idempotency_key,
            **self.approval.options(call),
        )
        return Asked.of(question, pause.pause_id, pause.expires_at)

    def _wait(self, call: ToolCall, asked: Asked, seconds: float | None) -> GateResult:
        try:
            proof = self.client.wait_for_proof(asked.pause_id, deadline_seconds=seconds)
        except PauseEnded as how:
            return denied(how.status, asked)
        except WaitDeadlineExceeded:
            return denied("deadline", asked)
        return judge(
            proof,
            asked,
            current_digest=action_digest({**asked.action, "details": plain_arguments(call)}),
            require_human=self.approval.require_human,
        )


def check_client(client: object) -> LoopPauseClient:
    """Raise `LoopPauseConfigError` unless this client can wait in a tool's thread."""
    if isinstance(client, LoopPauseClient):
        return client
    if isinstance(client, AsyncLoopPauseClient):
        raise LoopPauseConfigError(
            "CrewAI runs tools in threads, each without an event loop: use LoopPauseClient, also "
            "with kickoff_async and akickoff"
        )
    kind = type(client)
    raise LoopPauseConfigError(
        "a gated tool asks through a LoopPauseClient of looppause_sdk, "
        f"not {kind.__module__}.{kind.__qualname__}"
    )


def check_deadline(seconds: object) -> None:
    """Raise `LoopPauseConfigError` unless this is a time to wait, or None."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise LoopPauseConfigError("deadline_seconds must be a number of seconds")
    if not 0 < seconds < math.inf:
        raise LoopPauseConfigError("deadline_seconds must be above 0")
