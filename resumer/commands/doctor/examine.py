"""All checks, one after another, each with a time limit and none with a secret in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from resumer.db import SCHEMA, Connection, connect
from resumer.errors import DatabaseNotReady, PoolerRefused
from resumer.misspelt import misspelt

from .checkpoints import check_checkpointer, check_indexes
from .database import (
    check_clock,
    check_pooler,
    check_queue,
    check_schema,
    check_worker,
    pooler_refused,
)
from .finding import Finding, fail, ok, warn
from .graphs import check_graphs
from .keys import check_keys
from .langgraph import check_langgraph, check_strict_msgpack
from .looppause import check_api_key, check_signing_key
from .receiver import RECEIVER, WEBHOOK, check_receiver, check_webhook
from .retention import check_retention
from .secret_files import check_secret_files
from .servers import check_servers
from .subject import Subject

__all__ = ["examine"]

LONGEST = 400

F = TypeVar("F", Finding, Finding | None)


async def examine(subject: Subject) -> AsyncIterator[Finding]:
    """Every finding, as soon as there is one."""
    async for finding in _everything(subject):
        yield replace(
            finding, found=_shown(finding.found, subject), mend=_shown(finding.mend, subject)
        )


async def _everything(subject: Subject) -> AsyncIterator[Finding]:
    for finding in (*_settings(subject), *check_keys(subject)):
        yield finding
    if files := check_secret_files(subject):
        yield files
    async for finding in _databases(subject):
        yield finding
    yield check_langgraph()
    yield check_strict_msgpack(subject.env)
    async for finding in check_graphs(subject):
        yield finding
    async for finding in check_servers(subject):
        yield finding
    async for finding in _receiver(subject):
        yield finding
    yield await _timed("looppause", subject, check_api_key(subject))
    signer = await _timed("looppause key", subject, check_signing_key(subject))
    if signer is not None:
        yield signer


def _settings(subject: Subject) -> list[Finding]:
    mend = "set it as it says, and restart what was started without it"
    found = [fail("settings", fault, mend) for fault in subject.faults]
    return [*(found or [ok("settings", "all of them can be read")]), *_misspelt(subject)]


def _misspelt(subject: Subject) -> list[Finding]:
    return [
        warn(
            "settings",
            f"{name} is none of our settings: nothing reads it",
            f"did you mean {closest}? Else unset it" if closest else "unset it",
        )
        for name, closest in misspelt(subject.env).items()
    ]


async def _databases(subject: Subject) -> AsyncIterator[Finding]:
    if not subject.database_url:
        return
    async with _connected("database", subject, subject.database_url, SCHEMA) as (finding, ours):
        yield finding
        if ours is not None:
            url = subject.database_url
            yield await _timed("pooler", subject, check_pooler("pooler", url, ours))
            yield await _timed("clock", subject, check_clock(subject, ours))
            yield await _timed("schema", subject, check_schema(ours))
            yield await _timed("queue schema", subject, check_queue(ours))
            yield await _timed("worker", subject, check_worker(subject, ours))
            yield await _timed("retention", subject, check_retention(subject, ours))
    async for finding in _checkpoints(subject):
        yield finding


async def _checkpoints(subject: Subject) -> AsyncIterator[Finding]:
    url, is_another = subject.checkpoint_url, subject.checkpoint_url != subject.database_url
    async with _connected("checkpoints", subject, url, None) as (finding, theirs):
        if is_another:
            yield finding
        if theirs is None:
            return
        if is_another:
            check = "lock pooler"
            yield await _timed(check, subject, check_pooler(check, url, theirs))
        yield await _timed("checkpointer", subject, check_checkpointer(theirs))
        yield await _timed("indexes", subject, check_indexes(theirs))


async def _receiver(subject: Subject) -> AsyncIterator[Finding]:
    if not subject.webhook_url:
        yield await check_webhook(subject, None)
        return
    for secret in subject.secrets or (None,):
        yield await _timed(WEBHOOK, subject, check_webhook(subject, secret))
    yield await _timed(RECEIVER, subject, check_receiver(subject))


@asynccontextmanager
async def _connected(
    check: str, subject: Subject, url: str, schema: str | None
) -> AsyncIterator[tuple[Finding, Connection | None]]:
    """The connection and what is to be said of it; None if there is none."""
    try:
        async with asyncio.timeout(subject.timeout):
            connection = await connect(url, schema=schema)
    except (DatabaseNotReady, TimeoutError) as error:
        why = str(error) or f"the database does not answer within {subject.timeout:.0f} s"
        yield fail(check, why, _POOLED if "startup parameter" in why else _AWAY), None
        return
    except PoolerRefused:
        yield pooler_refused(check), None
        return
    async with connection:
        info = connection.info
        version = f"{info.server_version // 10000}.{info.server_version % 10000}"
        yield ok(check, f"PostgreSQL {version} answers, database {info.dbname}"), connection


async def _timed(check: str, subject: Subject, work: Awaitable[F]) -> F | Finding:
    try:
        async with asyncio.timeout(subject.timeout):
            return await work
    except TimeoutError:
        found = f"no answer within {subject.timeout:.0f} s"
        return fail(check, found, "see what keeps it busy, or give it longer with --timeout")
    except Exception as error:  # noqa: BLE001  (one check that breaks must not end the others)
        found = f"could not be checked: {type(error).__name__}: {error}"
        return fail(check, found, "see the findings above; what they name comes first")


_AWAY = (
    "see that it runs, and that host, port, user and password are right; what is in it was not "
    "looked at"
)
_POOLED = "a pooler stands before it that takes no `options`: leave them out of the URL"


def _shown(text: str, subject: Subject) -> str:
    """`text` as one short line without anything secret, wherever it came from."""
    for secret in subject.hidden:
        text = text.replace(secret, "•••")
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
