"""The tables in which flows hibernate, as SQL kept as SQL. Needs no CrewAI.

`create_tables` makes them: safe to repeat, and from several processes at once.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import LiteralString

__all__ = ["flow_lock", "lock_key", "statement"]

NAMESPACE = 0x4C50  # "LP": keeps our advisory locks apart from those of others


@cache
def statement(name: str) -> LiteralString:
    """The text of `name`.sql."""
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def flow_lock(flow_id: str) -> str:
    """The name of the lock that whoever resumes the flow holds; no thread has such an id."""
    return f"crewai-flow:{flow_id}"


def lock_key(name: str) -> tuple[int, int]:
    """The two keys of the advisory lock of this name: the same for everybody who resumes."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return NAMESPACE, int.from_bytes(digest[:4], "big", signed=True)
