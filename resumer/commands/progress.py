"""A progress bar beside long work, where somebody looks on."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from resumer.operator.reading import Reading
from resumer.operator.views import Filter

__all__ = ["counted", "counting"]

MOST_COUNTED = 100_000_000


async def counted(
    records: AsyncIterator[dict[str, Any]], reading: Reading, wanted: Filter, *, is_shown: bool
) -> AsyncIterator[dict[str, Any]]:
    """The records as they come, with a bar on standard error if it is a terminal."""
    is_shown = is_shown and sys.stderr.isatty()
    total = await _total(reading, wanted) if is_shown else None
    with counting("pauses", total, is_shown=is_shown) as advance:
        async for record in records:
            yield record
            advance(1)


@contextmanager
def counting(
    what: str, total: int | None, *, is_shown: bool = True
) -> Iterator[Callable[[int], None]]:
    """A bar on standard error if it is a terminal; yields what is told how many more are done."""
    if not (is_shown and sys.stderr.isatty()):
        yield lambda _: None
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(what, total=total)
        yield lambda done: progress.advance(bar, done)


async def _total(reading: Reading, wanted: Filter) -> int | None:
    """How many there are; None if counting takes too long, which is no reason not to begin."""
    try:
        return await reading.count(wanted, most=MOST_COUNTED)
    except psycopg.errors.QueryCanceled:
        return None
