"""A crew that wants to pay, whatever it is told; each SDK stands in its way as its docs say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from crewai.tools import BaseTool, ToolExecutionFailedError

from looppause_sdk.crewai import HumanApprovalTool, gated
from tests.agents import RECIPIENTS
from tests.contract.sdks import Ours, Sdk, environment
from tests.crews import Ledger, Step, crew_of, run, scripted

__all__ = ["Payer", "ask_tool", "decide", "want"]


@dataclass
class Payer:
    """A crew of one agent that may pay; its LLM follows a script and heeds no answer."""

    sdk: Sdk
    style: str = "native"
    agent: dict[str, Any] = field(default_factory=dict)
    cache: bool = False
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def paid(self) -> list[Any]:
        return self.ledger.amounts

    def insist(self, *steps: Step) -> list[Any]:
        """Run a new crew through these steps; return what was paid, however the crew ended."""
        llm, crew = scripted(self.style, *steps), {"cache": self.cache}
        with suppress(ToolExecutionFailedError, TimeoutError):
            run(crew_of(llm, *self._tools(), crew=crew, **self.agent))
        return self.paid

    def _tools(self) -> list[BaseTool]:
        pay = self.ledger.tool()
        if isinstance(self.sdk, Ours):
            return [gated(pay, self.sdk.client(), agent_id="buyer", recipients=RECIPIENTS)]
        return [ask_tool(self.sdk), pay]


def want(sdk: Sdk, amount: int, ask: Mapping[str, Any] | None = None) -> list[Step]:
    """The steps of an LLM that pays `amount`: 0.1.0 has it ask before, in words of its own.

    `ask` is what it says instead of the truth.
    """
    pay: Step = [("pay", {"amount": amount})]
    if isinstance(sdk, Ours):
        return [pay]
    truth = {"action_description": f"Pay {amount}", "action_details": {"amount": amount}}
    said = {**truth, "action_type": "payment", **(ask or {})}
    return [[("request_human_approval", said)], pay]


def ask_tool(sdk: Sdk) -> Any:
    """The tool with which an agent asks by itself."""
    settings: dict[str, Any] = {"agent_id": "buyer", "slack_channel": "#finance"}
    if isinstance(sdk, Ours):
        return HumanApprovalTool(**settings, client=sdk.client())
    keys = {"LOOPPAUSE_API_KEY": "key", "LOOPPAUSE_SIGNING_SECRET": sdk.looppause.secret}
    published: Any = import_module("looppause_crewai")  # ships no types
    with environment(keys):
        tool = published.HumanApprovalTool(**settings)
    tool._client = sdk.client()
    return tool


def decide(sdk: Sdk, how: Callable[[dict[str, Any]], Any]) -> None:
    """From now on somebody does `how` with each pause as soon as it is open."""

    def listener(document: dict[str, Any]) -> None:
        if document["status"] == "pending":
            how(document)

    sdk.looppause.listeners.append(listener)
