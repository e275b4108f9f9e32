"""What the shell completes: ids and agents of the database, if it answers at once.

Whatever goes wrong there is no completion: a message would land in the middle of what is typed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg
import typer

from resumer.errors import ResumerError
from resumer.model import utc_now
from resumer.operator.acting import RETRIABLE
from resumer.operator.views import Filter, Row

from .service import Service, ask

__all__ = ["agent_ids", "held_ids", "pause_ids", "thread_ids", "unfinished_ids"]

SECONDS = 1.5
MOST = 200

Choices = list[tuple[str, str]]


def pause_ids(ctx: typer.Context, incomplete: str) -> Choices:
    """The newest pauses."""
    return _of_rows(ctx, incomplete, Filter(), lambda row: (row.pause_id, str(row.state)))


def unfinished_ids(ctx: typer.Context, incomplete: str) -> Choices:
    """The newest pauses that can be retried or discarded."""
    wanted = Filter(states=RETRIABLE)
    return _of_rows(ctx, incomplete, wanted, lambda row: (row.pause_id, row.reason_code or ""))


def thread_ids(ctx: typer.Context, incomplete: str) -> Choices:
    """The threads of the newest pauses."""
    return _of_rows(ctx, incomplete, Filter(), lambda row: (row.thread_id or "", ""))


def agent_ids(ctx: typer.Context, incomplete: str) -> Choices:
    """Every agent that has ever asked."""

    async def choices(service: Service) -> Choices:
        overview = await service.reading.overview(now=utc_now(), hours=1)
        return [(agent_id, "") for agent_id in overview.agents]

    return _completed(ctx, incomplete, choices)


def held_ids(ctx: typer.Context, incomplete: str) -> Choices:
    """The agents that are held."""

    async def choices(service: Service) -> Choices:
        return [(held.agent_id, held.reason or "") for held in await service.reading.holds()]

    return _completed(ctx, incomplete, choices)


def _of_rows(
    ctx: typer.Context, incomplete: str, wanted: Filter, choice: Callable[[Row], tuple[str, str]]
) -> Choices:
    async def choices(service: Service) -> Choices:
        page = await service.reading.page(wanted, limit=MOST)
        return list(dict.fromkeys(map(choice, page.rows)))

    return _completed(ctx, incomplete, choices)


def _completed(
    ctx: typer.Context, incomplete: str, choices: Callable[[Service], Awaitable[Choices]]
) -> Choices:
    """The choices that begin with what is typed so far."""
    with suppress(ResumerError, psycopg.Error, OSError):
        found = ask(ctx.params.get("database_url"), choices, patience=SECONDS)
        return [choice for choice in found if choice[0] and choice[0].startswith(incomplete)]
    return []
