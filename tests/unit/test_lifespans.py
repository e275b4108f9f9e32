"""Several lifespans in one: each entered with the application, and what they yield handed on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette

from resumer import lifespans


class Noted:
    """Lifespans that note when they are entered and left, and by what."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.apps: list[Any] = []

    def part(self, name: str, state: dict[str, Any] | None = None, *, fails: bool = False) -> Any:
        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[dict[str, Any] | None]:
            self.seen.append(f"{name} in")
            self.apps.append(app)
            if fails:
                raise OSError("no database")
            try:
                yield state
            finally:
                self.seen.append(f"{name} out")

        return lifespan


async def test_they_are_entered_in_order_and_left_in_reverse() -> None:
    """The later ones may use what the earlier ones have opened, to the end."""
    noted = Noted()
    app = Starlette()
    async with lifespans(noted.part("a"), noted.part("b"))(app):
        assert noted.seen == ["a in", "b in"]
    assert noted.seen == ["a in", "b in", "b out", "a out"]
    assert noted.apps == [app, app]


@pytest.mark.parametrize(
    "states, handed_on",
    [
        ([None, None], None),
        ([{}, None], None),
        ([{"pool": 1}, None], {"pool": 1}),
        ([None, {"pool": 1}], {"pool": 1}),
        ([{"pool": 1, "who": "a"}, {"who": "b"}], {"pool": 1, "who": "b"}),
        ([], None),
    ],
)
async def test_what_they_yield_is_handed_on(states: list[Any], handed_on: Any) -> None:
    """Together; and nothing where there is nothing, for servers that know of no state."""
    parts = [Noted().part(str(number), state) for number, state in enumerate(states)]
    async with lifespans(*parts)(Starlette()) as given:
        assert given == handed_on


async def test_one_that_fails_to_start_leaves_those_before_it() -> None:
    """And is raised, so that the server does not come up."""
    noted = Noted()
    with pytest.raises(OSError, match="no database"):
        async with lifespans(noted.part("a"), noted.part("b", fails=True), noted.part("c"))(None):
            pass
    assert noted.seen == ["a in", "b in", "a out"]


async def test_it_can_be_entered_again() -> None:
    """As a test suite does with one application."""
    noted = Noted()
    both = lifespans(noted.part("a"), noted.part("b"))
    for _ in range(2):
        async with both(None):
            pass
    assert noted.seen == ["a in", "b in", "b out", "a out"] * 2
