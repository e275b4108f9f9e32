"""What the command line shows of pauses: a table on a terminal, JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["print_json", "print_pauses"]

COLOURS = {"parked": "red", "failed": "yellow", "resumed": "green"}


def print_json(rows: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line."""
    for row in rows:
        print(json.dumps(row, default=_text))  # noqa: T201  (its whole purpose)


def print_pauses(rows: Sequence[dict[str, Any]]) -> None:
    """A table, and under it why those that are not finished are not."""
    console = Console(highlight=False)
    if not rows:
        console.print("No pauses.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("pause", "state", "decision", "agent", "thread", "attempts", "received"):
        table.add_column(column, overflow="fold")
    for row in rows:
        colour = COLOURS.get(row["state"], "default")
        table.add_row(
            row["pause_id"],
            f"[{colour}]{row['state']}[/]",
            row["decision"] or "",
            row["agent_id"] or "",
            row["thread_id"] or "",
            str(row["attempts"]),
            f"{row['received_at']:%Y-%m-%d %H:%M:%S}" if row["received_at"] else "",
        )
    console.print(table)
    for row in rows:
        if row["reason"] and row["state"] != "resumed":
            console.print(f"\n{row['pause_id']}: {row['reason']}", markup=False)


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
