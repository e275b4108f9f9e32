"""Our database: does it answer, directly, with the tables of this version, and what time is it?"""

from __future__ import annotations

import re
from importlib.metadata import version

from procrastinate.schema import SchemaManager

from resumer.db import SCHEMA, Connection
from resumer.errors import DatabaseNotReady, PoolerRefused
from resumer.migrate import check_migrated
from resumer.pooler import is_direct, refuse_transaction_pooler
from resumer.queue_schema import check_queue_migrated, waiting_scripts

from .finding import Finding, fail, ok, warn
from .subject import Subject

__all__ = [
    "check_clock",
    "check_pooler",
    "check_queue",
    "check_schema",
    "check_worker",
    "pooler_refused",
]

SKEW_SECONDS = 5.0
WORST_SKEW_SECONDS = 60.0


async def check_pooler(check: str, url: str, connection: Connection) -> Finding:
    """Whether a session is ours alone, as locks and LISTEN need it."""
    if await is_direct(connection):
        return ok(check, "a direct connection")
    try:
        await refuse_transaction_pooler(url, connection)
    except PoolerRefused:
        return pooler_refused(check)
    return ok(check, "behind a pooler in session mode")


def pooler_refused(check: str) -> Finding:
    """What is wrong with a pooler in transaction mode."""
    return fail(
        check,
        "behind a pooler in transaction mode, where thread locks, search_path and LISTEN do not "
        "hold",
        "give a direct connection (usually port 5432), or set the pooler's pool_mode to "
        "session for it",
    )


async def check_clock(subject: Subject, connection: Connection) -> Finding:
    """How far this machine's clock is from the database's."""
    before = subject.clock()
    cursor = await connection.execute("select clock_timestamp() as now")
    row = await cursor.fetchone()
    after = subject.clock()
    skew = (before + (after - before) / 2 - row["now"]).total_seconds() if row else 0.0
    if abs(skew) <= SKEW_SECONDS:
        return ok("clock", f"within {max(0.1, round(abs(skew), 1))} s of the database's")
    side = "ahead of" if skew > 0 else "behind"
    found = f"this machine's is {abs(skew):.0f} s {side} the database's"
    mend = "run a time service (chrony, systemd-timesyncd) on both: deadlines are judged by them"
    return (fail if abs(skew) > WORST_SKEW_SECONDS else warn)("clock", found, mend)


async def check_schema(connection: Connection) -> Finding:
    """Whether our own tables are those of this version."""
    try:
        await check_migrated(connection)
    except DatabaseNotReady as error:
        return fail("schema", str(error), "run `resumer migrate`")
    cursor = await connection.execute("select max(version) as version from migrations")
    row = await cursor.fetchone()
    return ok("schema", f"version {row['version'] if row else None}, current")


async def check_queue(connection: Connection) -> Finding:
    """Whether Procrastinate's tables and functions are those of the installed version."""
    wanted = set(re.findall(r"CREATE (?:FUNCTION|TABLE) (\w+)", SchemaManager.get_schema()))
    cursor = await connection.execute(
        "select relname as name from pg_class where relnamespace = to_regnamespace(%(schema)s)"
        " union select proname from pg_proc where pronamespace = to_regnamespace(%(schema)s)",
        {"schema": SCHEMA},
    )
    missing = wanted - {row["name"] for row in await cursor.fetchall()}
    if missing == wanted:
        return fail("queue schema", "it does not exist", "run `resumer migrate`")
    try:
        await check_queue_migrated(connection)
    except DatabaseNotReady as error:
        return fail("queue schema", str(error), "run `resumer migrate` of the newest release here")
    installed = f"that of Procrastinate {version('procrastinate')}"
    if await waiting_scripts(connection):
        later = "older releases can go on; once none runs: `resumer migrate --finish`"
        return ok("queue schema", f"{installed}; {later}")
    if not missing:
        return ok("queue schema", installed)
    return fail(
        "queue schema",
        f"not {installed}: {len(missing)} of {len(wanted)} parts are missing, such as "
        f"{min(missing)}",
        "somebody has dropped them after `resumer migrate`: take them from `procrastinate schema "
        f"--read`, with search_path={SCHEMA}",
    )


async def check_worker(subject: Subject, connection: Connection) -> Finding:
    """Whether somebody resumes what is received."""
    cursor = await connection.execute(
        "select count(*) filter (where silent <= %s) as live, min(silent) as latest"
        " from (select extract(epoch from now() - last_heartbeat) as silent"
        " from procrastinate_workers) as workers",
        (subject.stall_seconds,),
    )
    row = await cursor.fetchone() or {"live": 0, "latest": None}
    if row["live"]:
        many = f"{row['live']} running" if row["live"] > 1 else "one is running"
        return ok("worker", f"{many}, heard from {row['latest']:.0f} s ago")
    last = "" if row["latest"] is None else f"; the last was heard from {row['latest']:.0f} s ago"
    return fail(
        "worker",
        f"none is running: proofs are recorded, and no thread is resumed{last}",
        "start `resumer worker`, or `resumer serve`, which is receiver and worker in one",
    )
