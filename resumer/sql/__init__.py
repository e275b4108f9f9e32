"""SQL kept as SQL: each statement in a file of its own."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString

__all__ = ["migrations", "statement"]


@cache
def statement(name: str) -> LiteralString:
    """The text of `name`.sql."""
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def migrations() -> list[tuple[int, LiteralString]]:
    """Every migration of our own schema, in order, with its number."""
    folder = files(__name__).joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(name[:3]), statement(f"migrations/{name.removesuffix('.sql')}")) for name in names]
