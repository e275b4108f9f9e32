"""`resumer prune`: write what ended long ago to a file, then delete it, here and now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resumer.archive import Archive
from resumer.db import open_pool
from resumer.environment import EnvironmentReader
from resumer.model import utc_now
from resumer.operator.wording import moment
from resumer.settings import Settings

from .dev_env import environment
from .given import agreed, moment_of, who
from .options import By, Database, Yes
from .progress import counting
from .refusal import CommandRefused
from .service import Service, ask, reach
from .shown import echo_json

if TYPE_CHECKING:
    from resumer.retention import Retention

__all__ = ["prune"]

DEFAULT_DAYS = 90.0
MOST = 100_000_000


@dataclass(frozen=True)
class _Task:
    """What is to be pruned, and how."""

    before: datetime
    archive: Archive | None
    by: str
    checkpoint_url: str


def prune(
    *,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="AGE",
            help="What ended before: 30d, or a time (UTC); else RESUMER_RETENTION_DAYS, or 90d.",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A new file for what is pruned; else RESUMER_AUDIT_DIR has it."
        ),
    ] = None,
    without_export: Annotated[
        bool, typer.Option("--without-export", help="Delete it, and keep no copy.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many pauses have ended before.")
    ] = False,
    yes: Yes = False,
    by: By = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    database_url: Database = None,
) -> None:
    """Prune pauses that ended long ago, with what is told of them: first to a file, then for good.

    Only what is resumed or discarded goes, and nothing that a thread still waits at; what is
    waiting, failed or parked stays, however old. `resumer verify` checks the file as it does an
    export. An answer that comes again later is still known for what it is. The workers do the same
    by themselves where RESUMER_AUDIT_DIR is set. Exit code 0 if it is done, 1 if another process
    prunes or you have not agreed, 2 if it cannot be done as called.
    """
    env, now = environment(), utc_now()
    before = moment_of("--older-than", older_than, now) or _by_the_settings(now, env)
    archive = None if dry_run else _archive(export, env, without_export=without_export)
    _, checkpoint_url = Settings.database_urls(database_url, None, env)
    task = _Task(before, archive, who(by), checkpoint_url)
    ended = ask(database_url, lambda service: _count(service, task))
    if ended and not dry_run:
        if not agreed(f"Prune {_told(ended)} that ended before {moment(before)}?", yes=yes):
            raise typer.Exit(1)
        pruned, kept = ask(database_url, lambda service: _prune(service, task, ended))
    else:
        pruned, kept = 0, 0
    _tell(task, ended, pruned, kept, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(0 if dry_run or pruned + kept or not ended else 1)


def _by_the_settings(now: datetime, env: Mapping[str, str]) -> datetime:
    reader = EnvironmentReader(env)
    days = reader.settings().get("retention_days", DEFAULT_DAYS)
    if faults := [fault for fault in reader.faults if fault.startswith("RESUMER_RETENTION_DAYS")]:
        raise CommandRefused(faults[0])
    if not days:
        raise CommandRefused(
            "RESUMER_RETENTION_DAYS is 0, which keeps everything: say --older-than"
        )
    return now - timedelta(days=days)


def _archive(
    export: Path | None, env: Mapping[str, str], *, without_export: bool
) -> Archive | None:
    folder = env.get("RESUMER_AUDIT_DIR", "").strip()
    if export is not None and without_export:
        raise typer.BadParameter("choose --export or --without-export, not both")
    if without_export:
        return None
    if export is None and not folder:
        raise CommandRefused(
            "say --export FILE to have what is pruned written there first, or --without-export to "
            "delete it"
        )
    archive = Archive(Path(folder)) if export is None else Archive(export, is_file=True)
    if archive.is_file:
        for file in (archive.file_for("pauses", utc_now()), archive.file_for("acts", utc_now())):
            if file.exists():
                raise CommandRefused(f"{file} is there already: choose another name")
    return archive


async def _count(service: Service, task: _Task) -> int:
    async with _retention(service, task) as retention:
        return await retention.count(task.before, most=MOST)


async def _prune(service: Service, task: _Task, ended: int) -> tuple[int, int]:
    """How many went, and how many had to stay; noted in the audit as far as it came."""
    pruned = kept = 0
    async with _retention(service, task) as retention:
        try:
            with counting("pauses", ended) as advance:
                async for batch in retention.pauses(task.before, task.archive, most=MOST):
                    pruned, kept = pruned + batch.pauses, kept + len(batch.kept)
                    advance(batch.examined)
            await retention.acts(task.before, task.archive)
        except OSError as error:
            raise CommandRefused(
                f"{error.filename or 'the export'} cannot be written: {error.strerror or error}; "
                f"{_told(pruned)} pruned before that"
            ) from error
        finally:
            if pruned:
                place = str(task.archive.place.absolute()) if task.archive else None
                told = {"before": task.before.isoformat(), "exported_to": place}
                await retention.told(task.by, {"pauses": pruned, **told})
    return pruned, kept


@asynccontextmanager
async def _retention(service: Service, task: _Task) -> AsyncIterator[Retention]:
    from resumer.retention import Retention  # noqa: PLC0415 - loads LangGraph, which --help need not

    await reach(task.checkpoint_url)
    pool, named = service.exporting.pool, service.exporting.named
    async with open_pool(task.checkpoint_url, size=1, name="checkpoints") as checkpoints:
        yield Retention(pool, checkpoints, named)


def _tell(task: _Task, ended: int, pruned: int, kept: int, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        told = {"dry_run": dry_run, "before": task.before, "ended": ended}
        echo_json({**told, "pruned": pruned, "kept": kept})
        return
    if dry_run or not ended:
        typer.echo(f"{_told(ended)} ended before {moment(task.before)}.")
        return
    if not pruned + kept:
        typer.echo("Nothing is pruned: another process is at it just now.", err=True)
        return
    place = f", written to {task.archive.place}" if task.archive else ""
    stay = f"; {_told(kept)} stayed, where a thread still waits" if kept else ""
    typer.echo(f"{_told(pruned)} pruned{place}{stay}.")


def _told(count: int) -> str:
    return "1 pause" if count == 1 else f"{count} pauses"
