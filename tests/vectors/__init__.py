"""The 56 signed and hostile proofs that every part is held to, ready to use as a table.

@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_something(vector: Vector) -> None: ...
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PUBLIC_KEY", "PUBLIC_KEYS", "SECRET", "SECRETS", "VECTORS", "Vector", "vector_named"]

_TABLE: dict[str, Any] = json.loads(Path(__file__).with_name("proofs.json").read_text())

SECRET: str = _TABLE["secrets"]["current"]
SECRETS: tuple[str, ...] = (SECRET, _TABLE["secrets"]["previous"])
PUBLIC_KEY: str = _TABLE["ed25519_public_keys"]["current"]
# The table's other key is a stranger's: it signed `ed25519_wrong_key`.
PUBLIC_KEYS: tuple[str, ...] = (PUBLIC_KEY,)


@dataclass(frozen=True)
class Vector:
    """One body as it comes over the wire, and the verdict it must get."""

    name: str
    scheme: str
    body: bytes
    expect: str
    human_authorized: bool | None
    accepted_by_0_1_0: bool | None

    def __str__(self) -> str:
        return self.name

    @property
    def parsed(self) -> dict[str, Any]:
        """The body as `json.loads` gives it."""
        value: dict[str, Any] = json.loads(self.body)
        return value


def vector_named(name: str) -> Vector:
    """Return one row of the table."""
    return next(vector for vector in VECTORS if vector.name == name)


def _body(row: dict[str, Any]) -> bytes:
    if "body_base64" in row:
        return base64.b64decode(row["body_base64"])
    if repeat := row.get("body_repeat"):
        times = repeat["times"]
        text = repeat["prefix"] * times + repeat["middle"] + repeat["suffix"] * times
        return str(text).encode()
    return str(row["body"]).encode()


def _vector(row: dict[str, Any]) -> Vector:
    return Vector(
        name=row["name"],
        scheme=row["scheme"],
        body=_body(row),
        expect=row["expect"],
        human_authorized=row.get("human_authorized"),
        accepted_by_0_1_0=row.get("looppause_0_1_0_accepts"),
    )


VECTORS: tuple[Vector, ...] = tuple(map(_vector, _TABLE["vectors"]))
