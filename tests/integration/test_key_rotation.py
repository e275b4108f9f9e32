"""Keys that rotate under load: in running processes by files, in a mounted receiver by a call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from looppause_sdk import AsyncLoopPauseClient, LoopPauseClient
from looppause_sdk.errors import LoopPauseConfigError, ProofInvalid
from looppause_sdk.proof import key_id
from looppause_sdk.secret_files import SecretFiles, with_secret_files
from looppause_sdk.testing import FakeLoopPause, sign_proof
from resumer.errors import SettingsError
from resumer.settings import Settings
from tests.faults.nursery import execute
from tests.faults.replicas import Replica, free_port, until
from tests.integration.conftest import Rig
from tests.integration.conftest import until as until_rows

OLD, NEW, STOLEN = "old-secret-0123456789", "new-secret-0123456789", "a-stranger's-0123456789"
URL = "postgresql://user:password@db:5432/agents"
THREADS = 24
AGENT = """
from looppause_sdk import LoopPauseClient
from tests.agents import payment_agent
graph = payment_agent(LoopPauseClient(), lambda state: {"done": ["paid"]})
"""


@dataclass
class Volume:
    """A volume as Kubernetes mounts secrets: files are links through a link that is swapped."""

    folder: Path

    def hold(self, version: str, **files: str) -> None:
        """Swap in a version of all files, written a while ago."""
        written = self.folder / f"..{version}"
        written.mkdir()
        for name, text in files.items():
            (written / name).write_text(text)
            (written / name).chmod(0o644)
            os.utime(written / name, (time.time() - 60, time.time() - 60))
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(Path("..data") / name)
        (self.folder / "..next").symlink_to(written.name)
        (self.folder / "..next").replace(self.folder / "..data")

    def file(self, name: str) -> str:
        """Where the file is, whatever version is in it."""
        return str(self.folder / name)


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    (tmp_path / "secrets").mkdir()
    return Volume(tmp_path / "secrets")


def signed(proof: Mapping[str, Any], secret: str) -> dict[str, Any]:
    """The same answer, signed by another key."""
    return sign_proof({k: v for k, v in proof.items() if k != "signature"}, secret=secret)


# -- real processes --------------------------------------------------------------------------


@dataclass
class Deliveries:
    """LoopPause, which delivers until it is acknowledged, and a thief who never stops."""

    url: str
    http: httpx.AsyncClient
    key: str = OLD
    forged: list[int] = field(default_factory=list)
    again: int = 0

    async def deliver(self, proof: Mapping[str, Any]) -> None:
        """Deliver again and again with what the proof is signed with now."""
        async with asyncio.timeout(40):
            while (await self.post(signed(proof, self.key))) >= 300:
                self.again += 1
                await asyncio.sleep(0.05)

    async def post(self, proof: Mapping[str, Any]) -> int:
        reply = await self.http.post(f"{self.url}/webhooks/looppause", json=proof)
        return reply.status_code

    async def forge(self, proof: Mapping[str, Any]) -> None:
        """Send what a stranger has signed, as long as this runs."""
        while True:
            self.forged.append(await self.post(signed(proof, STOLEN)))
            await asyncio.sleep(0.05)


def events(replica: Replica, name: str) -> list[dict[str, Any]]:
    """What it has logged under this name."""
    lines = [json.loads(line) for line in replica.text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


@pytest.fixture
async def replicas(
    database_url: str, volume: Volume, tmp_path: Path
) -> AsyncIterator[tuple[Replica, Replica]]:
    """A web and a worker process whose keys are in a volume, the worker's gates' too."""
    volume.hold("v1", keys=f'["{OLD}"]\n', url=f"{database_url}\n")
    (tmp_path / "rotating_agent.py").write_text(AGENT)
    env = {
        "PYTHONPATH": str(tmp_path),
        "RESUMER_DATABASE_URL_FILE": volume.file("url"),
        "RESUMER_GRAPHS": "procurement=rotating_agent:graph",
        "RESUMER_RECONCILE_SECONDS": "0",
        "LOOPPAUSE_API_KEY": "nobody-may-see-this",
        "LOOPPAUSE_SIGNING_SECRETS_FILE": volume.file("keys"),
    }
    web = Replica("web", "web", env, tmp_path / "web.log", execute, free_port())
    worker = Replica("worker", "worker", env, tmp_path / "worker.log", execute)
    try:
        await asyncio.gather(web.start(), worker.start())
        yield web, worker
    finally:
        await asyncio.gather(web.close(), worker.close())


@pytest.mark.timeout(180)
async def test_a_rotation_under_load_loses_nothing_and_believes_nobody_else(
    rig: Rig, volume: Volume, replicas: tuple[Replica, Replica]
) -> None:
    """Old, both, new, while proofs stream in: each thread goes on once; what is gone is refused."""
    web, worker = replicas
    graph = rig.agent()
    pauses = [(await rig.hibernate(graph, f"t{n}"))[0] for n in range(THREADS + 1)]
    proofs = [rig.looppause.decide(pause_id) for pause_id in pauses]
    [last, *streamed] = proofs
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        looppause = Deliveries(web.url, http)
        thief = asyncio.create_task(looppause.forge(last))

        async def stream(part: int) -> None:
            for proof in streamed[part * 6 : part * 6 + 6]:
                await looppause.deliver(proof)

        async def reloaded(times: int, *, hangup: bool = False) -> None:
            for replica in replicas:
                if hangup:
                    replica.signal(signal.SIGHUP)
                await until(lambda r=replica: len(events(r, "keys_reloaded")) == times, within=20)  # type: ignore[misc]  # bound at once

        await stream(0)
        volume.hold("v2", keys=f'["{OLD}", "{NEW}"]', url=rig.url)
        await asyncio.gather(stream(1), reloaded(1))  # found by looking, while proofs come in
        looppause.key = NEW
        await stream(2)
        for pause_id in pauses[1:13]:  # a day is left for this: the old key is not believed after
            await rig.until_state(pause_id, "resumed", seconds=30)
        volume.hold("v3", keys=f'["{NEW}"]', url=rig.url)
        await asyncio.gather(stream(3), reloaded(2, hangup=True))
        volume.hold("v4", keys="[not JSON", url=rig.url)
        worker.signal(signal.SIGHUP)
        web.signal(signal.SIGHUP)
        await until(lambda: all(events(r, "keys_not_reloaded") for r in replicas), within=20)
        assert await looppause.post(signed(last, OLD)) == 401
        assert await looppause.post(signed(last, NEW)) == 202
        thief.cancel()
    for pause_id in pauses:
        await rig.until_state(pause_id, "resumed", seconds=30)
    seen = await rig.rows("select count(*) as n from pauses where deliveries = 1 and attempts = 0")
    assert (seen[0]["n"], looppause.again) == (THREADS + 1, 0)
    assert set(looppause.forged) == {401}
    assert [event["keys"] for event in events(web, "keys_reloaded")] == [
        [key_id(OLD), key_id(NEW)],
        [key_id(NEW)],
    ]
    assert all(events(replica, "secret_files_open_to_all") for replica in replicas)
    assert [len(events(replica, "checkpoints_not_strict")) for replica in replicas] == [0, 1]
    for text in (web.text(), worker.text()):
        assert not any(secret in text for secret in (OLD, NEW, "password", "not JSON"))


# -- in the process of a host ----------------------------------------------------------------


async def test_a_removed_key_opens_nothing_any_more(rig: Rig) -> None:
    """A proof that was taken in before its key was removed waits, then goes on with the key back."""
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    receiving = await rig.receiver(worker=False, signing_secrets=[rig.looppause.secret])
    reply = await rig.deliver(receiving, rig.looppause.decide(pause_id))
    working = await rig.receiver(signing_secrets=[NEW])
    await until_rows(
        lambda: rig.rows("select 1 as n from pauses where reason_code = 'unverified'"), seconds=30
    )
    assert rig.ledger.payments == []
    working.reload_keys(signing_secrets=[NEW, rig.looppause.secret])
    record = await rig.until_state(pause_id, "resumed", seconds=30)
    assert (reply.status_code, record["attempts"], len(rig.ledger.payments)) == (202, 0, 1)


@pytest.mark.parametrize(
    "forged",
    [
        """'{"pause_id": "' || pause_id || '", "decision": "approved"}'""",
        """'{"pause_id": "' || pause_id || '", "status": "approved"}'""",
        "replace(convert_from(body, 'UTF8'), 'rejected', 'approved')",
        "(select convert_from(other.body, 'UTF8') from pauses as other where decision = 'approved')",
    ],
    ids=["unsigned", "as a denial", "changed", "another pause's"],
)
async def test_who_writes_to_our_tables_approves_nothing(rig: Rig, forged: str) -> None:
    """An answer that was put into the database is not handed to the thread: it is parked."""
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    receiving = await rig.receiver(worker=False)
    [other] = await rig.hibernate(rig.agent(), "t2")
    await rig.deliver(receiving, rig.looppause.decide(other))
    await rig.deliver(receiving, rig.looppause.decide(pause_id, "rejected"))
    await rig.rows(
        f"update pauses set body = convert_to({forged}, 'UTF8'), decision = 'approved',"
        " received_at = now() - interval '1 hour' where decision = 'rejected'"
    )
    await rig.receiver()
    record = await rig.until_state(pause_id, "parked")
    await rig.until_state(other, "resumed")
    assert (record["reason_code"], len(rig.ledger.payments)) == ("unverified", 1)


async def test_tokens_are_reloaded_with_the_sessions_they_opened(rig: Rig) -> None:
    """A token that is taken out lets nobody in from that moment on; the new one does."""
    first, second = "ada:first-token-of-an-operator", "ada:second-token-of-an-operator"
    resumer = await rig.receiver(read_tokens=[first])
    transport = httpx.ASGITransport(resumer.app)

    async with httpx.AsyncClient(transport=transport, base_url="http://resumer") as http:

        async def asked(token: str) -> int:
            secret = token.partition(":")[2]
            headers = {"Authorization": f"Bearer {secret}"}
            return (await http.get("/api/overview", headers=headers)).status_code

        assert [await asked(first), await asked(second)] == [200, 401]
        resumer.reload_keys(read_tokens=second)
        assert [await asked(first), await asked(second)] == [401, 200]
        resumer.reload_keys(read_tokens=())
        assert [await asked(first), await asked(second)] == [404, 404]


async def test_public_keys_rotate_and_no_other_is_believed(rig: Rig) -> None:
    """The pinned keys are the only ones, whatever key LoopPause signs with and publishes."""
    old, new = FakeLoopPause(scheme="ed25519"), FakeLoopPause(scheme="ed25519")
    resumer = await rig.receiver(worker=False, public_keys=[old.public_key])

    async def taken() -> list[int]:
        proofs = [fake.sign({**DENIED, "pause_id": "p"}) for fake in (old, new)]
        return [(await rig.deliver(resumer, proof)).status_code for proof in proofs]

    assert await taken() == [202, 401]
    resumer.reload_keys(public_keys=[old.public_key, new.public_key])
    assert await taken() == [200, 200]
    resumer.reload_keys(public_keys=new.public_key)
    assert await taken() == [401, 200]


async def test_keys_that_cannot_be_used_change_nothing(rig: Rig) -> None:
    """No key at all, a blank one or one that cannot be read: the old ones stay in use."""
    resumer = await rig.receiver()
    for name, bad in (("signing_secrets", ()), ("signing_secrets", " "), ("public_keys", "none")):
        with pytest.raises(SettingsError):
            resumer.reload_keys(**{name: bad})
    with pytest.raises(TypeError, match="not database_url"):
        resumer.reload_keys(database_url=URL)
    assert list(resumer.keys.signing_secrets) == [rig.looppause.secret]
    assert rig.looppause.secret not in repr(resumer.keys.signing_secrets)


# -- files -----------------------------------------------------------------------------------


def written(path: Path, text: str | bytes, *, age: float = 60) -> str:
    """A file that was written so many seconds ago."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(path, (time.time() - age, time.time() - age))
    return str(path)


def test_every_secret_may_be_in_a_file(tmp_path: Path) -> None:
    """The last line break is no part of it; a list is JSON, as it is in the variable."""
    read = Settings.from_env(
        {
            "RESUMER_DATABASE_URL_FILE": written(tmp_path / "url", f"{URL}\n"),
            "LOOPPAUSE_SIGNING_SECRET_FILE": written(tmp_path / "one", "first\r\n"),
            "LOOPPAUSE_SIGNING_SECRETS_FILE": written(tmp_path / "more", '["second"]\n'),
            "LOOPPAUSE_API_KEY_FILE": written(tmp_path / "api", "key"),
            "RESUMER_ACT_TOKENS_FILE": written(tmp_path / "act", '["ada:sixteen-characters"]'),
        }
    )
    assert (read.database_url, read.signing_secrets) == (URL, ("first", "second"))
    assert (read.api_key, [token.name for token in read.tokens]) == ("key", ["ada"])
    urls = Settings.database_urls(None, None, {"DATABASE_URL_FILE": str(tmp_path / "url")})
    assert urls == (URL, URL)


@pytest.mark.parametrize(
    "name, content, fault",
    [
        ("missing", None, "cannot be read (No such file or directory)"),
        ("folder/", None, "is no regular file"),
        ("empty", "\n", "is empty"),
        ("binary", b"hunter2\xff", "is not text"),
        ("large", "hunter2" * 10_000, "is larger than any secret (65536 bytes)"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, name: str, content: str | bytes | None, fault: str
) -> None:
    """The fault says which variable and which file, and nothing that is in it."""
    path = tmp_path / name
    if name.endswith("/"):
        path.mkdir()
    elif content is not None:
        written(path, content)
    env = {"LOOPPAUSE_SIGNING_SECRET_FILE": str(path), "RESUMER_DATABASE_URL": URL}
    with pytest.raises(SettingsError) as told:
        Settings.from_env(env)
    assert f"LOOPPAUSE_SIGNING_SECRET_FILE: {path} {fault}" in told.value.faults
    with pytest.raises(LoopPauseConfigError) as sdk:
        LoopPauseClient("key", env=env)
    assert fault in str(sdk.value)
    assert "hunter2" not in str(sdk.value) + str(told.value)


def test_a_secret_in_two_places_is_refused(tmp_path: Path) -> None:
    """Nobody has to guess which of the two counts."""
    env = {"DATABASE_URL": URL, "DATABASE_URL_FILE": written(tmp_path / "url", URL)}
    with pytest.raises(SettingsError, match="DATABASE_URL and DATABASE_URL_FILE are both set"):
        Settings.database_urls(None, None, env)


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    """A change counts once it is a second old: half a secret is a wrong one."""
    env = {"A_FILE": written(tmp_path / "a", "one")}
    files = SecretFiles.named_in(env, ["A", "B"])
    assert not files.have_changed()
    written(tmp_path / "a", "tw", age=0)
    assert not files.have_changed()
    written(tmp_path / "a", "two", age=5)
    assert files.have_changed()
    files.about_to_read()
    assert (files.have_changed(), with_secret_files(env, ["A"])[0]["A"]) == (False, "two")
    (tmp_path / "a").unlink()
    assert files.have_changed()


def test_a_file_that_everybody_can_read_is_told(tmp_path: Path) -> None:
    """Secrets are for the service's user, at most for its group."""
    env = {"A_FILE": written(tmp_path / "a", "one"), "B_FILE": written(tmp_path / "b", "two")}
    (tmp_path / "a").chmod(0o640)
    (tmp_path / "b").chmod(0o644)
    assert SecretFiles.named_in(env, ["A", "B"]).open_to_all() == [str(tmp_path / "b")]


@pytest.mark.parametrize("kind", [LoopPauseClient, AsyncLoopPauseClient])
def test_a_client_follows_its_files(
    tmp_path: Path, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A gate's client verifies with the keys of now, and with those of before if they are broken."""
    keys = tmp_path / "keys"
    env = {"LOOPPAUSE_SIGNING_SECRETS_FILE": written(keys, f'["{OLD}"]', age=90)}
    client, proof = kind("key", env=env), FakeLoopPause(secret=OLD).sign(DENIED)
    assert client.parse_resume_proof(proof).decision == "rejected"
    written(keys, f'["{NEW}"]')
    with pytest.raises(ProofInvalid):
        client.parse_resume_proof(proof)
    assert client.parse_resume_proof(signed(proof, NEW)).decision == "rejected"
    written(keys, "[broken", age=30)
    assert client.parse_resume_proof(signed(proof, NEW)).decision == "rejected"
    assert "the keys are kept as they were" in caplog.text


DENIED = {
    "pause_id": "pause_1",
    "decision": "rejected",
    "authorization_type": "human",
    "human_response": True,
}
