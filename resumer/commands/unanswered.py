"""Which pauses threads hibernate at right now: the ones a person could still answer."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import errors
from psycopg_pool import PoolTimeout

from resumer.db import SCHEMA, Pool, open_pool
from resumer.errors import DatabaseNotReady
from resumer.flows import FlowPauses, Flows
from resumer.model import State, Waiting
from resumer.pauses import Pauses
from resumer.threads import Threads
from resumer.watchlist import waiting_of

from .service import PATIENCE, reach

__all__ = ["unanswered"]

PAGE = 500


async def unanswered(database_url: str, checkpoint_url: str, *, limit: int) -> list[Waiting]:
    """Up to `limit` pauses that threads wait for, unanswered; the oldest first.

    Read from the checkpointer, so that a gate is seen at once, not after the next sweep. Raises
    `DatabaseNotReady`.
    """
    for url in (database_url, checkpoint_url):
        await reach(url)
    try:
        async with (
            open_pool(checkpoint_url, size=1, name="checkpoints", patience=PATIENCE) as theirs,
            open_pool(database_url, size=1, schema=SCHEMA, name="cli", patience=PATIENCE) as ours,
        ):
            return await _read(theirs, checkpoint_url, ours, limit)
    except errors.UndefinedTable as error:
        raise DatabaseNotReady("the database is not set up: run `resumer migrate`") from error
    except PoolTimeout as error:
        raise DatabaseNotReady("the database does not answer") from error


async def _read(theirs: Pool, url: str, ours: Pool, limit: int) -> list[Waiting]:
    pauses, found = Pauses(ours), dict[str, Waiting]()
    flows = await FlowPauses(theirs, Flows({}), url).unnoted(limit=limit)
    await _add(found, flows, pauses)
    threads, last = Threads(theirs), None
    while len(found) < limit:
        page = await threads.raised_after(last, limit=PAGE)
        await _add(found, [pause for raised in page for pause in waiting_of(raised)], pauses)
        if len(page) < PAGE:
            break
        last = page[-1]
    for pause in await _noted(pauses, limit):
        found.setdefault(pause.pause_id, pause)
    return list(found.values())[:limit]


async def _add(found: dict[str, Waiting], asked: Sequence[Waiting], pauses: Pauses) -> None:
    answered = await pauses.standing([pause.pause_id for pause in asked], only_answered=True)
    found.update({pause.pause_id: pause for pause in asked if pause.pause_id not in answered})


async def _noted(pauses: Pauses, limit: int) -> list[Waiting]:
    """What the sweep has seen waiting: flows, and threads whose interrupts cannot be read here."""
    return [
        Waiting(
            row["pause_id"],
            row["thread_id"],
            "",
            row["agent_id"],
            row["asked_at"],
            row["expires_at"],
        )
        for row in await pauses.listed(State.WAITING, limit=limit)
    ]
