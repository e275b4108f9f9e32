"""Each migration leaves programs of the release before what they work with: a rule, checked.

PostgreSQL itself is asked: what was there before a migration is compared with what is there after.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from resumer.sql import migrations
from tests import postgres

NEWEST = migrations()[-1][0]

# What the rule forbids and we did all the same, with the reason why it does no harm.
ALLOWED = {
    3: {
        "pauses: constraint pauses_state_check has changed",  # it only lets one more state in
        "pauses: index pauses_thread_idx is gone",  # another of that name takes its place
        "pauses: index pauses_page_idx locks it while it is built",  # before the first release
        "pauses: index pauses_agent_idx locks it while it is built",
        "pauses: index pauses_reason_idx locks it while it is built",
        "pauses: index pauses_thread_idx locks it while it is built",
        "pauses: index pauses_received_idx locks it while it is built",
        "pauses: index pauses_resumed_idx locks it while it is built",
    },
    6: {
        "pauses: trigger pauses_not_pruned is new",  # old programs answer 503 where it refuses
        "pauses: index pauses_discarded_idx locks it while it is built",  # of few rows, one read
    },
}

Named = dict[str, str]


@dataclass(frozen=True)
class Table:
    """One table: each part's definition by its name, and where its rows are."""

    columns: Named
    loose: frozenset[str]
    constraints: Named
    indexes: Named
    triggers: Named
    file: int


@dataclass(frozen=True)
class Schema:
    """What a program may depend on."""

    tables: dict[str, Table]
    functions: Named


@pytest.fixture(scope="module")
def database(postgres_server: postgres.Server) -> Iterator[str]:
    """One database for all of them."""
    url = postgres_server.database("template1")
    yield url
    postgres_server.drop(url)


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    """A connection to an empty schema of our own."""
    with psycopg.connect(database, autocommit=True) as opened:
        opened.execute("create schema scratch")
        opened.execute("set search_path to scratch")
        yield opened
        opened.execute("drop schema scratch cascade")


def before(connection: psycopg.Connection, version: int) -> Schema:
    """What the migrations before this version make."""
    for number, script in migrations():
        if number < version:
            connection.execute(script)
    return look(connection)


def look(connection: psycopg.Connection) -> Schema:
    """What there is now."""
    tables = connection.execute(
        "select relname, oid, pg_relation_filenode(oid) from pg_class"
        " where relnamespace = 'scratch'::regnamespace and relkind = 'r'"
    ).fetchall()
    functions = connection.execute(
        "select oid::regprocedure::text, pg_get_function_result(oid) from pg_proc"
        " where pronamespace = 'scratch'::regnamespace"
    ).fetchall()
    return Schema(
        {name: _table(connection, oid, file) for name, oid, file in tables}, dict(functions)
    )


def _table(connection: psycopg.Connection, oid: int, file: int) -> Table:
    def named(query: str) -> Named:
        return dict(connection.execute(query.encode(), (oid,)).fetchall())

    columns = (
        "select attname, format_type(atttypid, atttypmod) || case when attnotnull then ' not null'"
        " else '' end || case when atthasdef then ' default' else '' end"
        " from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped"
    )
    loose = (
        "select attname, '' from pg_attribute where attrelid = %s and attnum > 0"
        " and (not attnotnull or atthasdef or attidentity <> '')"
    )
    return Table(
        named(columns),
        frozenset(named(loose)),
        named(
            "select conname, pg_get_constraintdef(oid) from pg_constraint"
            " where conrelid = %s and contype <> 'n'"
        ),
        named(
            "select relname, indexrelid::text from pg_index"
            " join pg_class on pg_class.oid = indexrelid where indrelid = %s"
        ),
        named(
            "select tgname, tgfoid::regproc::text from pg_trigger"
            " where tgrelid = %s and not tgisinternal"
        ),
        file,
    )


def findings(old: Schema, new: Schema, *, concurrently: bool = False) -> Iterator[str]:
    """What a program of the version before could stumble over."""
    for name, table in old.tables.items():
        if name not in new.tables:
            yield f"{name} is gone"
            continue
        for text in _changes(table, new.tables[name], concurrently=concurrently):
            yield f"{name}: {text}"
    for signature, result in old.functions.items():
        if new.functions.get(signature) != result:
            yield f"function {signature} is gone or has changed"


def _changes(old: Table, new: Table, *, concurrently: bool) -> Iterator[str]:
    for column, kind in old.columns.items():
        if new.columns.get(column) != kind:
            yield f"column {column} was {kind}, is {new.columns.get(column)}"
    for column in set(new.columns) - set(old.columns) - new.loose:
        yield f"column {column} must be given, and old programs do not"
    for name, definition in new.constraints.items():
        if old.constraints.get(name) != definition:
            yield f"constraint {name} {'has changed' if name in old.constraints else 'is new'}"
    for name in set(new.triggers) ^ set(old.triggers):
        yield f"trigger {name} is {'new' if name in new.triggers else 'gone'}"
    for name, _ in old.indexes.items() - new.indexes.items():
        yield f"index {name} is gone"
    for name, _ in set() if concurrently else new.indexes.items() - old.indexes.items():
        yield f"index {name} locks it while it is built"
    if old.file != new.file:
        yield "every row is written anew, under a lock"


@pytest.mark.parametrize("version", [number for number, _ in migrations()[1:]])
def test_old_programs_keep_what_they_know(connection: psycopg.Connection, version: int) -> None:
    """Nothing gone, nothing renamed, nothing that must be given, no table locked for long."""
    script, old = dict(migrations())[version], before(connection, version)
    connection.execute(script)
    found = set(findings(old, look(connection), concurrently="concurrently" in script))
    assert found == ALLOWED.get(version, set())


TRIGGER = """
create function f() returns trigger language plpgsql as 'begin return new; end';
create trigger t before update on audit for each row execute function f()
"""
BREAKS = [
    ("alter table pauses drop column responder", "column responder was text, is None"),
    ("alter table pauses rename column responder to who", "column responder was text, is None"),
    ("alter table pauses alter attempts type bigint", "is bigint not null default"),
    ("alter table pauses alter attempts type bigint", "every row is written anew"),
    ("alter table pauses alter agent_id set not null", "is text not null"),
    ("alter table pauses alter deliveries drop default", "column deliveries was"),
    ("alter table pauses add column x text not null default clock_timestamp()::text", "written anew"),
    ("alter table sweeps add column x text; alter table sweeps add check (x <> '')", "is new"),
    ("create index x_idx on events (at)", "index x_idx locks it"),
    ("drop index pauses_waiting_idx", "index pauses_waiting_idx is gone"),
    ("drop table conflicts", "conflicts is gone"),
    ("alter table holds rename to held", "holds is gone"),
    (TRIGGER, "trigger t is new"),
]  # fmt: skip


@pytest.mark.parametrize("script, said", BREAKS)
def test_the_rule_finds_what_breaks_old_programs(
    connection: psycopg.Connection, script: str, said: str
) -> None:
    """Each of the changes it is there to keep out."""
    old = before(connection, NEWEST + 1)
    connection.execute(script.encode())
    assert any(said in text for text in findings(old, look(connection)))


def test_what_the_rule_lets_through(connection: psycopg.Connection) -> None:
    """New tables, new columns that need not be given, and indexes that lock nobody out."""
    old = before(connection, NEWEST + 1)
    connection.execute(
        "create table notes (id int primary key); create index notes_idx on notes (id);"
        "alter table pauses add column note text, add column n int not null default 0"
    )
    connection.execute("create index concurrently if not exists pauses_n_idx on pauses (n)")
    assert list(findings(old, look(connection), concurrently=True)) == []


def test_a_concurrent_index_is_alone_in_its_migration() -> None:
    """It runs outside a transaction: whatever stood beside it would be half done where it fails."""
    for number, script in migrations():
        code = " ".join(line.partition("--")[0].strip() for line in script.splitlines()).strip()
        if "concurrently" in code:
            assert code.rstrip("; ").count(";") == 0, number
            assert "index concurrently if not exists" in code, number
