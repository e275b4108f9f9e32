"""One session of `resumer dev`: what it starts, in which order, and what it does till its end."""

from __future__ import annotations

import asyncio
import os
import sys
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
from resumer.app import Resumer
from resumer.db import SCHEMA, open_pool
from resumer.dev_agent import DevAgent
from resumer.embedded import embedded_postgres
from resumer.emulator import Emulator, PauseFileError, open_emulator
from resumer.errors import SettingsError
from resumer.graphs import ANY_AGENT
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
from .own_code import OwnCode
from .reloading import Reloading
from .work import Renewal, Work

__all__ = ["Dev"]

# A person looks: what is asked is in the dashboard soon, and a lost delivery found soon.
QUICK_SWEEPS = {"RESUMER_RECONCILE_SECONDS": "3"}
# While somebody mends a graph that raises, the next save is what tries again.
QUICK_RETRIES = {"RESUMER_RETRY_DELAYS": "[1]"}


@dataclass
class Dev:
    """One session. `decision` decides by itself and ends; `state` is JSON to start a graph with.

    `reload` loads a graph of the user's anew whenever its code is saved. `opens` opens the inbox in
    a browser; None does so where a person would see it. `expose` is a tunnel's address, or `how`.
    """

    graph: str | None
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

    async def run(self) -> int:
        """Run until a signal, or until the decision is carried out; return the exit code."""
        states = states_for(self.graph, self.state, self.decision)
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
            return await work.decide_one(self.decision, is_example=self.graph is None)
        return await work.until_cancelled()

    async def _start(
        self, stack: AsyncExitStack, states: Iterator[Mapping[str, Any]], exposed: Exposed | None
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
        code = OwnCode.of(self.graph) if self.graph and self._reloads else None
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
        reloading = Reloading(code, resumer.graphs, self._name, use, self.say)
        await stack.enter_async_context(beside(reloading.run(), self.say))

    @property
    def _name(self) -> str:
        return ANY_AGENT if self.graph else "procurement"

    @property
    def _reloads(self) -> bool:
        return self.reload and bool(self.graph) and self.decision is None

    @property
    def _opens(self) -> bool:
        if self.opens is None:
            return self.decision is None and has_desktop(os.environ, sys.stdout)
        return self.opens

    @property
    def _suffix(self) -> str:
        """Keeps the threads of each graph apart: another graph cannot resume them."""
        return f"_{sha256(self.graph.encode()).hexdigest()[:8]}" if self.graph else ""

    def _resumer(self, url: str, dashboard: LocalDashboard) -> Resumer:
        defaults = {**QUICK_SWEEPS, **(QUICK_RETRIES if self._reloads else {})}
        return Resumer.from_env(
            {**defaults, **os.environ},
            database_url=url,
            act_tokens=(dashboard.token,),
            graphs={self._name: self.graph or example()},
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
        graph = await resumer.graphs.load(self._name)
        return DevAgent(
            Threads(pool),
            graph,
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
        self.say.print(f"  Data      {escape(str(self.data))}/\n")
        if self.expose is not None:
            self.say.print(explain(address, exposed))
        if self.graph is not None and self.state is None:
            path = self.data / "env"
            write_private(path, environment)
            self.say.print(
                "[bold]Next:[/] start your agent in another terminal, after "
                f"[bold]source {escape(str(path))}[/]\n"
                "      Its checkpointer belongs in DATABASE_URL. Or start a thread here: --input.\n"
            )
