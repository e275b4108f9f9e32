"""`resumer threads prune`: shorten the histories of threads that have settled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from resumer.db import open_pool
from resumer.histories import Histories, Left, Shortened
from resumer.locks import ThreadLocks
from resumer.migrate import check_checkpoints_migrated
from resumer.model import utc_now
from resumer.operator.asking import name_of
from resumer.settings import Settings

from .completing import thread_ids
from .dev_env import environment
from .given import agreed, checked, moment_of, who
from .options import By, Database, Yes
from .progress import counting
from .service import Service, ask, reach
from .shown import echo_json, printable

__all__ = ["prune"]

MOST_NAMED = 20


@dataclass(frozen=True)
class _Task:
    """Which threads: those named, else those that have done nothing since `before`."""

    named: Sequence[str]
    before: datetime | None
    checkpoint_url: str


def prune(
    *,
    thread: Annotated[
        list[str] | None,
        typer.Option(
            metavar="THREAD", help="This thread, once for each.", autocompletion=thread_ids
        ),
    ] = None,
    settled_before: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Threads that did nothing since: 30d, or a time (UTC)."),
    ] = None,
    keep_latest: Annotated[
        bool,
        typer.Option("--keep-latest", help="Say it: all but the latest checkpoint is deleted."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Yes = False,
    by: By = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a thread.")] = False,
    database_url: Database = None,
) -> None:
    """Delete all but the latest checkpoint of threads that have settled.

    A thread that hibernates, or has a pause that has not ended, is left as it is, and so is one
    that is being resumed. What goes are the steps that led to where it stands: its state stays,
    and it can be run on. What would go is shown first, and done when you have agreed. Exit code 0
    if it is done, 1 if a thread that was named is left or you have not agreed, 2 if it cannot be
    done as called.
    """
    if not keep_latest:
        raise typer.BadParameter("say --keep-latest: it is all that can be kept")
    if bool(thread) == bool(settled_before):
        raise typer.BadParameter("give --thread, or --settled-before")
    named = [checked(name_of, "--thread", each) for each in dict.fromkeys(thread or ())]
    before = moment_of("--settled-before", settled_before, utc_now())
    _, url = Settings.database_urls(database_url, None, environment())
    name, task = who(by), _Task(named, before, url)
    ended = ask(database_url, lambda service: _all(service, task, None))
    would = [each for each in ended if isinstance(each, Shortened)]
    if would and not dry_run:
        if not agreed(f"Delete {_told(would)}?", yes=yes):
            raise typer.Exit(1)
        again = _Task([each.thread_id for each in would], None, url)
        left = [each for each in ended if isinstance(each, Left)]
        ended = [*left, *ask(database_url, lambda service: _all(service, again, name))]
    _tell(ended, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(1 if named and any(isinstance(each, Left) for each in ended) else 0)


async def _all(service: Service, task: _Task, by: str | None) -> list[Shortened | Left]:
    """One thread after another; with nobody who acts, nothing is done."""
    ended: list[Shortened | Left] = []
    async with _histories(service, task.checkpoint_url) as histories:
        try:
            with counting("threads", len(task.named) or None) as advance:
                async for thread_id in _wanted(histories, task):
                    ended.append(await histories.keep_latest(thread_id, dry_run=by is None))
                    advance(1)
        finally:
            done = [each for each in ended if isinstance(each, Shortened)]
            if by is not None and done:
                await histories.told(by, len(done), sum(each.checkpoints for each in done))
    return ended


async def _wanted(histories: Histories, task: _Task) -> AsyncIterator[str]:
    for thread_id in task.named:
        yield thread_id
    if task.before is not None:
        async for thread_id in histories.settled_before(task.before):
            yield thread_id


@asynccontextmanager
async def _histories(service: Service, url: str) -> AsyncIterator[Histories]:
    await reach(url)
    pool = service.exporting.pool
    async with (
        open_pool(url, size=2, name="checkpoints") as checkpoints,
        ThreadLocks(url).running() as locks,
    ):
        async with checkpoints.connection() as connection:
            await check_checkpoints_migrated(connection)
        yield Histories(pool, checkpoints, locks)


def _tell(ended: Sequence[Shortened | Left], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        for each in ended:
            echo_json(_row(each, dry_run=dry_run))
        return
    done = [each for each in ended if isinstance(each, Shortened)]
    left = [each for each in ended if isinstance(each, Left)]
    for each in left[:MOST_NAMED]:
        typer.echo(printable(f"{each.thread_id} is left: {each.reason}"), err=True)
    if len(left) > MOST_NAMED:
        typer.echo(f"and {len(left) - MOST_NAMED} more are left", err=True)
    typer.echo(f"{_told(done)} {'would be deleted' if dry_run else 'deleted'}.")


def _row(each: Shortened | Left, *, dry_run: bool) -> dict[str, object]:
    told: dict[str, object] = {"thread_id": each.thread_id, "dry_run": dry_run}
    if isinstance(each, Left):
        return {**told, "checkpoints": 0, "left": each.code, "reason": each.reason}
    return {**told, "checkpoints": each.checkpoints, "left": None, "reason": None}


def _told(done: Sequence[Shortened]) -> str:
    count = sum(each.checkpoints for each in done)
    checkpoints = "1 checkpoint" if count == 1 else f"{count} checkpoints"
    return f"{checkpoints} of {'1 thread' if len(done) == 1 else f'{len(done)} threads'}"
