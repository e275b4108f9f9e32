"""For checkpoints that SQL cannot read: a saver that notes which thread asks which pause.

The receiver finds the thread of a pause by an index over the interrupts as LangGraph stores them.
Encrypted or pickled, they give nothing to an index; mix this into the agent's saver then::

    class Saver(PauseIndexMixin, AsyncPostgresSaver): ...

    async with Saver.from_conn_string(url, serde=EncryptedSerializer...) as saver: ...

The note holds the pause id and the names of the thread and checkpoint in the clear, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from langgraph.types import Interrupt

from .errors import LoopPauseConfigError

__all__ = ["PauseIndexMixin"]

_INTERRUPT = "__interrupt__"
_NOTE = (
    "insert into resumer_pause_index (pause_id, thread_id, checkpoint_ns, checkpoint_id, task_id)"
    " values (%s, %s, %s, %s, %s) on conflict do nothing"
)
_NOT_MIGRATED = (
    "the checkpointer's database has no table resumer_pause_index: run `resumer migrate` with "
    "RESUMER_CHECKPOINT_URL set to it"
)
_FORGET = "delete from resumer_pause_index where thread_id = %s"

if TYPE_CHECKING:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver as _Saver
else:
    _Saver = object


class PauseIndexMixin(_Saver):
    """Mix into `PostgresSaver` or `AsyncPostgresSaver`, before it.

    Needs the table that `resumer migrate` makes in the checkpointer's database; raises
    `LoopPauseConfigError` where it is missing, before the interrupt is stored.
    """

    def put_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Note the pauses among `writes`, then store them."""
        if notes := list(_notes(config, writes, task_id)):
            # First the note: one too many leads nowhere, one too few loses the thread.
            try:
                with self._cursor() as cursor:  # type: ignore[attr-defined]  # the sync saver's
                    cursor.executemany(_NOTE, notes)
            except psycopg.errors.UndefinedTable as error:
                raise LoopPauseConfigError(_NOT_MIGRATED) from error
        super().put_writes(config, writes, task_id, task_path)

    async def aput_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `put_writes`."""
        if notes := list(_notes(config, writes, task_id)):
            try:
                async with self._cursor() as cursor:
                    await cursor.executemany(_NOTE, notes)
            except psycopg.errors.UndefinedTable as error:
                raise LoopPauseConfigError(_NOT_MIGRATED) from error
        await super().aput_writes(config, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        """Delete the thread, and what was noted of it."""
        super().delete_thread(thread_id)
        with self._cursor() as cursor:  # type: ignore[attr-defined]  # the sync saver's
            cursor.execute(_FORGET, (thread_id,))

    async def adelete_thread(self, thread_id: str) -> None:
        """As `delete_thread`."""
        await super().adelete_thread(thread_id)
        async with self._cursor() as cursor:
            await cursor.execute(_FORGET, (thread_id,))


def _notes(
    config: Any, writes: Sequence[tuple[str, Any]], task_id: str
) -> Iterator[tuple[str, str, str, str, str]]:
    place = config["configurable"]
    for channel, value in writes:
        if channel != _INTERRUPT:
            continue
        for found in value if isinstance(value, Sequence) else (value,):
            asked = found.value if isinstance(found, Interrupt) else None
            pause_id = asked.get("pause_id") if isinstance(asked, Mapping) else None
            if isinstance(pause_id, str):
                where = place["thread_id"], place["checkpoint_ns"], place["checkpoint_id"]
                yield pause_id, *where, task_id
