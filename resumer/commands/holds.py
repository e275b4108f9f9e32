"""`resumer hold` and `resumer release`: stop resuming an agent's threads, and let them go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from resumer.model import utc_now
from resumer.operator.acting import EVERY_AGENT
from resumer.operator.asking import name_of
from resumer.operator.views import Filter, Held
from resumer.operator.wording import ago

from .completing import agent_ids, held_ids
from .given import checked, reason_of, who
from .options import AsJson, By, Database
from .service import Service, ask
from .shown import echo_json, printable

__all__ = ["hold", "release"]


def hold(
    agent: Annotated[
        str | None,
        typer.Argument(
            metavar="AGENT",
            help="The agent_id of its gates; * for all. Without it, list what is held.",
            autocompletion=agent_ids,
        ),
    ] = None,
    *,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, for the audit and whoever looks later.")
    ] = None,
    by: By = None,
    as_json: AsJson = False,
    database_url: Database = None,
) -> None:
    """Resume no thread of an agent until it is released, to pause and drain it.

    Answers are taken as ever and kept; what runs goes on to its end or its next gate. Exit code 0
    if it is held (or was before), 2 if it cannot be done as called.
    """
    if agent is None:
        _show(ask(database_url, lambda service: service.reading.holds()), as_json=as_json)
        return
    agent_id, why, name = checked(name_of, "AGENT", agent), reason_of(reason), who(by)

    async def act(service: Service) -> tuple[bool, Held | None, bool]:
        is_new = await service.acting.hold(agent_id, by=name, reason=why)
        held = {held.agent_id: held for held in await service.reading.holds()}
        seen = await service.reading.page(Filter(agent_id=agent_id), limit=1)
        return is_new, held.get(agent_id), bool(seen.rows) or agent_id == EVERY_AGENT

    is_new, held, is_known = ask(database_url, act)
    if not is_known:
        unknown = f"no pause of an agent {agent_id!r} has been seen: is it spelt so?"
        typer.echo(printable(f"resumer: {unknown}"), err=True)
    if as_json:
        echo_json(asdict(held) if held else {"agent_id": agent_id, "held_at": None})
    else:
        typer.echo(printable(_told(agent_id, held, is_new=is_new)))


def release(
    agent: Annotated[
        str,
        typer.Argument(
            metavar="AGENT", help="The agent that is held; * if all are.", autocompletion=held_ids
        ),
    ],
    *,
    by: By = None,
    as_json: AsJson = False,
    database_url: Database = None,
) -> None:
    """Let an agent's threads go on, those that had to wait at once.

    `*` ends the hold on all agents, not those of single ones. Exit code 0 if it is released, 1 if
    it was not held, 2 if it cannot be done as called.
    """
    agent_id, name = checked(name_of, "AGENT", agent), who(by)
    released = ask(database_url, lambda service: service.acting.release(agent_id, by=name))
    if as_json:
        echo_json({"agent_id": agent_id, "released": released})
    else:
        told = "is released: what waited goes on" if released else "is not held"
        typer.echo(printable(f"{_agent(agent_id)} {told}"), err=not released)
    raise typer.Exit(0 if released else 1)


def _agent(agent_id: str) -> str:
    return "every agent" if agent_id == EVERY_AGENT else agent_id


def _told(agent_id: str, held: Held | None, *, is_new: bool) -> str:
    agent = _agent(agent_id)
    if held is None:
        return f"{agent} was released again by somebody else"
    if not is_new:
        why = f": {held.reason}" if held.reason else ""
        return f"{agent} is held already, by {held.held_by}, {ago(held.held_at, utc_now())}{why}"
    if held.running:
        threads = (
            "1 thread still runs" if held.running == 1 else f"{held.running} threads still run"
        )
        return f"{agent} is held; {threads} to the end or the next gate"
    return f"{agent} is held; none of its threads runs"


def _show(held: Sequence[Held], *, as_json: bool) -> None:
    if as_json:
        for each in held:
            echo_json(asdict(each))
        return
    console, now = Console(highlight=False), utc_now()
    if not held:
        console.print("No agent is held.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("agent", "still running", "held", "by", "reason"):
        table.add_column(column, overflow="fold")
    for each in held:
        told = (each.agent_id, str(each.running), ago(each.held_at, now), each.held_by, each.reason)
        table.add_row(*(Text(printable(text or "")) for text in told))
    console.print(table)
