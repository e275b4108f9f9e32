"""The plans of statements that the code sends, while it sends them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from resumer.db import Connection, Pool, open_pool

__all__ = ["Plan", "plans_of"]

_TOLD = {"Node Type", "Index Name", "Relation Name", "Filter", "Plan Rows"}
_OURS = (b"select", b"with", b"insert", b"update", b"delete", b"--")


@dataclass(frozen=True)
class Plan:
    """How one statement is done. `is_generic`: for whatever parameters come."""

    statement: str
    is_generic: bool
    steps: tuple[dict[str, Any], ...]

    @property
    def indexes(self) -> frozenset[str]:
        """The indexes that are read, or that say where a row exists already."""
        read = {step["Index Name"] for step in self.steps if "Index Name" in step}
        return frozenset(read.union(*(s.get("Conflict Arbiter Indexes", ()) for s in self.steps)))

    @property
    def read_whole(self) -> frozenset[str]:
        """The tables that are read from end to end."""
        scans = [step for step in self.steps if step["Node Type"] == "Seq Scan"]
        return frozenset(step["Relation Name"] for step in scans)

    def __str__(self) -> str:
        kind = "for any parameters" if self.is_generic else "for these parameters"
        steps = "\n".join(
            f"{name}: {step[name]}" for step in self.steps for name in _TOLD & set(step)
        )
        return f"{kind}, cost {self.cost}:\n{self.statement}\n{steps}"

    @property
    def cost(self) -> float:
        """What the planner takes it to cost: from 100,000 on, it would compile it."""
        return float(self.steps[0]["Total Cost"])


class _Noting(psycopg.AsyncCursor[Any]):
    asked: list[tuple[bytes, Any]]

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        text = query.encode() if isinstance(query, str) else query
        text = text if isinstance(text, bytes) else text.as_bytes(self.connection)
        if text.lstrip().lower().startswith(_OURS):
            self.asked.append((text, params))
        return await super().execute(query, params, **options)


async def plans_of(
    url: str, schema: str | None, work: Callable[[Pool], Awaitable[object]]
) -> list[Plan]:
    """Every statement that `work` sends, planned for its parameters and for any."""

    class Noting(_Noting):
        asked: list[tuple[bytes, Any]] = []  # noqa: RUF012  # of this call

    async with open_pool(url, size=1, schema=schema, name="noting") as pool:
        async with pool.connection() as connection:
            connection.cursor_factory = Noting
        await work(pool)
        async with pool.connection() as connection:
            connection.cursor_factory = psycopg.AsyncCursor
            custom = [await _custom(connection, *asked) for asked in list(Noting.asked)]
            return custom + await _generic(connection)


async def _custom(connection: Connection, text: bytes, params: Any) -> Plan:
    cursor = await connection.execute(b"explain (format json) " + text, params, prepare=False)
    return _plan(text.decode(), await cursor.fetchall(), is_generic=False)


async def _generic(connection: Connection) -> list[Plan]:
    """Of what the connection holds prepared: as it is planned from its sixth time on."""
    await connection.execute("set plan_cache_mode = force_generic_plan")
    cursor = await connection.execute(_PREPARED, prepare=False)
    plans = []
    for row in await cursor.fetchall():
        nothing = sql.SQL(", ").join([sql.SQL("null")] * row["parameters"])
        values = sql.SQL("({})").format(nothing) if row["parameters"] else sql.SQL("")
        query = sql.SQL("explain (format json) execute {}{}")
        explained = await connection.execute(
            query.format(sql.Identifier(row["name"]), values), prepare=False
        )
        plans.append(_plan(row["statement"], await explained.fetchall(), is_generic=True))
    return plans


_PREPARED = """
select name, statement, cardinality(parameter_types) as parameters from pg_prepared_statements
where statement ~* '^\\s*(select|with|insert|update|delete|--)'
"""


def _plan(statement: str, rows: list[dict[str, Any]], *, is_generic: bool) -> Plan:
    [row] = rows
    return Plan(statement, is_generic, tuple(_steps(row["QUERY PLAN"][0]["Plan"])))


def _steps(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(step for child in plan.get("Plans", []) for step in _steps(child))]
