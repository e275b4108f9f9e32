"""What is in a database, seen as the superuser."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

__all__ = ["rows", "schema"]


def rows(url: str, query: str, *parameters: Any) -> list[dict[str, Any]]:
    """Run a statement as the superuser."""
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        cursor = connection.execute(query.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []


def schema(url: str) -> Any:
    """All that migrating makes, by name and definition."""
    columns = "select table_schema, table_name, column_name, data_type, column_default from information_schema.columns"
    wanted = "where table_schema in ('public', 'resumer') order by 1, 2, 3"
    indexes = "select indexname, indexdef from pg_indexes where schemaname in ('public', 'resumer') order by 1"
    routines = "select proname, prosrc from pg_proc where pronamespace in ('public'::regnamespace, 'resumer'::regnamespace) order by 1, 2"
    return rows(url, f"{columns} {wanted}"), rows(url, indexes), rows(url, routines)
