"""`resumer dev`: everything on one machine, and an agent that asks."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shlex
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from starlette.applications import Starlette
from starlette.routing import Mount

from looppause_sdk.errors import LoopPauseRequestError
from looppause_sdk.proof import Scheme

from .app import Resumer
from .db import open_pool
from .embedded import embedded_postgres
from .emulator import Emulator, open_emulator
from .errors import SettingsError
from .graphs import ANY_AGENT
from .migrate import migrate
from .serving import serving, stop_signals
from .threads import Threads

__all__ = ["Dev"]

API_KEY = "local-development"
WATCH_SECONDS = 0.2
HEADLESS_SECONDS = 60.0

MAKE_CLIENT = "make its client as LoopPauseClient(), which reads the environment"
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
        if self.state is not None:
            return iter([_json_object(self.state)])
        if self.graph is not None and self.decision is not None:
            raise SettingsError(["--approve and --reject need a thread: give --input as well"])
        if self.graph is not None:
            return iter(())
        return ({"invoice": invoice} for invoice in itertools.cycle(INVOICES))

    async def _start(self, stack: AsyncExitStack) -> _Agent:
        url = self._database(stack)
        await migrate(url, url)
        emulator = stack.enter_context(
            open_emulator(
                scheme=self.scheme,
                api_key=API_KEY,
                file=self.data / f"looppause-{self.scheme}.sqlite",
            )
        )
        router = Starlette()
        address = await stack.enter_async_context(
            serving(router, self.host, self.port, drain_seconds=3)
        )
        environment = _environment(emulator, self.scheme, address, url)
        os.environ.update(environment)  # before the graph is imported: its client reads it
        graphs = {ANY_AGENT: self.graph or _example()}
        resumer = Resumer.from_env(database_url=url, graphs=graphs, drain_seconds=3.0)
        router.router.routes += [Mount("/resumer", resumer.app), Mount("/", emulator.app)]
        await stack.enter_async_context(resumer.running())
        await stack.enter_async_context(emulator.running())
        pool = await stack.enter_async_context(open_pool(url, size=4, name="agent"))
        self._welcome(address, environment)
        graph = await resumer.graphs.load(ANY_AGENT)
        return _Agent(Threads(pool), graph, emulator, self.say, inbox=f"{address}/")

    def _database(self, stack: AsyncExitStack) -> str:
        if self.database_url:
            return self.database_url
        with self.say.status("Starting PostgreSQL …"):
            return stack.enter_context(embedded_postgres(self.data / "postgres"))

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

    async def _work(self, agent: _Agent, states: Iterator[Mapping[str, Any]]) -> int:
        if self.decision is not None:
            return await self._decide_one(agent, self.decision, next(states))
        await agent.find_waiting()
        while True:
            if not agent.waiting and (state := next(states, None)) is not None:
                if await agent.ask(state) is None:
                    self.say.print(NOBODY_ASKED)
                else:
                    agent.say_what_next()
            await asyncio.sleep(WATCH_SECONDS)
            await agent.report_finished()

    async def _decide_one(self, agent: _Agent, decision: str, state: Mapping[str, Any]) -> int:
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


@dataclass
class _Agent:
    """The agent's side: threads that ask, and what becomes of them."""

    threads: Threads
    graph: Any
    emulator: Emulator
    say: Console
    inbox: str
    waiting: dict[str, str] = field(default_factory=dict)

    async def ask(self, state: Mapping[str, Any]) -> str | None:
        """Start a thread; return the pause it hibernates at, None if it ended without asking."""
        thread_id = str(uuid.uuid4())
        await self.threads.start(self.graph, thread_id, state)
        pauses = (await self.threads.inspect(self.graph, thread_id)).waiting_pauses()
        self.waiting.update(dict.fromkeys(pauses, thread_id))
        for pause_id in pauses:
            self._show_question(pause_id)
        return pauses[0] if pauses else None

    async def find_waiting(self) -> None:
        """Pick up the threads that an earlier session left hibernating."""
        for document in self.emulator.fake.documents():
            if document["status"] not in ("pending", "delivered"):
                continue
            pause_id = document["pause_id"]
            for found in await self.threads.locate(pause_id):
                self.waiting[pause_id] = found.thread_id
        for pause_id in self.waiting:
            self._show_question(pause_id)
        if self.waiting:
            self.say.print("  Still waiting from before.")
            self.say_what_next()

    def say_what_next(self) -> None:
        """What the person is to do."""
        self.say.print(
            f"  [bold]Next:[/] open [bold cyan underline]{self.inbox}[/] in a browser and click "
            "Approve or Reject. Ctrl-C stops.\n"
        )

    async def report_finished(self) -> dict[str, Any]:
        """Say what became of threads that were resumed; return the state of the last of them."""
        values: dict[str, Any] = {}
        for pause_id, thread_id in list(self.waiting.items()):
            seen = await self.threads.inspect(self.graph, thread_id)
            if pause_id in seen.waiting_pauses() or seen.runnable:
                continue
            del self.waiting[pause_id]
            asked_next = [name for name in seen.waiting_pauses() if name not in self.waiting]
            self.waiting.update(dict.fromkeys(asked_next, thread_id))
            values = await self.threads.values(self.graph, thread_id)
            result = values.get("result", f"the thread went on: {sorted(values)}")
            self.say.print(f"[bold green]●[/] [bold]{escape(str(result))}[/]")
            self.say.print(f"  Its thread {thread_id} was resumed.\n")
            for name in asked_next:
                self._show_question(name)
                self.say_what_next()
        return values

    def _show_question(self, pause_id: str) -> None:
        try:
            request = self.emulator.fake.document(pause_id)["request"]
        except LoopPauseRequestError as error:
            raise SettingsError(
                [f"the gate asks another LoopPause than this one: {MAKE_CLIENT}"]
            ) from error
        description = request["action"].get("description", "something")
        asks = f"{escape(request['agent_id'])} asks: [bold]{escape(str(description))}[/]"
        self.say.print(f"[bold yellow]●[/] {asks}")
        self.say.print(
            f"  Its thread {self.waiting[pause_id]} hibernates in PostgreSQL; no process waits."
        )


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
