"""One run on a LangGraph server: started or found there, waited for, and judged by its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resumer.errors import RemoteAway, RemoteRefused
from resumer.hibernation import Fault, Verb, for_gate
from resumer.model import Outcome, PauseRecord, Postponed

from .rules import Answer, Join, RemoteAct, busy_there, going_on, judge
from .seen import ATTEMPT, MARK, RemotePlace, ServerRun, Snapshot
from .server import Assistant

__all__ = ["RemoteRun"]

WAIT_SECONDS = 30.0  # then the slot is for others, and the run is looked at again
LONGEST_NAP = 1.0
EXACT = 2**53
GONE = "gone"  # no status of the server's


@dataclass
class RemoteRun:
    """A run that answers a pause of a thread on a server, or goes on from where one stopped."""

    assistant: Assistant
    record: PauseRecord
    found: RemotePlace
    act: RemoteAct
    before: Snapshot
    run: ServerRun | None = None
    trouble: Exception | None = None

    @property
    def place(self) -> RemotePlace:
        """Where it goes on from."""
        name = self.act.interrupt_id if isinstance(self.act, Answer) else None
        return self.before.place(self.found, name)

    @property
    def verb(self) -> Verb:
        """What it does, for the log."""
        return "resuming" if isinstance(self.act, Answer) else "continuing"

    async def go_on(self, answer: Any) -> None:
        """Have the server run the thread, and wait for as long as a slot may be held."""
        try:
            self.run = await self._started(answer)
            if self.run is not None:
                self.run = await self._ended(self.run)
        except (RemoteAway, RemoteRefused) as error:  # which is no fault of the graph's
            self.trouble = error

    def was_refused(self, error: Exception) -> bool:  # noqa: ARG002  # an end of the run tells
        """Whether the gate refused the answer."""
        return False

    def repeats_nothing(self) -> bool:
        """Whether going on again runs nothing that has run to its end."""
        return True  # the next look finds the run on the server

    async def confirm(self, now: datetime) -> Outcome | Fault:
        """What became of it. Raises `RemoteAway` or `RemoteRefused` if that could not be seen."""
        if self.trouble is not None:
            raise self.trouble
        if self.run is None:
            return busy_there(self.record, now)
        if self.run.is_going_on:
            return going_on(self.record, now)
        return await self._judged(self.run)

    async def _judged(self, run: ServerRun) -> Outcome | Fault:
        server, thread_id = self.assistant.server, self.found.thread_id
        seen = await server.snapshot(thread_id)
        if seen is None or run.status == GONE:
            return _LOST
        errors = (await server.error(thread_id), *seen.errors) if run.has_failed else ()
        error = "\n".join(filter(None, errors))
        return judge(self.record, run, seen, error) or Fault.told(error or "its run failed")

    async def _started(self, answer: Any) -> ServerRun | None:
        if isinstance(self.act, Join):
            return self.act.run
        command = None
        if isinstance(self.act, Answer):
            name = self.act.interrupt_id
            value = self.before.pending[name]
            given = for_gate(self.record, value, answer)
            if "action_digest" in value and not travels(given):
                given = self.record.body.decode()
            command = {"resume": {name: given}}
        return await self.assistant.server.start(
            self.found.thread_id, self._runs_as(), command, self._marks()
        )

    def _runs_as(self) -> str:
        """The assistant that the thread had last: it is one of the same graph, maybe configured."""
        return self.before.thread.assistant_id or self.assistant.name

    def _marks(self) -> Mapping[str, Any]:
        return {MARK: self.record.pause_id, ATTEMPT: self.record.attempts}

    async def _ended(self, run: ServerRun) -> ServerRun:
        """The run as it stands when it ended, or when it has taken too long to wait for."""
        nap, until = 0.05, time.monotonic() + WAIT_SECONDS
        seen: ServerRun | None = run
        while seen is not None and seen.is_going_on and time.monotonic() < until:
            await asyncio.sleep(nap)
            nap = min(nap * 1.5, LONGEST_NAP)
            seen = await self.assistant.server.run(self.found.thread_id, run.run_id)
        return seen or ServerRun(run.run_id, GONE, run.pause_id, run.attempt)


def travels(answer: Any) -> bool:
    """Whether JSON that is read and written again on its way stays what was signed.

    Numbers are written differently by others, and PostgreSQL's jsonb takes no NUL: such a proof
    goes as its text.
    """
    match answer:
        case Mapping():
            return all(travels(each) for pair in answer.items() for each in pair)
        case list():
            return all(map(travels, answer))
        case str():
            return "\0" not in answer and answer.encode(errors="ignore").decode() == answer
        case bool() | None:
            return True
        case int():
            return abs(answer) < EXACT
    return False  # a float


_LOST = Postponed("running_there", "its run is not on the server any more: looked at anew", 1.0)
