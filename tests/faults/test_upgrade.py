"""A new release takes the place of the old one, replica by replica, while decisions come in.

The new release is this source tree with a migration more. The old one is this tree as it is, or
the one that RESUMER_TEST_UPGRADE_FROM names: a checkout of whatever ran before.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.schemas import rows

from .harness import World, attacked
from .nursery import ROOT, Nursery, Process, nursery
from .replicas import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

MADE_UP = {
    "998_made_up.sql": "alter table pauses add column made_up text not null default '';"
    "create table made_up (pause_id text primary key references pauses on delete cascade);",
    "999_made_up_index.sql": "create index concurrently if not exists pauses_made_up_idx"
    " on pauses (made_up, created_at)",
}


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Nursery]:
    """The programs of the release before."""
    folder = tmp_path / "old"
    folder.mkdir()
    with nursery(folder, Path(os.environ.get("RESUMER_TEST_UPGRADE_FROM", ROOT))) as found:
        yield found


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Nursery]:
    """The programs of the next release."""
    folder = tmp_path / "new"
    shutil.copytree(ROOT / "resumer", folder / "tree" / "resumer")
    for part in ("sdk", "tests"):
        (folder / "tree" / part).symlink_to(ROOT / part)
    for name, script in MADE_UP.items():
        (folder / "tree" / "resumer" / "sql" / "migrations" / name).write_text(script)
    with nursery(folder, folder / "tree") as found:
        yield found


@pytest.fixture
async def world(empty_url: str, tmp_path: Path, old: Nursery, new: Nursery) -> AsyncIterator[World]:
    """Agents and LoopPause over a database that the old release has set up."""
    env = {"RESUMER_DATABASE_URL": empty_url}
    await ended(old(["migrate"], env, tmp_path / "migrate.log"), tmp_path / "migrate.log")
    async with attacked(empty_url, tmp_path, spawn=old) as found:
        yield found


async def ended(process: Process, log: Path, code: int = 0) -> str:
    """Wait for a command's end; return what it said."""
    await until(lambda: process.poll() is not None, within=60)
    text = await asyncio.to_thread(log.read_text, encoding="utf-8")
    assert process.poll() == code, text
    return text


async def test_rolling_upgrade_under_load(world: World, old: Nursery, new: Nursery) -> None:
    """Every decision is resumed exactly once, by whichever release; nobody notices the change."""
    for kind in ("web", "web", "worker", "worker"):
        await world.start(kind)
    before = await world.hibernate_many(6)
    env = dict(world.replicas[0].env)
    too_early = world.folder / "early.log"
    said = await ended(new(["worker"], env, too_early), too_early, code=2)
    assert "this program needs 999: run `resumer migrate`" in said

    upgraded = asyncio.Event()
    stream = asyncio.create_task(_decisions(world, upgraded))
    logs = [world.folder / f"migrate-{number}.log" for number in range(2)]
    await asyncio.gather(*[ended(new(["migrate"], env, log), log) for log in logs])
    beside = await _resumed_more(world, 3)
    for replica in list(world.replicas):
        assert await replica.terminate(within=20) == 0, replica.tail()
        replica.spawn = new
        await replica.start()
    await _resumed_more(world, 3)
    await ended(new(["migrate", "--finish"], env, logs[0]), logs[0])
    await world.approve(before)
    upgraded.set()
    await stream
    verdict = await world.kept(within=60)
    assert verdict.again == []
    assert beside >= 3
    found = rows(world.database.url, "select max(version) as version from resumer.migrations")
    assert found == [{"version": 999}]


async def _decisions(world: World, upgraded: asyncio.Event) -> None:
    """One thread after another asks and is approved, until the upgrade is over."""
    while not upgraded.is_set():
        thread = await world.hibernate("pay", slow=0.1)
        await world.insist(world.decide(thread))


async def _resumed_more(world: World, count: int) -> int:
    """Wait until so many more pauses have been resumed than now; return how many there are."""
    query = "select count(*) from resumer.pauses where state = 'resumed'"
    wanted = int(await world.database.value(query)) + count
    async with asyncio.timeout(60):
        while (found := int(await world.database.value(query))) < wanted:
            await asyncio.sleep(0.1)
    return found
