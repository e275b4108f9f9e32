"""What a session does while it runs: start threads, show what is asked, say how it ended."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape

from resumer.app import Resumer
from resumer.dev_agent import DevAgent
from resumer.errors import GraphRaised, SettingsError
from resumer.hibernation import brief
from resumer.model import State
from resumer.pauses import Pauses

__all__ = ["Renewal", "Work"]

WATCH_SECONDS = 0.2
HEADLESS_SECONDS = 60.0
MOST_AT_ONCE = 100
NOBODY_ASKED = "The thread ended without asking anybody: is there a gate on its way?"


@dataclass
class Work:
    """`states` start threads, one after another. `mends` says that the graph may get better."""

    agent: DevAgent
    states: Iterator[Any]
    say: Console
    mends: bool
    _held: bool = False
    _told: str | None = None

    def use(self, graph: Any) -> None:
        """Go on with another version of the graph."""
        self.agent.runs.use(graph)
        self._held = False

    async def until_cancelled(self) -> int:
        """Start a thread whenever none waits, and tell what becomes of each."""
        if await self.agent.notice():
            self.say.print("  Still waiting from before.")
            self.agent.say_what_next()
        while True:
            if not (self.agent.waiting or self._held):
                await self._start_one()
            await asyncio.sleep(WATCH_SECONDS)
            await self._look()

    async def decide_one(self, decision: str, *, is_example: bool) -> int:
        """Start one thread, decide by ourselves, and return the exit code."""
        pause_id = await self.agent.ask(next(self.states))
        if pause_id is None:
            self.say.print(NOBODY_ASKED)
            return 1
        self.say.print(f"  Deciding by itself: {decision}\n")
        self.agent.emulator.fake.decide(pause_id, decision, responder="you@localhost")
        values: Any = None
        try:
            async with asyncio.timeout(HEADLESS_SECONDS):
                while pause_id in self.agent.waiting:
                    await asyncio.sleep(WATCH_SECONDS)
                    values = await self.agent.report_finished()
        except TimeoutError:
            self.say.print(f"Not resumed in {HEADLESS_SECONDS:.0f} s: the log above says why.")
            return 1
        if is_example:
            paid = str((values or {}).get("result", "")).startswith("PAID")
            return 0 if paid == (decision == "approved") else 1
        return 0

    async def _start_one(self) -> None:
        state = next(self.states, None)
        if state is None:
            self._held = True
            return
        try:
            asked = await self.agent.ask(state)
        except GraphRaised as error:
            if not self.mends:
                raise
            self.states = itertools.chain([state], self.states)
            self._held = True
            self.say.print(f"[bold red]✗[/] {escape(str(error))}")
            self.say.print("  Mend it and save: the thread is started anew.\n")
            return
        if asked is None:
            self.say.print(NOBODY_ASKED)
        else:
            self.agent.say_what_next()

    async def _look(self) -> None:
        try:
            await self.agent.report_finished()
            if await self.agent.notice():
                self.agent.say_what_next()
        except SettingsError:
            raise
        except Exception as error:  # noqa: BLE001  (a graph of the user's is asked: anything may come)
            if (why := brief(error)) != self._told:
                self.say.print(f"[bold red]✗[/] The threads cannot be looked at: {escape(why)}\n")
            self._told = why
        else:
            self._told = None


@dataclass(frozen=True)
class Renewal:
    """What a graph that was loaded anew is used for."""

    work: Work
    resumer: Resumer
    pauses: Pauses
    say: Console

    async def use(self, graph: Any) -> None:
        """Go on with it, and take up what failed with the version before."""
        self.work.use(graph)
        stuck = [
            row["pause_id"]
            for state in (State.PARKED, State.FAILED)
            for row in await self.pauses.listed(state, limit=MOST_AT_ONCE)
        ]
        if taken_up := await self.resumer.retry(stuck):
            self.say.print(f"  Taken up again, since it had failed: {', '.join(taken_up)}\n")
