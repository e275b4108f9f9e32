"""LangGraph's side of a pause: locate the interrupt, inspect the thread, resume, continue."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.constants import TAG_HIDDEN
from langgraph.errors import is_invalid_resume
from langgraph.types import Command, Interrupt

from looppause_sdk.langgraph._alone import until_calls_end

from .db import Connection, Pool
from .model import Found, Inspection, Raised
from .savers import saver_over
from .sql import statement
from .telemetry import get_logger

__all__ = ["Threads", "key_range", "run_config", "was_refused"]

log = get_logger()

MOST_AT_ONCE = 100  # interrupts that one pause raised: hardly ever more
KEY_BYTES = 64
MARK = "resumer_pause_id"

# LangGraph has no public name for it; unknown keys are ignored where it does not exist.
_STRICT_RESUME = "__pregel_strict_resume"
_INTERRUPT = "__interrupt__"
_METADATA_OF_LANGGRAPH = frozenset(
    {"source", "step", "parents", "run_id", "writes", "counters_since_delta_snapshot", MARK}
)


@dataclass(frozen=True)
class Threads:
    """The threads of one checkpointer.

    `serializers` are tried one after another on interrupts whose graph is not known yet.
    """

    pool: Pool
    serializers: Sequence[SerializerProtocol] = (JsonPlusSerializer(),)
    saver: Any = None

    @classmethod
    def of(
        cls, pool: Pool, graphs: Iterable[Any], serializer: Any = None, saver: Any = None
    ) -> Threads:
        """The threads of these graphs, read with the serializers of their own checkpointers.

        Graphs run with savers like `saver`, if it is given.
        """
        own = [serde for serde in map(_serializer_of, graphs) if serde is not None]
        return cls(pool, (serializer or JsonPlusSerializer(), *own), saver)

    async def locate(self, pause_id: str) -> list[Found]:
        """Every stored interrupt whose value names this pause, pending or long answered.

        What SQL finds is a candidate only: the blob is decoded and the id compared.
        """
        low, high = key_range(pause_id)
        parameters = {"low": low, "high": high, "pause_id": pause_id}
        async with self.pool.connection() as connection:
            for most in (str(MOST_AT_ONCE), "null"):
                query = statement("locate").format(most=most)
                rows = await (await connection.execute(query, parameters)).fetchall()
                if len(rows) < MOST_AT_ONCE:
                    break
        return [found for row in rows for found in _decode(row, pause_id, self.serializers)]

    async def raised_after(self, last: Raised | None, *, limit: int) -> list[Raised]:
        """A page of the interrupts of root graphs, oldest first, from the one after `last`.

        One that is pending comes with those of nested graphs that its task hides.
        """
        start = last or Raised("", "", "", pending=False, interrupts=())
        parameters = {
            "checkpoint_id": start.checkpoint_id,
            "thread_id": start.thread_id,
            "task_id": start.task_id,
            "limit": limit,
        }
        async with self.pool.connection() as connection:
            cursor = await connection.execute(statement("waiting_page"), parameters)
            rows = await cursor.fetchall()
            hidden = await _hidden_in([row for row in rows if row["pending"]], connection)
        return [_raised(row, hidden.get(_task_of(row), []), self.serializers) for row in rows]

    async def inspect(self, graph: Any, thread_id: str) -> Inspection:
        """What the checkpointer says of the thread now."""
        snapshot = await self.attach(graph).aget_state(_config(thread_id))
        if snapshot.created_at is None:
            return Inspection(exists=False)
        unfinished = [
            task for task in snapshot.tasks if task.name in snapshot.next and task.result is None
        ]
        idle = [task for task in unfinished if not task.interrupts]
        return Inspection(
            exists=True,
            checkpoint_id=snapshot.config["configurable"]["checkpoint_id"],
            created_at=datetime.fromisoformat(snapshot.created_at),
            pending={found.id: found.value for found in snapshot.interrupts},
            tasks={task.id: task.name for task in snapshot.tasks},
            unfinished={task.id: task.name for task in unfinished},
            unsettled={task.id: task.name for task in idle if not task.error},
            # Tasks that are all done, in a step that was not closed, have to be applied yet.
            runnable=bool(idle or (snapshot.tasks and not snapshot.interrupts)),
            resumed_by=(snapshot.metadata or {}).get(MARK),
            configurable=_configurable(snapshot.metadata or {}),
            at_breakpoint=_at_breakpoint(graph, snapshot.next),
        )

    async def start(self, graph: Any, thread_id: str, state: Any) -> None:
        """Run a new thread until it ends or hibernates, as an agent's own process would."""
        await self.attach(graph).ainvoke(state, _config(thread_id), durability="sync")

    async def values(self, graph: Any, thread_id: str) -> Any:
        """The thread's state; of the functional API's, what it returned."""
        return (await self.attach(graph).aget_state(_config(thread_id))).values

    async def resume(
        self, graph: Any, found: Found, answer: Any, config: dict[str, Any], *, strict: bool
    ) -> bool:
        """Answer this one interrupt and run the thread to its end or its next gate.

        Returns whether it may ask something then. `strict` makes LangGraph refuse, before anything
        is written, an interrupt that is not pending at the root graph.
        """
        config["configurable"][_STRICT_RESUME] = strict
        command: Command[Any] = Command(resume={found.interrupt_id: answer})
        return await self._run(graph, command, config)

    async def carry_on(self, graph: Any, config: dict[str, Any]) -> bool:
        """Finish a run that was cut off after its gate had been answered.

        Returns whether it may ask something then.
        """
        return await self._run(graph, None, config)

    async def _run(self, graph: Any, given: Any, config: dict[str, Any]) -> bool:
        attached = self.attach(graph)
        asks = TAG_HIDDEN in (attached.config or {}).get("tags", ())  # nothing is told of it then
        try:
            async for update in attached.astream(
                given, config, stream_mode="updates", durability="sync"
            ):
                asks = asks or _INTERRUPT in update
        except Exception:
            # A node that failed may have left a gated call behind that is still at work.
            await until_calls_end(config["configurable"]["thread_id"])
            raise
        return asks

    def attach(self, graph: Any) -> Any:
        """The graph with a saver of ours, leaving the user's object alone."""
        serializer = _serializer_of(graph) or self.serializers[0]
        attached = copy.copy(graph)
        attached.checkpointer = saver_over(self.pool, serializer, like=self.saver)
        return attached


def run_config(thread_id: str, pause_id: str, configurable: Mapping[str, Any]) -> dict[str, Any]:
    """How to run the thread: as its last run was configured, marked with the pause it answers."""
    config = _config(thread_id)
    config["configurable"] = {**configurable, **config["configurable"]}
    return {**config, "metadata": {MARK: pause_id}}


def was_refused(error: BaseException) -> bool:
    """Whether the gate refused the answer, leaving the thread paused."""
    return is_invalid_resume(error)


def _config(thread_id: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread_id}}


def _configurable(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The run's own configurable values: LangGraph keeps them among a checkpoint's metadata."""
    return {
        name: value
        for name, value in metadata.items()
        if name not in _METADATA_OF_LANGGRAPH and not name.startswith("langgraph_")
    }


def _serializer_of(graph: Any) -> SerializerProtocol | None:
    saver = getattr(graph, "checkpointer", None)
    return saver.serde if isinstance(saver, BaseCheckpointSaver) else None


def key_range(pause_id: str) -> tuple[bytes, bytes]:
    """The bounds of all index keys that begin with the id's msgpack form."""
    text = pause_id.encode("utf-8", "surrogatepass")
    low = (_msgpack_header(len(text)) + text)[:KEY_BYTES]
    return low, low[:-1] + bytes([low[-1] + 1])


def _msgpack_header(length: int) -> bytes:
    if length < 32:
        return bytes([0xA0 | length])
    if length < 256:
        return bytes([0xD9, length])
    return b"\xda" + length.to_bytes(2, "big")


def _decode(
    row: Mapping[str, Any], pause_id: str, serdes: Sequence[SerializerProtocol]
) -> Iterable[Found]:
    for interrupt_id, value in _values(row, serdes):
        if value.get("pause_id") == pause_id:
            yield Found(
                thread_id=row["thread_id"],
                checkpoint_ns=row["checkpoint_ns"],
                checkpoint_id=row["checkpoint_id"],
                task_id=row["task_id"],
                interrupt_id=interrupt_id,
                value=value,
                stored=row["stored"],
                ahead=row["ahead"],
                open=row["open"],
                error=_error(row, serdes),
            )


def _error(row: Mapping[str, Any], serdes: Sequence[SerializerProtocol]) -> str | None:
    if row["error_blob"] is None:
        return None
    try:
        return str(_loaded((row["error_type"], bytes(row["error_blob"])), serdes))
    except Exception:  # noqa: BLE001  (whatever a serializer raises)
        return "an error that cannot be read"


async def _hidden_in(
    pending: Sequence[Mapping[str, Any]], connection: Connection
) -> Mapping[tuple[str, str], list[Mapping[str, Any]]]:
    """The rows that wait in nested graphs, by thread and task of the root graph."""
    if not pending:
        return {}
    threads, tasks = zip(*map(_task_of, pending), strict=True)
    parameters = {"thread_ids": list(threads), "task_ids": list(tasks)}
    cursor = await connection.execute(statement("hidden_waiting"), parameters)
    hidden: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in await cursor.fetchall():
        hidden.setdefault(_task_of(row), []).append(row)
    return hidden


def _task_of(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["thread_id"], row["task_id"]


def _raised(
    row: Mapping[str, Any],
    hidden: Sequence[Mapping[str, Any]],
    serdes: Sequence[SerializerProtocol],
) -> Raised:
    waiting = [row, *hidden] if row["pending"] else []
    values = [found for each in waiting for found in _readable_values(each, serdes)]
    return Raised(
        checkpoint_id=row["checkpoint_id"],
        thread_id=row["thread_id"],
        task_id=row["task_id"],
        pending=row["pending"],
        interrupts=tuple(dict(values).items()),
    )


def _readable_values(
    row: Mapping[str, Any], serdes: Sequence[SerializerProtocol]
) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        return list(_values(row, serdes))
    except Exception as error:  # noqa: BLE001  (whatever a serializer raises)
        # One unreadable interrupt must not keep the sweep from the others.
        log.warning("interrupt_undecodable", thread_id=row["thread_id"], error=repr(error)[:200])
        return []


def _values(
    row: Mapping[str, Any], serdes: Sequence[SerializerProtocol]
) -> Iterable[tuple[str, Mapping[str, Any]]]:
    interrupts = _loaded((row["type"], bytes(row["blob"])), serdes)
    for found in interrupts if isinstance(interrupts, (list, tuple)) else (interrupts,):
        if isinstance(found, Interrupt) and isinstance(found.value, Mapping):
            yield found.id, found.value


def _loaded(typed: tuple[str, bytes], serdes: Sequence[SerializerProtocol]) -> Any:
    """What the first serializer that can makes of it; else the first one's error."""
    troubles: list[Exception] = []
    for serde in serdes:
        try:
            return serde.loads_typed(typed)
        except Exception as error:  # noqa: BLE001  (whatever a serializer raises)
            troubles.append(error)
    raise troubles[0]


def _at_breakpoint(graph: Any, upcoming: Iterable[str]) -> bool:
    stops = getattr(graph, "interrupt_before_nodes", ())
    names = tuple(upcoming)
    return bool(names) and (stops == "*" or set(names) <= set(stops))
