"""The two SDKs under one set of names, over one LoopPause and in virtual time."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import looppause_client
import looppause_langgraph
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import override

import looppause_sdk
import looppause_sdk.langgraph
from looppause_sdk.client import Clock
from looppause_sdk.testing import FakeLoopPause, Reply
from tests.agents import RECIPIENTS, State, action_of, client_of

__all__ = ["CountedLoopPause", "Ours", "Published", "Sdk", "VirtualTime", "WallTime", "environment"]

START_OF_TIME = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass
class VirtualTime:
    """Passes only while somebody waits; `then` happens at the end of each wait."""

    then: Callable[[], Any] = lambda: None
    passed: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.passed += seconds
        self.then()

    def monotonic(self) -> float:
        return self.passed

    def now(self) -> datetime:
        return START_OF_TIME + timedelta(seconds=self.passed)


class WallTime(VirtualTime):
    """Passes by itself, and whoever waits looks often: for what has a clock of its own."""

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.05))

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)


class CountedLoopPause(FakeLoopPause):
    """Knows how often it was asked for a pause, whether it opened one or not."""

    creates = 0

    @override
    def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Reply:
        self.creates += method == "POST"
        return super().handle(method, path, headers, body)


@dataclass
class Sdk(ABC):
    """What a check needs of an SDK. `package` has its client and errors, `gates` its nodes."""

    looppause: CountedLoopPause
    new_database: Callable[[], str]
    stack: ExitStack
    time: VirtualTime = field(default_factory=VirtualTime)

    package: Any = field(init=False)
    gates: Any = field(init=False)

    def __post_init__(self) -> None:
        self.looppause.clock = self.now

    # Asked of `time` anew each time, so that a check may put another in its place.

    def sleep(self, seconds: float) -> None:
        self.time.sleep(seconds)

    def monotonic(self) -> float:
        return self.time.monotonic()

    def now(self) -> datetime:
        return self.time.now()

    @abstractmethod
    def client(self) -> Any:
        """A client over the LoopPause of this test."""

    @abstractmethod
    def gate(self, **settings: Any) -> Any:
        """An interrupt gate with the usual settings, as LangGraph can run it."""

    def bare_gate(self, **settings: Any) -> Any:
        """An interrupt gate as the SDK makes it."""
        return self.gates.make_interrupt_gate(
            self.client(), webhook_url="https://agents.example/hook", **_usual(settings)
        )

    def polling_gate(self, **settings: Any) -> Any:
        """A gate that waits in its node."""
        return self.gates.make_polling_gate(self.client(), **_usual(settings))

    def postgres(self) -> Any:
        """A PostgreSQL checkpointer of this test's own."""
        return self.stack.enter_context(PostgresSaver.from_conn_string(self.new_database()))

    def agent(self, pay: Callable[..., Any], gate: Any = None, saver: Any = None) -> Any:
        """START → gate → pay, or the end, over PostgreSQL."""
        builder: Any = StateGraph(State)
        builder.add_node("gate", gate or self.gate())
        builder.add_node("pay", pay)
        builder.add_edge(START, "gate")
        routes = {"approved": "pay", "halt": END}
        builder.add_conditional_edges("gate", self.gates.route_on_gate(), routes)
        return builder.compile(checkpointer=saver or self.postgres())


class Ours(Sdk):
    """looppause_sdk."""

    package = looppause_sdk
    gates = looppause_sdk.langgraph

    def client(self) -> Any:
        clock = Clock(sleep=self.sleep, monotonic=self.monotonic, now=self.now)
        return client_of(self.looppause, clock=clock)

    def gate(self, **settings: Any) -> Any:
        return self.bare_gate(**settings)


class Published(Sdk):
    """looppause 0.1.0, its HTTP and its clock replaced from outside, since it takes neither."""

    package = looppause_client
    gates = looppause_langgraph

    def __post_init__(self) -> None:
        super().__post_init__()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        clock = SimpleNamespace(sleep=self.sleep, monotonic=self.monotonic)
        patch.setattr(looppause_client, "time", clock)

    def client(self) -> Any:
        client = looppause_client.LoopPauseClient("test-key", self.looppause.secret)
        client._http.close()
        client._http = httpx.Client(transport=self.looppause.transport)
        return client

    def gate(self, **settings: Any) -> Any:
        """Handed its `config: dict` by us: LangGraph would not, and it could not run at all."""
        node = self.bare_gate(**settings)

        def with_config(state: Any, config: RunnableConfig) -> Any:
            return node(state, config)

        return with_config


def _usual(settings: dict[str, Any]) -> dict[str, Any]:
    usual = {"agent_id": "procurement", "action_builder": action_of, "recipients": RECIPIENTS}
    return {**usual, **settings}


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """The process environment with these variables of LoopPause's, and none of its others."""
    names = ("LOOPPAUSE_API_KEY", "LOOPPAUSE_SIGNING_SECRET", "LOOPPAUSE_SIGNING_SECRETS")
    with pytest.MonkeyPatch.context() as patch:
        for name in (*names, "LOOPPAUSE_PUBLIC_KEYS", "LOOPPAUSE_API_URL"):
            patch.delenv(name, raising=False)
        for name, text in variables.items():
            patch.setenv(name, text)
        yield
