"""Tables made by older releases of Procrastinate, as its own wheels make them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from looppause_sdk.testing import FakeLoopPause
from resumer.errors import DatabaseNotReady
from resumer.migrate import migrate
from tests import postgres
from tests.integration.conftest import Rig
from tests.packaging.conftest import run, uv_command
from tests.schemas import rows, schema

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

BESIDE_OLD_PROGRAMS = ["3.2.2", "3.3.0"]  # one step behind
ALL = ["3.0.2", "3.1.0", *BESIDE_OLD_PROGRAMS]
JOB = """
set search_path to resumer;
insert into procrastinate_jobs (task_name, queue_name, lock, args)
values ('resume', 'resume', '{0}', '{{"pause_id": "{0}"}}')
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The `sql` folder of each old release, from a package index."""
    folders = {}
    for version in ALL:
        target = tmp_path_factory.mktemp("procrastinate") / version
        wanted = ("--no-deps", "--target", target, f"procrastinate=={version}")
        run(uv_command(), "pip", "install", "-q", *wanted, cwd=target.parent)
        folders[version] = target / "procrastinate" / "sql"
    return folders


@pytest.fixture
def old(
    request: pytest.FixtureRequest, wheels: dict[str, Path], postgres_server: postgres.Server
) -> Iterator[str]:
    """A database with the queue of an old release, and nothing else yet."""
    url = postgres_server.database("template1")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create schema resumer; set search_path to resumer")
        connection.execute((wheels[request.param] / "schema.sql").read_bytes())
    yield url
    postgres_server.drop(url)


@pytest.mark.parametrize("old", ALL, indirect=True)
async def test_it_becomes_what_a_fresh_one_is(old: str, database_url: str) -> None:
    """With every program stopped, from any release since 3.0.2; its jobs are kept."""
    rows(old, JOB.format("pause_1"))
    await migrate(old, old, finish=True)
    assert schema(old) == schema(database_url)
    kept = rows(old, "select task_name, status, args from resumer.procrastinate_jobs")
    assert kept == [{"task_name": "resume", "status": "todo", "args": {"pause_id": "pause_1"}}]


@pytest.mark.parametrize("old", BESIDE_OLD_PROGRAMS, indirect=True)
async def test_the_new_program_runs_before_the_old_ones_are_gone(
    old: str, database_url: str, looppause: FakeLoopPause
) -> None:
    """Between `migrate` and `migrate --finish`, and after, threads are resumed as ever."""
    rig = Rig(old, looppause)
    async with rig.stack:
        await migrate(old, old)
        assert schema(old) != schema(database_url)
        receiver = await rig.receiver()
        for thread in ("before", "after"):
            [pause_id] = await rig.hibernate(rig.agent(), thread)
            reply = await rig.deliver(receiver, looppause.decide(pause_id))
            assert reply.status_code == 202
            await rig.until_state(pause_id, "resumed", seconds=30)
            await migrate(old, old, finish=True)
    assert len(rig.ledger.payments) == 2
    assert schema(old) == schema(database_url)


@pytest.mark.parametrize("old", ["3.0.2", "3.1.0"], indirect=True)
async def test_too_far_behind_for_old_programs(old: str) -> None:
    """Several of Procrastinate's releases at once: refused while any of our programs may run."""
    with pytest.raises(DatabaseNotReady, match="stop every replica"):
        await migrate(old, old)
