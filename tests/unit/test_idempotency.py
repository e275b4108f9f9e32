"""`stable_idempotency_key`: one question, one key, in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import looppause_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from looppause_sdk.idempotency import stable_idempotency_key

UUID_1 = UUID("12345678-1234-5678-1234-567812345678")


class Currency(Enum):
    """A plain enum."""

    EUR = "EUR"
    USD = "USD"


class Level(IntEnum):
    """An enum whose members are integers."""

    LOW = 1


@dataclass(frozen=True)
class Money:
    """A dataclass with a value JSON does not have."""

    amount: Decimal
    currency: Currency


class Invoice(BaseModel):
    """A pydantic model that nests the others."""

    number: str
    total: Decimal
    labels: set[str]


PARTS: dict[str, Any] = {
    "None": None,
    "true": True,
    "1": 1,
    "1.0": 1.0,
    "text 1": "1",
    "empty text": "",
    "list": [1, 2],
    "list in another order": [2, 1],
    "mapping": {"a": 1},
    "empty mapping": {},
    "Decimal 1": Decimal(1),
    "Decimal 1.0": Decimal("1.0"),
    "UUID": UUID_1,
    "text of the UUID": str(UUID_1),
    "date": date(2026, 11, 22),
    "text of the date": "2026-11-22",
    "midnight of the date": datetime(2026, 11, 22, tzinfo=UTC),
    "another zone's midnight": datetime(2026, 11, 22, tzinfo=timezone(timedelta(hours=1))),
    "time": time(10, 15, tzinfo=UTC),
    "timedelta": timedelta(days=1),
    "set": {1, 2},
    "frozenset": frozenset({1, 2}),
    "bytes": b"ab",
    "bytearray": bytearray(b"ab"),
    "text of the bytes": "6162",
    "path": PurePosixPath("a/b"),
    "text of the path": "a/b",
    "enum": Currency.EUR,
    "another enum member": Currency.USD,
    "text of the enum": "EUR",
    "integer enum": Level.LOW,
    "dataclass": Money(Decimal(5), Currency.EUR),
    "another dataclass": Money(Decimal(6), Currency.EUR),
    "pydantic model": Invoice(number="7", total=Decimal("9.99"), labels={"a", "b"}),
    "another pydantic model": Invoice(number="7", total=Decimal("9.98"), labels={"a", "b"}),
    "nested": {"who": [Money(Decimal(5), Currency.EUR)], "tags": {"x", ("y", UUID_1)}},
}

plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_key_has_the_published_form() -> None:
    """The prefix and 32 hex digits fit where a 0.1.0 key fitted."""
    key = stable_idempotency_key("thread", 1)
    prefix, _, digits = key.partition("_")
    assert (prefix, len(digits)) == ("idem", 32)
    assert int(digits, 16) >= 0


@given(st.lists(plain_json, max_size=4))
def test_plain_json_keeps_the_key_of_looppause_0_1_0(parts: list[Any]) -> None:
    """Moving over does not ask again what was asked already."""
    assert stable_idempotency_key(*parts) == looppause_client.stable_idempotency_key(*parts)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
def test_the_same_part_gives_the_same_key(part: Any) -> None:
    """Each supported type has a key, alone and nested."""
    assert stable_idempotency_key(part) == stable_idempotency_key(part)
    assert stable_idempotency_key({"a": [part]}) == stable_idempotency_key({"a": (part,)})


def test_different_parts_give_different_keys() -> None:
    """No two rows of the table are one question: Decimal("1") is not "1", nor 1, nor 1.0."""
    keys = {stable_idempotency_key(part) for part in PARTS.values()}
    assert len(keys) == len(PARTS)


def test_the_order_of_members_and_of_set_items_plays_no_part() -> None:
    """Two ways to write one mapping or set are one question."""
    first = {"a": 1, "b": {"x", "y", "z"}}
    second = {"b": {"z", "y", "x"}, "a": 1}
    assert stable_idempotency_key(first) == stable_idempotency_key(second)


def test_parts_are_not_run_together() -> None:
    """Where one part ends and the next begins is part of the question."""
    assert stable_idempotency_key("ab", "c") != stable_idempotency_key("a", "bc")
    assert stable_idempotency_key(["a"], "b") != stable_idempotency_key("a", ["b"])


def test_any_mapping_is_a_mapping() -> None:
    """A read-only view asks what its dict asks."""
    assert stable_idempotency_key(MappingProxyType({"a": 1})) == stable_idempotency_key({"a": 1})


def test_names_that_are_not_text_are_taken() -> None:
    """A mapping keyed by numbers, dates or ids has a key of its own."""
    names: list[Any] = [1, 1.5, None, date(2026, 11, 22), UUID_1, Decimal(1), ("a", 1)]
    assert len({stable_idempotency_key({name: "x"}) for name in names}) == len(names)


PRINT_KEY = """
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID
from looppause_sdk import stable_idempotency_key
@dataclass(frozen=True)
class Payee:
    name: str
    labels: frozenset
labels = frozenset(f"label {n}" for n in range(50))
nested = {frozenset({"a", "b"}), frozenset({"c", "d"}), ("e", labels)}
print(stable_idempotency_key("t", labels, nested, {"p": Payee("x", labels)}, Decimal("1.5"), UUID(int=7)))
"""


def test_the_key_is_the_same_in_every_process() -> None:
    """However a process orders its hashes, the question has one key."""
    keys = {_key_of_a_process(hash_seed) for hash_seed in ("0", "1", "2", "12345")}
    assert len(keys) == 1


def _key_of_a_process(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", PRINT_KEY],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("idem_")
    return done.stdout


def _generator() -> Any:
    yield 1


UNSTABLE: dict[str, Callable[[], Any]] = {
    "object": object,
    "function": lambda: len,
    "class": lambda: dict,
    "dataclass type": lambda: Money,
    "pydantic type": lambda: Invoice,
    "generator": _generator,
    "complex": lambda: 1j,
}


@pytest.mark.parametrize("make", UNSTABLE.values(), ids=UNSTABLE.keys())
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"a": [v]}], ids=["alone", "nested"])
def test_what_differs_between_processes_is_refused(
    make: Callable[[], Any], wrap: Callable[[Any], Any]
) -> None:
    """An object whose text holds an address would make a new question of every retry."""
    with pytest.raises(TypeError, match="same in every process"):
        stable_idempotency_key(wrap(make()))


def test_two_names_that_become_one_are_refused() -> None:
    """A member that would be dropped without a word is an error instead."""
    with pytest.raises(TypeError, match="same name"):
        stable_idempotency_key({1: "a", "1": "b"})
