"""`resumer explain`: why is this pause, or this thread, not resumed?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from resumer.model import State, utc_now
from resumer.operator.asking import name_of
from resumer.operator.explaining import (
    Explanation,
    Surroundings,
    explain_pruned,
    explain_thread,
    explain_unknown,
)
from resumer.operator.explaining import explain as explain_pause
from resumer.operator.facts import Fact
from resumer.operator.reading import Reading
from resumer.operator.views import Detail, Filter

from .given import checked
from .options import AsJson, Database, PauseOrThread
from .pause_list import STYLES
from .service import ask
from .shown import echo_json, print_wrapped, printable

__all__ = ["explain"]

MOST_OF_A_THREAD = 50
_OVER = (State.RESUMED, State.DISCARDED)


@dataclass(frozen=True)
class Known:
    """What an id stands for: `pauses` is one, those of a thread (the newest first), or none.

    `pruned_on` is the day on which it went, if it did.
    """

    pauses: tuple[Detail, ...]
    is_thread: bool
    around: Surroundings
    pruned_on: date | None = None


def explain(name: PauseOrThread, *, as_json: AsJson = False, database_url: Database = None) -> None:
    """Say why a pause or a thread is not resumed, and what to do about it.

    Of a thread, each of its pauses is explained, what keeps it first. Exit code 0 if it is known,
    1 if nothing is known of it (any more), 2 if it cannot be done as called.
    """
    name = checked(name_of, "PAUSE|THREAD", name)
    known = ask(database_url, lambda service: _known(service.reading, name))
    now = utc_now()
    (_as_json if as_json else _print)(name, known, now)
    raise typer.Exit(0 if known.pauses else 1)


async def _known(reading: Reading, name: str) -> Known:
    around = await reading.surroundings()
    if detail := await reading.detail(name):
        return Known((detail,), is_thread=False, around=around)
    page = await reading.page(Filter(thread_id=name), limit=MOST_OF_A_THREAD)
    details = [await reading.detail(row.pause_id) for row in page.rows]
    pruned_on = None if details else await reading.pruned_on(name)
    found = tuple(filter(None, details))
    return Known(found, is_thread=True, around=around, pruned_on=pruned_on)


def _as_json(name: str, known: Known, now: datetime) -> None:
    if not known.pauses:
        gone = explain_pruned(name, known.pruned_on) if known.pruned_on else explain_unknown(name)
        echo_json(_told(None, None, gone))
    for pause in known.pauses:
        echo_json(_told(pause.row.pause_id, pause, explain_pause(pause, now, known.around)))


def _told(
    pause_id: str | None, pause: Detail | None, explanation: Explanation
) -> Mapping[str, Any]:
    from resumer.operator.shapes import json_of  # noqa: PLC0415 - loads pydantic, for --json

    return {
        "pause_id": pause_id,
        "thread_id": pause and pause.row.thread_id,
        "state": pause and str(pause.row.state),
        **json.loads(json_of(explanation)),
    }


def _print(name: str, known: Known, now: datetime) -> None:
    console = Console(highlight=False)
    if known.pruned_on:
        _print_explanation(console, explain_pruned(name, known.pruned_on))
    elif not known.pauses:
        _print_unknown(console, name)
    elif not known.is_thread:
        _print_explanation(console, explain_pause(known.pauses[0], now, known.around))
    else:
        _print_thread(console, name, known, now)


def _print_unknown(console: Console, name: str) -> None:
    """The id may be meant as either: what is said of a pause holds for a thread's."""
    as_thread = explain_thread(name, (), utc_now())
    _print_explanation(console, explain_unknown(name))
    console.print()
    print_wrapped(console, as_thread.paragraph)


def _print_thread(console: Console, name: str, known: Known, now: datetime) -> None:
    whole = explain_thread(name, known.pauses, now, known.around)
    count = len(known.pauses)
    pauses = "1 pause" if count == 1 else f"{count} pauses"
    console.print(Text(f"thread {printable(name)}: {pauses}", style="dim"), soft_wrap=True)
    if sum(pause.row.state not in _OVER for pause in known.pauses) != 1:
        console.print(Text(whole.headline, style="bold"))
    for pause in sorted(known.pauses, key=lambda pause: pause.row.state in _OVER):
        console.print()
        _print_of_thread(console, pause, explain_pause(pause, now, known.around))


def _print_of_thread(console: Console, pause: Detail, explanation: Explanation) -> None:
    """In full while it is open; what is over needs a line."""
    row = pause.row
    state = (f"{row.state}", STYLES.get(row.state, ""))
    console.print(Text.assemble((printable(row.pause_id), "bold"), "  ", state), soft_wrap=True)
    if row.state in _OVER:
        print_wrapped(console, explanation.headline, indent=2)
    else:
        _print_explanation(console, explanation, indent=2)


def _print_explanation(console: Console, told: Explanation, *, indent: int = 0) -> None:
    print_wrapped(console, told.headline, style="bold", indent=indent)
    print_wrapped(console, told.paragraph, indent=indent)
    print_wrapped(console, f"→ {told.advice}", indent=indent)
    for command in told.commands:
        console.print(Text(f"{' ' * indent}  {printable(command)}", style="cyan"), soft_wrap=True)
    if told.facts:
        console.print()
        console.print(_facts(told.facts, indent), crop=False)


def _facts(facts: Sequence[Fact], indent: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    longest_word = max(len(word) for _, value in facts for word in value.split() or [""])
    table.add_column(overflow="fold", min_width=min(longest_word, 255))
    for name, value in facts:
        table.add_row(" " * indent + name, Text(printable(value)))
    return table
