"""One session of `resumer dev`: what it starts, in which order, and what it does till its end."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from starlette.applications import Starlette
from starlette.routing import Mount

from looppause_sdk.proof import Scheme
from resumer.app import Resumer
from resumer.db import SCHEMA, open_pool
from resumer.dev_agent import DevAgent, Runs
from resumer.embedded import embedded_postgres
from resumer.emulator import Emulator, PauseFileError, open_emulator
from resumer.errors import SettingsError
from resumer.flows import FlowPauses, Flows
from resumer.graphs import Graphs
from resumer.migrate import migrate
from resumer.pauses import Pauses
from resumer.serving import serving, stop_signals
from resumer.threads import Threads

from .addresses import Addresses
from .beside import beside
from .dashboard import ENTRY, LocalDashboard
from .desktop import has_desktop, open_page
from .environment import API_KEY, example, session_environment, states_for, write_private
from .exposing import HOW, PATH, ROOT, Exposed, explain
from .own_agent import OwnAgent
from .own_code import OwnCode
from .reloading import Reloading
from .runs import FlowRuns, GraphRuns
from .work import Renewal, Work

__all__ = ["Dev"]

# A person looks: what is asked is in the dashboard soon, and a lost delivery found soon.
QUICK_SWEEPS = {"RESUMER_RECONCILE_SECONDS": "3"}
# While somebody mends a graph that raises, the next save is what tries again.
QUICK_RETRIES = {"RESUMER_RETRY_DELAYS": "[1]"}


@dataclass
class Dev:
    """One session. `decision` decides by itself and ends; `state` is JSON to start an agent with.

    `graph` or `flow` is the user's agent; without one the example asks. `reload` loads the user's
    anew whenever its code is saved. `opens` opens the inbox in a browser; None does so where a
    person would see it. `expose` is a tunnel's address, or `how`.
    """

    graph: str | None
    flow: str | None
    state: str | None
    decision: str | None
    data: Path
    database_url: str | None
    scheme: Scheme
    host: str
    port: int
    reload: bool = True
    opens: bool | None = None
    expose: str | None = None
    say: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    own: OwnAgent | None = field(init=False)

    def __post_init__(self) -> None:
        self.own = OwnAgent.of(self.graph, self.flow)

    async def run(self) -> int:
        """Run until a signal, or until the decision is carried out; return the exit code."""
        states = states_for(self.own, self.state, self.decision)
        if self.own is not None:
            self.own.check()
        exposed = Exposed.at(self.expose) if self.expose not in (None, HOW) else None
        with stop_signals() as stop:
            async with AsyncExitStack() as stack:
                work = await self._start(stack, states, exposed)
                ended = asyncio.create_task(stop.wait())
                working = asyncio.create_task(self._do(work))
                await asyncio.wait({working, ended}, return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
                if working.done():
                    return working.result()
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
                self.say.print("\nStopping. What waits is kept: start again and decide.")
                return 1 if self.decision else 0

    async def _do(self, work: Work) -> int:
        if self.decision is not None:
            return await work.decide_one(self.decision, is_example=self.own is None)
        return await work.until_cancelled()

    async def _start(
        self, stack: AsyncExitStack, states: Iterator[Any], exposed: Exposed | None
    ) -> Work:
        router = Starlette()
        app = exposed.only_the_webhook(router) if exposed else router
        address = await stack.enter_async_context(serving(app, self.host, self.port))
        url = self._database(stack)
        await migrate(url, url)
        public = exposed.webhook if exposed else None
        addresses = Addresses.of(f"{address}{PATH}", public, self.data / "tunnels")
        emulator = self._emulator(stack, addresses)
        environment = session_environment(emulator, address, addresses.webhook, url)
        os.environ.update(environment)  # before the graph is imported: its client reads it
        code = OwnCode.of(self.own.path) if self.own and self._reloads else None
        dashboard = LocalDashboard.beside(ROOT, emulator.fake.secret)
        resumer = self._resumer(url, dashboard)
        router.router.routes += [
            *([exposed.route()] if exposed else []),
            *dashboard.routes(resumer.settings.tokens),
            Mount(ROOT, resumer.app),
            Mount("/", emulator.app),
        ]
        await stack.enter_async_context(resumer.running())
        await stack.enter_async_context(emulator.running())
        agent = await self._agent(stack, resumer, emulator, address, addresses)
        work = Work(agent, states, self.say, mends=code is not None)
        self._welcome(address, environment, exposed)
        if code is not None:
            await self._watch(stack, code, work, resumer)
        if exposed is not None:
            await stack.enter_async_context(beside(exposed.watch(self.say), self.say))
        if self._opens:
            await stack.enter_async_context(beside(self._open(f"{address}/"), self.say))
        return work

    async def _watch(
        self, stack: AsyncExitStack, code: OwnCode, work: Work, resumer: Resumer
    ) -> None:
        code.note()
        url = resumer.settings.database_url
        pool = await stack.enter_async_context(open_pool(url, size=1, schema=SCHEMA, name="dev"))
        use = Renewal(work, resumer, Pauses(pool), self.say).use
        reloading = Reloading(code, self._loads(resumer), self._name, use, self.say)
        reloading.noun = "flow" if self.own and self.own.is_flow else "graph"
        await stack.enter_async_context(beside(reloading.run(), self.say))

    @property
    def _name(self) -> str:
        return self.own.name if self.own else "procurement"

    def _loads(self, resumer: Resumer) -> Graphs:
        return resumer.flows if self.own and self.own.is_flow else resumer.graphs

    @property
    def _reloads(self) -> bool:
        return self.reload and self.own is not None and self.decision is None

    @property
    def _opens(self) -> bool:
        if self.opens is None:
            return self.decision is None and has_desktop(os.environ, sys.stdout)
        return self.opens

    @property
    def _suffix(self) -> str:
        return self.own.suffix if self.own else ""

    def _resumer(self, url: str, dashboard: LocalDashboard) -> Resumer:
        defaults = {**QUICK_SWEEPS, **(QUICK_RETRIES if self._reloads else {})}
        mine = {self._name: self.own.path if self.own else example()}
        is_flow = self.own is not None and self.own.is_flow
        return Resumer.from_env(
            {**defaults, **os.environ},
            database_url=url,
            act_tokens=(dashboard.token,),
            graphs={} if is_flow else mine,
            flows=mine if is_flow else {},
            drain_seconds=3.0,
        )

    def _database(self, stack: AsyncExitStack) -> str:
        if self.database_url:
            return self.database_url
        with self.say.status("Starting PostgreSQL …"):
            folder = self.data / "postgres"
            return stack.enter_context(embedded_postgres(folder, f"resumer{self._suffix}"))

    def _emulator(self, stack: AsyncExitStack, addresses: Addresses) -> Emulator:
        file = self.data / f"looppause-{self.scheme}{self._suffix}.sqlite"
        try:
            return stack.enter_context(
                open_emulator(
                    scheme=self.scheme,
                    api_key=API_KEY,
                    file=file,
                    deliver_to=addresses.now,
                    dashboard=ENTRY,
                )
            )
        except PauseFileError as error:
            raise SettingsError(
                [f"{error} If another `resumer dev` runs on this data, give --data another folder"]
            ) from error

    async def _agent(
        self,
        stack: AsyncExitStack,
        resumer: Resumer,
        emulator: Emulator,
        address: str,
        addresses: Addresses,
    ) -> DevAgent:
        url = resumer.settings.database_url
        pool = await stack.enter_async_context(open_pool(url, size=4, name="agent"))
        loads = self._loads(resumer)
        loaded = await loads.load(self._name)
        runs: Runs = GraphRuns(Threads(pool), loaded)
        if isinstance(loads, Flows):
            runs = FlowRuns(FlowPauses(pool, loads, url), loaded)
        return DevAgent(
            runs,
            emulator,
            self.say,
            inbox=f"{address}/",
            leads_here=addresses.lead_here,
        )

    async def _open(self, url: str) -> None:
        if not await open_page(url):
            self.say.print(f"[bold yellow]![/] No browser could be opened: open {url} yourself.")

    def _welcome(
        self, address: str, environment: Mapping[str, str], exposed: Exposed | None
    ) -> None:
        self.say.print("\n[bold]Resumer runs on this machine.[/]\n")
        self.say.print(f"  Inbox     [bold cyan underline]{address}/[/]")
        self.say.print(f"  Dashboard [bold cyan underline]{address}{ENTRY}[/]")
        self.say.print(f"  Receiver  {address}{PATH}")
        path = self.data / "env"
        write_private(path, environment)
        self.say.print(f"  Data      {escape(str(self.data))}/")
        self.say.print(
            f"  Settings  {escape(str(path))}: for your agent; `resumer pauses` and the other "
            "commands find it here\n"
        )
        if self.expose is not None:
            self.say.print(explain(address, exposed))
        if self.own is not None and self.state is None:
            keeps = "persistence" if self.own.is_flow else "checkpointer"
            self.say.print(
                "[bold]Next:[/] start your agent in another terminal, after "
                f"[bold]source {escape(str(path))}[/]\n"
                f"      Its {keeps} belongs in DATABASE_URL. Or start one here: --input.\n"
            )
