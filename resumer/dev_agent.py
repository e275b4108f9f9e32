"""The agent's side of `resumer dev`: threads that ask, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape

from looppause_sdk.errors import LoopPauseRequestError

from .emulator import Emulator
from .errors import GraphRaised, SettingsError
from .resume import brief

__all__ = ["MAKE_CLIENT", "DevAgent", "Runs", "Standing"]

MAKE_CLIENT = "make its client as LoopPauseClient(), which reads the environment"


@dataclass(frozen=True)
class Standing:
    """What became of a thread or flow: `pauses` it hibernates at now, `waits` for those or others.

    `values` is its state, None where that is not known.
    """

    pauses: Sequence[str]
    values: Any
    waits: bool


class Runs(Protocol):
    """What an agent's own process does with its threads (`noun`), or with its flows."""

    @property
    def noun(self) -> str:
        """What one of them is called."""

    def use(self, loaded: Any) -> None:
        """Go on with another version of the graph or flow."""

    async def start(self, state: Any) -> str:
        """Run a new one until it ends or hibernates; return its id."""

    async def where(self, pause_id: str) -> list[str]:
        """Those that hibernate at this pause, or did."""

    async def waiting_at(self, name: str) -> tuple[str, ...]:
        """The pauses that it hibernates at."""

    async def standing(self, name: str, pause_id: str) -> Standing | None:
        """What became of it once the pause is over and nothing runs; None till then."""


@dataclass
class DevAgent:
    """The agent's side: threads that ask, and what becomes of them.

    `leads_here` says whether proofs for an address reach the receiver.
    """

    runs: Runs
    emulator: Emulator
    say: Console
    inbox: str
    leads_here: Callable[[str | None], bool]
    waiting: dict[str, str] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)

    async def ask(self, state: Any) -> str | None:
        """Start a thread; return the pause it hibernates at, None if it ended without asking."""
        try:
            name = await self.runs.start(state)
        except Exception as error:
            kind = "graph" if self.runs.noun == "thread" else self.runs.noun
            raise GraphRaised(f"the {kind} raised before it asked: {brief(error)}") from error
        pauses = await self.runs.waiting_at(name)
        self.waiting.update(dict.fromkeys(pauses, name))
        for pause_id in pauses:
            self._show_question(pause_id)
        return pauses[0] if pauses else None

    async def notice(self) -> bool:
        """Show questions that this session did not ask itself; whether there were any.

        An earlier session left them, or an agent in another process asked.
        """
        found = {
            document["pause_id"]: name
            for document in self.emulator.fake.documents()
            if document["status"] in ("pending", "delivered")
            for name in await self._hibernating(document["pause_id"])
        }
        self.waiting.update(found)
        for pause_id in found:
            self._show_question(pause_id)
        return bool(found)

    async def _hibernating(self, pause_id: str) -> list[str]:
        """Who hibernates at a pause that was not shown yet.

        An answer that was signed elsewhere (`resumer trigger`) leaves it open at the emulator.
        """
        if pause_id in self.waiting or pause_id in self._over:
            return []
        names = await self.runs.where(pause_id)
        still = [name for name in names if await self.runs.standing(name, pause_id) is None]
        if names and not still:
            self._over.add(pause_id)
        return still

    def say_what_next(self) -> None:
        """What the person is to do."""
        self.say.print(
            f"  [bold]Next:[/] open [bold cyan underline]{self.inbox}[/] in a browser and click "
            "Approve or Reject. Ctrl-C stops.\n"
        )

    async def report_finished(self) -> Any:
        """Say what became of threads that were resumed; return the state of the last of them."""
        values: Any = None
        for pause_id, name in list(self.waiting.items()):
            standing = await self.runs.standing(name, pause_id)
            if standing is None:
                continue
            del self.waiting[pause_id]
            self._over.add(pause_id)
            asked_next = [other for other in standing.pauses if other not in self.waiting]
            self.waiting.update(dict.fromkeys(asked_next, name))
            values = standing.values
            noun = self.runs.noun
            self.say.print(f"[bold green]●[/] [bold]{escape(_story(noun, standing))}[/]")
            self.say.print(f"  Its {noun} {name} was resumed.\n")
            for other in asked_next:
                self._show_question(other)
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
            f"  Its {self.runs.noun} {self.waiting[pause_id]} hibernates in PostgreSQL; "
            "no process waits."
        )
        webhook = request.get("webhook_url")
        if not self.leads_here(webhook):
            self.say.print(
                f"  [bold red]Its proof goes to {escape(str(webhook))}[/], not to the receiver "
                "here: leave webhook_url out, LOOPPAUSE_WEBHOOK_URL has it."
            )


def _story(noun: str, standing: Standing) -> str:
    """What a graph says itself as its `result`, else how its state looks."""
    values = standing.values
    if isinstance(values, Mapping) and values.get("result"):
        return str(values["result"])
    how = "waits at its next gate" if standing.waits else "finished"
    return f"The {noun} {how}. {_said(values)}".rstrip()


def _said(values: Any) -> str:
    if not isinstance(values, Mapping):
        return "" if values is None else f"It says: {values}"
    messages = values.get("messages")
    last = getattr(messages[-1], "text", None) if isinstance(messages, list) and messages else None
    if isinstance(last, str) and last:
        return f"It says: {last}"
    return f"Its state: {', '.join(sorted(map(str, values)))}"
