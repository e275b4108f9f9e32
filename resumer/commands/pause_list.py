"""Pauses on a terminal: where each stands, and why it is not finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from resumer.model import State
from resumer.operator.views import Row
from resumer.operator.wording import ago

from .shown import print_wrapped, printable

__all__ = ["STYLES", "print_heading", "print_pauses", "width_for"]

STYLES: Mapping[State, str] = {
    State.PARKED: "red",
    State.FAILED: "yellow",
    State.RESUMED: "green",
    State.DISCARDED: "dim",
}
SHORTEST_ID = 32  # of LoopPause's own
STATE_WIDTH = max(map(len, State))
LEFT_FOR_ANSWER = 24


def width_for(console: Console, rows: Sequence[Row]) -> int:
    """How wide the column of ids is. Longer ones stand on lines of their own."""
    longest = max((len(row.pause_id) for row in rows), default=0)
    room = console.width - STATE_WIDTH - LEFT_FOR_ANSWER
    return max(SHORTEST_ID, min(longest, room))


def print_heading(console: Console, width: int) -> None:
    """The names of the columns."""
    names = (Text(name, style="dim") for name in ("pause", "state", "answer"))
    console.print(_line(width, *names), crop=False)


def print_pauses(console: Console, rows: Sequence[Row], width: int, now: datetime) -> None:
    """One pause after the other; nothing is cut, and an id is in one piece, to be copied."""
    for row in rows:
        name = Text(printable(row.pause_id), style="bold")
        if len(row.pause_id) > width:
            console.print(name, soft_wrap=True)
            name = Text()
        state = Text(str(row.state), style=STYLES.get(row.state, ""))
        console.print(_line(width, name, state, Text(_answer(row, now))), crop=False)
        for told, style in _more(row):
            print_wrapped(console, told, style=style, indent=2)


def _line(width: int, *cells: Text) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=width, no_wrap=True)
    table.add_column(width=STATE_WIDTH, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(*cells)
    return table


def _answer(row: Row, now: datetime) -> str:
    if row.decision is None:
        return f"none yet, asked {ago(row.asked_at or row.created_at, now)}"
    by = f" by {printable(row.responder)}" if row.responder else ""
    return f"{row.decision}{by}, {ago(row.received_at or row.created_at, now)}"


def _more(row: Row) -> Iterator[tuple[str, str]]:
    known = (row.agent_id, row.thread_id and f"thread {row.thread_id}", row.description)
    if told := " · ".join(filter(None, known)):
        yield told, "dim"
    if row.reason and row.state not in (State.RESUMED, State.DISCARDED):
        code = f"{row.reason_code}: " if row.reason_code else ""
        yield code + row.reason, ""
