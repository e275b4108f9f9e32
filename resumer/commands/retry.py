"""`resumer retry`: take parked or failed pauses up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from resumer.model import State, utc_now
from resumer.operator.acting import RETRIABLE, Acting, NotPossible
from resumer.operator.asking import name_of
from resumer.operator.limits import MOST_MATCHING
from resumer.operator.views import Filter

from .given import agreed, checked, filter_of, who
from .options import (
    Agent,
    AsJson,
    By,
    Database,
    Newer,
    Older,
    OpenPauses,
    Reason,
    States,
    TextIn,
    Thread,
    Yes,
)
from .service import ask
from .shown import echo_json, printable

__all__ = ["retry"]

MOST_NAMED = 20


def retry(
    pause_ids: OpenPauses = None,
    *,
    state: States = None,
    agent: Agent = None,
    thread: Thread = None,
    reason: Reason = None,
    older: Older = None,
    newer: Newer = None,
    text: TextIn = None,
    all_parked: Annotated[
        bool, typer.Option("--all-parked", help="The same as --state parked.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say which would be taken up again.")
    ] = False,
    yes: Yes = False,
    by: By = None,
    as_json: AsJson = False,
    database_url: Database = None,
) -> None:
    """Take parked or failed pauses up again, at once, from the start of their retries.

    Give pause ids, or options that narrow: then what matches is shown, and taken up when you have
    agreed (--yes agrees, --dry-run only shows). The audit notes who did it. Exit code 0 if each is
    on its way, 1 if one cannot be retried or you have not agreed, 2 if it cannot be done as called.
    """
    states = [*(state or ()), *([State.PARKED] if all_parked else ())]
    wanted = filter_of(
        utc_now(),
        states=states,
        agent=agent,
        thread=thread,
        reason=reason,
        older=older,
        newer=newer,
        text=text,
    )
    if bool(pause_ids) == (wanted != Filter()):
        raise typer.BadParameter("give pause ids, or what narrows: --agent, --all-parked, ...")
    if strange := set(states) - set(RETRIABLE):
        raise typer.BadParameter(f"--state: nothing is retried that is {min(strange)}")
    if pause_ids and dry_run:
        raise typer.BadParameter("--dry-run is for what narrows; `resumer explain` tells of one")
    name = who(by)
    if not pause_ids:
        raise typer.Exit(
            _matching(database_url, wanted, name, dry_run=dry_run, yes=yes, as_json=as_json)
        )
    named = [checked(name_of, "PAUSE", pause_id) for pause_id in dict.fromkeys(pause_ids)]
    results = ask(database_url, lambda service: _named(service.acting, named, name))
    raise typer.Exit(_tell(results, as_json=as_json))


@dataclass(frozen=True)
class _Result:
    """Whether this pause was taken up again; without `refused` it is on its way already."""

    pause_id: str
    retried: bool
    refused: str | None = None


async def _named(acting: Acting, pause_ids: Sequence[str], by: str) -> list[_Result]:
    """All of them in one act, for one entry in the audit; then ask why of those it left."""
    retried = await acting.retry(pause_ids, by=by)
    return [
        _Result(pause_id, retried=True) if pause_id in retried else await _one(acting, pause_id, by)
        for pause_id in pause_ids
    ]


async def _one(acting: Acting, pause_id: str, by: str) -> _Result:
    try:
        return _Result(pause_id, await acting.retry_one(pause_id, by=by))
    except NotPossible as error:
        return _Result(pause_id, retried=False, refused=str(error))


def _tell(results: Sequence[_Result], *, as_json: bool) -> int:
    for result in results:
        if as_json:
            echo_json(asdict(result))
            continue
        told = "is taken up again" if result.retried else result.refused or "is on its way already"
        text = printable(f"{result.pause_id}: {told}")
        typer.echo(text, err=result.refused is not None)
    return 1 if any(result.refused for result in results) else 0


def _matching(
    database_url: str | None, wanted: Filter, by: str, *, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """Look, ask, act: each with a connection of its own, since asking may take its time."""

    def matching(*, dry_run: bool) -> list[str]:
        return ask(
            database_url,
            lambda service: service.acting.retry_matching(wanted, by=by, dry_run=dry_run),
        )

    found = matching(dry_run=True)
    is_done = bool(found) and not dry_run
    if is_done:
        if not yes:
            _name(found)
        if not agreed(f"Take {_pauses(found)} up again?", yes=yes):
            return 1
        found = matching(dry_run=False)
    if as_json:
        echo_json({"dry_run": dry_run, "count": len(found), "pause_ids": found})
        return 0
    if not is_done:
        _name(found, err=False)
    typer.echo(_summary(found, is_done=is_done))
    return 0


def _summary(found: Sequence[str], *, is_done: bool) -> str:
    if not found:
        return "Nothing that is parked or failed matches."
    again = " (as many as at once: run it again for more)" if len(found) >= MOST_MATCHING else ""
    return f"{_pauses(found)} {'taken' if is_done else 'would be taken'} up again.{again}"


def _name(pause_ids: Sequence[str], *, err: bool = True) -> None:
    for pause_id in pause_ids[:MOST_NAMED]:
        typer.echo(f"  {printable(pause_id)}", err=err)
    if len(pause_ids) > MOST_NAMED:
        typer.echo(f"  and {len(pause_ids) - MOST_NAMED} more", err=err)


def _pauses(pause_ids: Sequence[str]) -> str:
    return "1 pause" if len(pause_ids) == 1 else f"{len(pause_ids)} pauses"
