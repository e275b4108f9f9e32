"""The queue's tables, brought on by Procrastinate's own scripts while older programs run."""

from __future__ import annotations

import shutil
from pathlib import Path

import procrastinate.schema
import pytest

from resumer.commands.doctor import subject_from
from resumer.commands.doctor.examine import examine
from resumer.db import connect
from resumer.errors import DatabaseNotReady
from resumer.migrate import check_migrated, migrate
from resumer.queue_schema import scripts
from tests.schemas import rows, schema

SHIPPED = scripts()
PRE = "create function procrastinate_made_up_{0}() returns int language sql as 'select 1';"
POST = "drop function if exists procrastinate_made_up_{0}_old();"


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of scripts of a Procrastinate to come, with none of its own yet."""
    folder = tmp_path / "migrations"
    shutil.copytree(procrastinate.schema.migrations_path, folder)
    monkeypatch.setattr(procrastinate.schema, "migrations_path", folder)
    return folder


def release(folder: Path, number: int) -> list[str]:
    """Add the scripts of release 3.`number`; return their names."""
    names = [f"03.{number}.00_01_pre_more.sql", f"03.{number}.00_50_post_less.sql"]
    for name, text in zip(names, (PRE, POST), strict=True):
        (folder / name).write_text(text.format(number))
    return names


def recorded(url: str) -> list[str]:
    """What the database says was applied."""
    return [row["name"] for row in rows(url, "select name from resumer.queue_scripts order by 1")]


async def check(url: str) -> None:
    """As every program does when it starts."""
    async with await connect(url, schema="resumer") as connection:
        await check_migrated(connection)


async def finding(url: str) -> tuple[str, str]:
    """What the doctor says of it."""
    subject = subject_from({"RESUMER_DATABASE_URL": url}, timeout=20)
    found = {one.check: one async for one in examine(subject)}
    return found["queue schema"].status, found["queue schema"].found


async def test_fresh_tables_need_no_script(database_url: str) -> None:
    """They are of the installed version: all its scripts are put down as applied."""
    assert recorded(database_url) == SHIPPED


async def test_before_the_new_programs_and_after_the_old(database_url: str, newer: Path) -> None:
    """A new release asks for `migrate`; what only old ones needed goes by `--finish`."""
    pre, post = release(newer, 99)
    with pytest.raises(
        DatabaseNotReady, match=r"older than Procrastinate .* run `resumer migrate`"
    ):
        await check(database_url)
    assert (await finding(database_url))[0] == "fail"
    await migrate(database_url, database_url)
    assert recorded(database_url) == [*SHIPPED, pre]
    await check(database_url)
    assert "once none runs: `resumer migrate --finish`" in (await finding(database_url))[1]
    await migrate(database_url, database_url)
    assert post not in recorded(database_url)
    await migrate(database_url, database_url, finish=True)
    assert recorded(database_url) == [*SHIPPED, pre, post]
    assert "finish" not in (await finding(database_url))[1]


async def test_the_release_before_goes_on_until_it_is_finished(
    database_url: str, newer: Path
) -> None:
    """An older program works beside the newer's tables, and is refused once its own are gone."""
    added = release(newer, 99)
    await migrate(database_url, database_url)
    for name in added:
        (newer / name).rename(newer.parent / name)
    await check(database_url)
    await migrate(database_url, database_url)  # going back a release: nothing to do
    for name in added:
        (newer.parent / name).rename(newer / name)
    await migrate(database_url, database_url, finish=True)
    for name in added:
        (newer / name).unlink()
    with pytest.raises(DatabaseNotReady, match="start the newer release"):
        await check(database_url)
    assert (await finding(database_url))[0] == "fail"


async def test_what_the_last_release_left_is_finished_by_the_next(
    database_url: str, newer: Path
) -> None:
    """Whoever installs the next release has rolled out the one before."""
    first = release(newer, 98)
    await migrate(database_url, database_url)
    second = release(newer, 99)
    await migrate(database_url, database_url)
    assert recorded(database_url) == [*SHIPPED, *first, second[0]]


async def test_two_releases_at_once_need_everything_stopped(database_url: str, newer: Path) -> None:
    """Procrastinate wants a stop at each: nothing is changed until one says that none runs."""
    added = [*release(newer, 98), *release(newer, 99)]
    with pytest.raises(DatabaseNotReady, match=r"stop every replica, then run .* --finish"):
        await migrate(database_url, database_url)
    assert recorded(database_url) == SHIPPED
    await migrate(database_url, database_url, finish=True)
    assert recorded(database_url) == [*SHIPPED, *added]


async def test_tables_nobody_wrote_down_are_recognized(database_url: str) -> None:
    """Those of a release that kept no record: nothing runs, and from now on it is written down."""
    rows(database_url, "drop table resumer.queue_scripts")
    before = schema(database_url)
    with pytest.raises(DatabaseNotReady, match="run `resumer migrate`"):
        await check(database_url)
    await migrate(database_url, database_url)
    assert recorded(database_url) == SHIPPED
    assert [row for row in schema(database_url)[0] if row["table_name"] != "queue_scripts"] == (
        before[0]
    )


async def test_tables_older_than_any_release_are_refused(empty_url: str) -> None:
    """Procrastinate 2 never was ours: it says how to bring them on by hand."""
    rows(empty_url, "create schema resumer; create table resumer.procrastinate_jobs (id int)")
    with pytest.raises(DatabaseNotReady, match=r"older than Procrastinate 3\.0.*--migrations-path"):
        await migrate(empty_url, empty_url)
