"""Crews for the tests: real ones, with an LLM that follows a script and a ledger for payments."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
from crewai import Agent, BaseLLM, Crew, CrewOutput, Task
from crewai.tools import BaseTool
from crewai.tools.base_tool import Tool
from pydantic import BaseModel, Field, PrivateAttr
from typing_extensions import override

from looppause_sdk import LoopPauseClient
from looppause_sdk.client import Clock
from looppause_sdk.crewai import gated
from looppause_sdk.testing import FakeLoopPause

RECIPIENTS = [{"channel": "slack", "target": "#finance"}]

# One step of a script: the calls of one message, each a tool's name and its arguments.
Step = Sequence[tuple[str, Mapping[str, Any]]]


class ScriptedLLM(BaseLLM):
    """Calls the tools of its script, one step for each time it is asked, then says `done`.

    Which step is next follows from the messages, so that one script serves any number of runs.
    `faults` are raised instead by the first calls, where they are not None.
    """

    native: bool = True
    script: list[Any] = Field(default_factory=list)
    faults: list[Any] = Field(default_factory=list)
    _asked: list[Any] = PrivateAttr(default_factory=list)

    @property
    def asked(self) -> list[Any]:
        """The messages of each call, in order."""
        return self._asked

    @property
    def heard(self) -> str:
        """Everything the LLM was shown last."""
        return "\n".join(str(message.get("content")) for message in self._asked[-1])

    def supports_function_calling(self) -> bool:
        return self.native

    @override
    def get_context_window_size(self) -> int:
        return 100_000

    @override
    def call(self, messages: Any, tools: Any = None, *rest: Any, **more: Any) -> Any:
        self._asked.append(messages)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        step = sum(message["role"] == "assistant" for message in messages)
        if step >= len(self.script):
            return "done" if self.native else "Thought: I am through\nFinal Answer: done"
        calls = self.script[step]
        if self.native:
            return [_native(f"call-{step}-{place}", *call) for place, call in enumerate(calls)]
        [(tool, arguments)] = calls
        return f"Thought: next\nAction: {tool}\nAction Input: {json.dumps(arguments)}"


def _native(call_id: str, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    called = {"name": tool, "arguments": json.dumps(arguments)}
    return {"id": call_id, "type": "function", "function": called}


class Payment(BaseModel):
    """The arguments of `pay`."""

    amount: int
    to: str = "Acme"


@dataclass
class Ledger:
    """Every payment that was made, and the tools that make them."""

    payments: list[dict[str, Any]] = field(default_factory=list)
    fault: Exception | None = None

    def pay(self, **payment: Any) -> str:
        self.payments.append(payment)
        if self.fault:
            raise self.fault
        return f"paid {payment['amount']} to {payment['to']}"

    def tool(self, name: str = "pay", **settings: Any) -> BaseTool:
        return Tool(name=name, description="Pays.", func=self.pay, args_schema=Payment, **settings)

    @property
    def amounts(self) -> list[Any]:
        return [payment["amount"] for payment in self.payments]


class People:
    """Answers pauses, each from a thread of its own, as soon as they are asked."""

    def __init__(self, looppause: FakeLoopPause) -> None:
        self.looppause = looppause
        self.asked: list[dict[str, Any]] = []
        self._answer: Callable[[dict[str, Any]], Any] = lambda _: None
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.looppause.listeners.append(self._heard)
        return self

    def __exit__(self, *raised: object) -> None:
        for thread in self.threads:
            thread.join()

    def answering(self, answer: Callable[[dict[str, Any]], Any]) -> None:
        """From now on, `answer` is called with each new pause."""
        self._answer = answer

    def deciding(self, decision: str = "approved", **answer: Any) -> None:
        """From now on, everybody decides this."""
        self._answer = lambda pause: self.looppause.decide(pause["pause_id"], decision, **answer)

    @property
    def amounts(self) -> list[Any]:
        """The amounts people were asked about, in order."""
        return [pause["request"]["action"]["details"]["amount"] for pause in self.asked]

    @property
    def keys(self) -> list[str]:
        return [pause["idempotency_key"] for pause in self.asked]

    def _heard(self, pause: dict[str, Any]) -> None:
        if pause["status"] == "pending":
            self.asked.append(pause)
            self.threads.append(threading.Thread(target=self._answer, args=(pause,)))
            self.threads[-1].start()


def client_of(looppause: FakeLoopPause, **settings: Any) -> LoopPauseClient:
    """A client that looks every hundredth of a second, and tries again at once."""
    quick = Clock(sleep=lambda seconds: time.sleep(min(seconds, 0.01)), random=lambda: 0.0)
    http = settings.pop("http_client", None) or httpx.Client(transport=looppause.transport)
    usual: dict[str, Any] = {"env": {}, "clock": quick, "http_client": http}
    return LoopPauseClient("key-of-the-api", looppause.secret, **{**usual, **settings})


def gate(tool: Any, looppause: FakeLoopPause, **settings: Any) -> BaseTool:
    """The tool, gated with the usual settings."""
    client = settings.pop("client", None) or client_of(looppause)
    usual: dict[str, Any] = {"agent_id": "procurement", "recipients": RECIPIENTS}
    return gated(tool, client, **{**usual, **settings})


def scripted(style: str, *steps: Step) -> ScriptedLLM:
    """An LLM that takes these steps, in this style."""
    return ScriptedLLM(model="scripted", native=style == "native", script=list(steps))


def pays(*amounts: int) -> list[Step]:
    """A step of its own for each payment."""
    return [[("pay", {"amount": amount})] for amount in amounts]


def agent_of(llm: ScriptedLLM, *tools: BaseTool, **settings: Any) -> Agent:
    """An agent by itself."""
    return Agent(
        role="clerk", goal="pay", backstory="careful", llm=llm, tools=list(tools), **settings
    )


def crew_of(llm: ScriptedLLM, *tools: BaseTool, crew: Any = None, **agent: Any) -> Crew:
    """A crew of one agent with one task."""
    member = agent_of(llm, *tools, **agent)
    task = Task(description="pay the {bill}", expected_output="a receipt", agent=member)
    return Crew(agents=[member], tasks=[task], **(crew or {}))


def run(crew: Crew) -> str:
    """Kick the crew off and return what it says."""
    said = crew.kickoff(inputs={"bill": "invoice"})
    assert isinstance(said, CrewOutput)
    return said.raw
