"""`resumer pauses`: where each pause stands, and why it is not finished."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from resumer.model import utc_now
from resumer.operator.reading import MOST_ROWS, Reading
from resumer.operator.views import Filter, Page

from .given import filter_of
from .options import Agent, AsJson, Database, Newer, Older, Reason, States, TextIn, Thread
from .pause_list import print_heading, print_pauses, width_for
from .refusal import CommandRefused
from .service import ask
from .shown import echo_json

__all__ = ["pauses"]

SO_MANY = 50


def pauses(
    *,
    state: States = None,
    agent: Agent = None,
    thread: Thread = None,
    reason: Reason = None,
    older: Older = None,
    newer: Newer = None,
    text: TextIn = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = SO_MANY,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on where an earlier list ended.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="However many they are: --limit does not count.")
    ] = False,
    as_json: AsJson = False,
    database_url: Database = None,
) -> None:
    """List pauses, the newest first: where each stands, and why it is not finished.

    Options narrow together: `--state parked --newer 2h` lists what was first seen in the last two
    hours and is parked. Where a list does not end, standard error says how to go on. Exit code 0,
    also if there are none; 2 if it cannot be done as called.
    """
    wanted = filter_of(
        utc_now(),
        states=state,
        agent=agent,
        thread=thread,
        reason=reason,
        older=older,
        newer=newer,
        text=text,
    )
    most = None if everything else limit
    left = ask(
        database_url,
        lambda service: _show(service.reading, wanted, cursor, most, as_json=as_json),
    )
    if left is not None:
        typer.echo(f"There are more: add --cursor {left}, or --all", err=True)


async def _show(
    reading: Reading, wanted: Filter, cursor: str | None, most: int | None, *, as_json: bool
) -> str | None:
    """Show page after page as they come; return where the next would begin."""
    console, width = Console(highlight=False), 0
    async for page in _pages(reading, wanted, cursor, most):
        cursor = page.next_cursor
        if as_json:
            for row in page.rows:
                echo_json(asdict(row))
        elif page.rows:
            if not width:
                width = width_for(console, page.rows)
                print_heading(console, width)
            print_pauses(console, page.rows, width, utc_now())
    if not width and not as_json:
        console.print("No pauses.")
    return cursor


async def _pages(
    reading: Reading, wanted: Filter, cursor: str | None, most: int | None
) -> AsyncIterator[Page]:
    """Pages up to `most` rows; some of them may be empty, where a text is looked for."""
    left = most
    while left is None or left > 0:
        size = MOST_ROWS if left is None else min(left, MOST_ROWS)
        try:
            page = await reading.page(wanted, cursor=cursor, limit=size)
        except ValueError as error:
            raise CommandRefused(f"--cursor: {error}") from error
        yield page
        cursor = page.next_cursor
        if cursor is None:
            return
        left = None if left is None else left - len(page.rows)
