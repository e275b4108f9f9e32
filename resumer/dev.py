"""`resumer dev`: everything on one machine, and an agent that asks."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from starlette.applications import Starlette
from starlette.routing import Mount

from looppause_sdk.proof import Scheme

from .app import Resumer
from .db import open_pool
from .dev_agent import DevAgent
from .embedded import embedded_postgres
from .emulator import Emulator, PauseFileError, open_emulator
from .errors import SettingsError
from .graphs import ANY_AGENT
from .migrate import migrate
from .serving import serving, stop_signals
from .threads import Threads

__all__ = ["Dev"]

API_KEY = "local-development"
WATCH_SECONDS = 0.2
HEADLESS_SECONDS = 60.0

NOBODY_ASKED = "The thread ended without asking anybody: is there a gate on its way?"

INVOICES = (
    {"number": "2026-0117", "supplier": "Acme Corp", "amount": 12450, "currency": "EUR"},
    {"number": "2026-0118", "supplier": "Globex GmbH", "amount": 980, "currency": "EUR"},
    {"number": "2026-0119", "supplier": "Initech Ltd", "amount": 47300, "currency": "USD"},
)


@dataclass
class Dev:
    """One session. `decision` decides by itself and ends; `state` is JSON to start a graph with."""

    graph: str | None
    state: str | None
    decision: str | None
    data: Path
    database_url: str | None
    scheme: Scheme
    host: str
    port: int
    say: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))

    async def run(self) -> int:
        """Run until a signal, or until the decision is carried out; return the exit code."""
        states = self._states()
        with stop_signals() as stop:
            async with AsyncExitStack() as stack:
                agent = await self._start(stack)
                ended = asyncio.create_task(stop.wait())
                work = asyncio.create_task(self._work(agent, states))
                await asyncio.wait({work, ended}, return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
                if work.done():
                    return work.result()
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                self.say.print("\nStopping. What waits is kept: start again and decide.")
                return 1 if self.decision else 0

    def _states(self) -> Iterator[Mapping[str, Any]]:
        """What to start threads with: one for the user's graph, one after another for ours."""
        if self.state is not None and self.graph is None:
            raise SettingsError(["--input is for a graph of yours: give --graph as well"])
        if self.state is not None:
            return iter([_json_object(self.state)])
        if self.graph is not None and self.decision is not None:
            raise SettingsError(["--approve and --reject need a thread: give --input as well"])
        if self.graph is not None:
            return iter(())
        return ({"invoice": invoice} for invoice in itertools.cycle(INVOICES))

    async def _start(self, stack: AsyncExitStack) -> DevAgent:
        router = Starlette()
        address = await stack.enter_async_context(serving(router, self.host, self.port))
        url = self._database(stack)
        await migrate(url, url)
        emulator = self._emulator(stack)
        environment = _environment(emulator, self.scheme, address, url)
        os.environ.update(environment)  # before the graph is imported: its client reads it
        name, graph = (ANY_AGENT, self.graph) if self.graph else ("procurement", _example())
        resumer = Resumer.from_env(database_url=url, graphs={name: graph}, drain_seconds=3.0)
        router.router.routes += [Mount("/resumer", resumer.app), Mount("/", emulator.app)]
        await stack.enter_async_context(resumer.running())
        await stack.enter_async_context(emulator.running())
        pool = await stack.enter_async_context(open_pool(url, size=4, name="agent"))
        self._welcome(address, environment)
        return DevAgent(
            Threads(pool),
            await resumer.graphs.load(name),
            emulator,
            self.say,
            inbox=f"{address}/",
            webhook=environment["LOOPPAUSE_WEBHOOK_URL"],
        )

    def _database(self, stack: AsyncExitStack) -> str:
        if self.database_url:
            return self.database_url
        with self.say.status("Starting PostgreSQL …"):
            folder = self.data / "postgres"
            return stack.enter_context(embedded_postgres(folder, f"resumer{self._suffix}"))

    def _emulator(self, stack: AsyncExitStack) -> Emulator:
        file = self.data / f"looppause-{self.scheme}{self._suffix}.sqlite"
        try:
            return stack.enter_context(
                open_emulator(scheme=self.scheme, api_key=API_KEY, file=file)
            )
        except PauseFileError as error:
            raise SettingsError(
                [f"{error} If another `resumer dev` runs on this data, give --data another folder"]
            ) from error

    @property
    def _suffix(self) -> str:
        """Keeps the threads of each graph apart: another graph cannot resume them."""
        return f"_{sha256(self.graph.encode()).hexdigest()[:8]}" if self.graph else ""

    def _welcome(self, address: str, environment: Mapping[str, str]) -> None:
        self.say.print("\n[bold]Resumer runs on this machine.[/]\n")
        self.say.print(f"  Inbox     [bold cyan underline]{address}/[/]")
        self.say.print(f"  Receiver  {environment['LOOPPAUSE_WEBHOOK_URL']}")
        self.say.print(f"  Data      {escape(str(self.data))}/\n")
        if self.graph is not None and self.state is None:
            path = self.data / "env"
            _write_private(path, environment)
            self.say.print(
                "[bold]Next:[/] start your agent in another terminal, after "
                f"[bold]source {escape(str(path))}[/]\n"
                "      Its checkpointer belongs in DATABASE_URL. Or start a thread here: --input.\n"
            )

    async def _work(self, agent: DevAgent, states: Iterator[Mapping[str, Any]]) -> int:
        if self.decision is not None:
            return await self._decide_one(agent, self.decision, next(states))
        if await agent.notice():
            self.say.print("  Still waiting from before.")
            agent.say_what_next()
        while True:
            if not agent.waiting and (state := next(states, None)) is not None:
                if await agent.ask(state) is None:
                    self.say.print(NOBODY_ASKED)
                else:
                    agent.say_what_next()
            await asyncio.sleep(WATCH_SECONDS)
            await agent.report_finished()
            if await agent.notice():
                agent.say_what_next()

    async def _decide_one(self, agent: DevAgent, decision: str, state: Mapping[str, Any]) -> int:
        pause_id = await agent.ask(state)
        if pause_id is None:
            self.say.print(NOBODY_ASKED)
            return 1
        self.say.print(f"  Deciding by itself: {decision}\n")
        agent.emulator.fake.decide(pause_id, decision, responder="you@localhost")
        values: dict[str, Any] = {}
        try:
            async with asyncio.timeout(HEADLESS_SECONDS):
                while pause_id in agent.waiting:
                    await asyncio.sleep(WATCH_SECONDS)
                    values = await agent.report_finished()
        except TimeoutError:
            self.say.print(f"Not resumed in {HEADLESS_SECONDS:.0f} s: the log above says why.")
            return 1
        if self.graph is None:
            paid = str(values.get("result", "")).startswith("PAID")
            return 0 if paid == (self.decision == "approved") else 1
        return 0


def _environment(emulator: Emulator, scheme: Scheme, address: str, url: str) -> dict[str, str]:
    key = (
        {"LOOPPAUSE_SIGNING_SECRET": emulator.fake.secret}
        if scheme == "hmac"
        else {"LOOPPAUSE_PUBLIC_KEYS": json.dumps([emulator.fake.public_key])}
    )
    return {
        "DATABASE_URL": url,
        "LOOPPAUSE_API_KEY": API_KEY,
        "LOOPPAUSE_API_URL": address,
        "LOOPPAUSE_WEBHOOK_URL": f"{address}/resumer/webhooks/looppause",
        **key,
    }


def _json_object(text: str) -> dict[str, Any]:
    try:
        state = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError([f"--input is not JSON: {error}"]) from error
    if not isinstance(state, dict):
        raise SettingsError(["--input must be a JSON object: the state to start with"])
    return state


def _write_private(path: Path, environment: Mapping[str, str]) -> None:
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
    path.touch(mode=0o600)
    path.write_text("".join(lines))


def _example() -> str:
    """The agent from `examples/`, which the wheel carries along."""
    here = Path(__file__).parent
    folders = (here / "_examples", here.parent / "examples")
    path = next(folder / "procurement.py" for folder in folders if folder.is_dir())
    return f"{path}:graph"
