"""Context managers that are held open for a while, each in a task of its own.

What opens connections for a graph often has to be left by the task that entered it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from .telemetry import get_logger

__all__ = ["Holding", "is_context_manager"]

log = get_logger()


def is_context_manager(candidate: Any) -> bool:
    """Whether it can be entered, by `async with` or by `with`."""
    return hasattr(candidate, "__aenter__") or hasattr(candidate, "__enter__")


@dataclass
class Holding:
    """What is held open now, in the order in which it was entered."""

    _held: list[_Held] = field(default_factory=list)

    async def enter(self, manager: Any) -> Any:
        """Enter it, and return what that gives. Raises whatever entering raises."""
        held = _Held(manager)
        try:
            given = await asyncio.shield(held.given)
        except asyncio.CancelledError:
            held.task.cancel()
            await asyncio.wait([held.task])
            raise
        self._held.append(held)
        return given

    async def leave_all(self) -> None:
        """Leave them, the last one first. What one raises is logged, and the others are left."""
        while self._held:
            await self._held.pop().leave()


class _Held:
    def __init__(self, manager: Any) -> None:
        self.given: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()
        self.task = asyncio.create_task(self._hold(manager), name="graph held open")

    async def leave(self) -> None:
        self._stop.set()
        try:
            await self.task
        except Exception as error:  # noqa: BLE001  (whatever a user's code raises)
            log.error("graph_not_closed", error=repr(error)[:300])

    async def _hold(self, manager: Any) -> None:
        try:
            if hasattr(manager, "__aenter__"):
                async with manager as given:
                    await self._until_stopped(given)
            else:
                with manager as given:
                    await self._until_stopped(given)
        except asyncio.CancelledError:
            self.given.cancel()
            raise
        except BaseException as error:
            if self.given.done():
                raise
            self.given.set_exception(error)

    async def _until_stopped(self, given: Any) -> None:
        self.given.set_result(given)
        await self._stop.wait()
