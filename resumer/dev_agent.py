"""The agent's side of `resumer dev`: threads that ask, and what becomes of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape

from looppause_sdk.errors import LoopPauseRequestError

from .emulator import Emulator
from .errors import GraphRaised, SettingsError
from .model import Inspection
from .resume import brief
from .threads import Threads

__all__ = ["MAKE_CLIENT", "DevAgent"]

MAKE_CLIENT = "make its client as LoopPauseClient(), which reads the environment"


@dataclass
class DevAgent:
    """The agent's side: threads that ask, and what becomes of them.

    `graph` may be exchanged. `leads_here` says whether proofs for an address reach the receiver.
    """

    threads: Threads
    graph: Any
    emulator: Emulator
    say: Console
    inbox: str
    leads_here: Callable[[str | None], bool]
    waiting: dict[str, str] = field(default_factory=dict)

    async def ask(self, state: Mapping[str, Any]) -> str | None:
        """Start a thread; return the pause it hibernates at, None if it ended without asking."""
        thread_id = str(uuid.uuid4())
        try:
            await self.threads.start(self.graph, thread_id, state)
        except Exception as error:
            raise GraphRaised(f"the graph raised before it asked: {brief(error)}") from error
        pauses = (await self.threads.inspect(self.graph, thread_id)).waiting_pauses()
        self.waiting.update(dict.fromkeys(pauses, thread_id))
        for pause_id in pauses:
            self._show_question(pause_id)
        return pauses[0] if pauses else None

    async def notice(self) -> bool:
        """Show questions that this session did not ask itself; whether there were any.

        An earlier session left them, or an agent in another process asked.
        """
        found: list[str] = []
        for document in self.emulator.fake.documents():
            pause_id = document["pause_id"]
            if document["status"] in ("pending", "delivered") and pause_id not in self.waiting:
                for row in await self.threads.locate(pause_id):
                    self.waiting[pause_id] = row.thread_id
                    found.append(pause_id)
        for pause_id in dict.fromkeys(found):
            self._show_question(pause_id)
        return bool(found)

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
            result = values.get("result") or _outcome(seen, values)
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
        webhook = request.get("webhook_url")
        if not self.leads_here(webhook):
            self.say.print(
                f"  [bold red]Its proof goes to {escape(str(webhook))}[/], not to the receiver "
                "here: leave webhook_url out, LOOPPAUSE_WEBHOOK_URL has it."
            )


def _outcome(seen: Inspection, values: Mapping[str, Any]) -> str:
    """What to say of a graph that writes no `result`."""
    how = "waits at its next gate" if seen.pending else "finished"
    messages = values.get("messages")
    last = getattr(messages[-1], "text", None) if isinstance(messages, list) and messages else None
    said = f"It says: {last}" if isinstance(last, str) and last else f"Its state: {_names(values)}"
    return f"The thread {how}. {said}"


def _names(values: Mapping[str, Any]) -> str:
    return ", ".join(sorted(values))
