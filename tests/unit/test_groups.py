"""Group commit: nobody waits for company, and nobody pays for a neighbour."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext

import psycopg
import pytest

from resumer.groups import Groups


class Work:
    """Doubles numbers; what it was given at once is kept, and `bad` ones raise."""

    def __init__(self, *, bad: Sequence[int] = (), error: type[Exception] = ValueError) -> None:
        self.groups: list[list[int]] = []
        self.bad = bad
        self.error = error
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, _session: None, items: Sequence[int]) -> Sequence[int]:
        self.groups.append(list(items))
        await self.go_on.wait()
        if set(items) & set(self.bad):
            raise self.error("a bad one")
        return [2 * item for item in items]


async def together(
    groups: Groups[None, int, int], work: Work, items: Sequence[int]
) -> list[object]:
    """Ask for the first, and for the others while that is at work."""
    work.go_on.clear()
    asked = [asyncio.ensure_future(groups.do(item)) for item in items]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.go_on.set()
    return list(await asyncio.gather(*asked, return_exceptions=True))


async def test_who_comes_at_once_is_done_together() -> None:
    """Each gets what became of it."""
    work = Work()
    assert await together(Groups(nullcontext, work, key=str), work, [1, 2, 3]) == [2, 4, 6]
    assert work.groups == [[1, 2, 3]]


async def test_what_comes_meanwhile_is_done_next() -> None:
    """While a group is at work, those who come form the next one."""
    work = Work()
    groups = Groups(nullcontext, work, key=str)
    work.go_on.clear()
    first = asyncio.ensure_future(groups.do(1))
    while not work.groups:
        await asyncio.sleep(0)
    others = [asyncio.ensure_future(groups.do(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    work.go_on.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert work.groups == [[1], [2, 3, 4]]


async def test_the_same_key_twice_is_two_groups() -> None:
    """Two deliveries of one pause are one after the other, in the order they came in."""
    work = Work()
    groups = Groups(nullcontext, work, key=lambda item: str(item % 10))
    assert await together(groups, work, [1, 11, 2, 21]) == [2, 22, 4, 42]
    assert [sorted(item % 10 for item in group) for group in work.groups] == [[1, 2], [1], [1]]


async def test_a_group_has_a_size() -> None:
    """However many wait."""
    work = Work()
    assert await together(Groups(nullcontext, work, key=str, most=2), work, range(5)) == [
        0,
        2,
        4,
        6,
        8,
    ]
    assert max(map(len, work.groups)) == 2


async def test_a_bad_one_fails_alone() -> None:
    """Its neighbours are done without it."""
    work = Work(bad=[2])
    results = await together(Groups(nullcontext, work, key=str), work, [1, 2, 3])
    assert (results[0], results[2]) == (2, 6)
    assert isinstance(results[1], ValueError)


@pytest.mark.parametrize("error", [psycopg.OperationalError, psycopg.InterfaceError])
async def test_a_database_that_is_away_is_asked_once(error: type[Exception]) -> None:
    """All are told, without a try for each."""
    work = Work(bad=[1], error=error)
    results = await together(Groups(nullcontext, work, key=str), work, [1, 2, 3])
    assert [type(result) for result in results] == [error] * 3
    assert len(work.groups) == 1


@pytest.mark.parametrize(
    "error", [psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure]
)
async def test_a_clash_is_each_ones_own(error: type[Exception]) -> None:
    """Two statements that got into each other's way say nothing of the neighbours."""
    work = Work(bad=[2], error=error)
    results = await together(Groups(nullcontext, work, key=str), work, [1, 2, 3])
    assert (results[0], results[2]) == (2, 6)


async def test_who_takes_too_long_is_left_behind() -> None:
    """One that is locked holds up its neighbours no longer than the patience."""
    locked = asyncio.Event()

    async def work(_session: None, items: Sequence[int]) -> Sequence[int]:
        if 2 in items:
            await locked.wait()
        return items

    groups = Groups(nullcontext, work, key=str, patience=0.05)
    asked = [asyncio.ensure_future(groups.do(number)) for number in (1, 2, 3)]
    assert await asyncio.wait_for(asked[0], 20) == 1
    assert await asyncio.wait_for(asked[2], 20) == 3
    assert not asked[1].done()
    locked.set()
    assert await asked[1] == 2


async def test_one_that_is_locked_holds_up_nobody_behind_it() -> None:
    """Nor does it where it came alone."""
    locked = asyncio.Event()

    async def work(_session: None, items: Sequence[int]) -> Sequence[int]:
        if 1 in items:
            await locked.wait()
        return items

    groups = Groups(nullcontext, work, key=str, patience=0.05)
    first = asyncio.ensure_future(groups.do(1))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(groups.do(2), 20) == 2
    assert not first.done()
    locked.set()
    assert await first == 1


async def test_who_has_gone_away_disturbs_nobody() -> None:
    """A request that was cancelled is done all the same, and the others get theirs."""
    work = Work()
    groups = Groups(nullcontext, work, key=str)
    work.go_on.clear()
    asked = [asyncio.ensure_future(groups.do(number)) for number in (1, 2, 3)]
    await asyncio.sleep(0)
    asked[1].cancel()
    work.go_on.set()
    assert [await asked[0], await asked[2]] == [2, 6]
    assert 2 in [item for group in work.groups for item in group]
    assert await groups.do(5) == 10
