"""`resumer doctor`: each finding as it should be, and broken."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from looppause_sdk.proof import key_id
from looppause_sdk.testing import FakeLoopPause
from resumer import Resumer
from resumer.commands.doctor import Finding, Subject, subject_from
from resumer.commands.doctor.examine import examine
from resumer.commands.doctor.graphs import check_graphs
from resumer.commands.doctor.keys import check_keys, strength_bits
from resumer.commands.doctor.langgraph import check_langgraph
from resumer.db import connect
from resumer.emulator import Emulator
from resumer.model import utc_now
from resumer.serving import serving
from tests.commands import resumer
from tests.integration.conftest import Rig, until

PATH = "/webhooks/looppause"
AGENT = "from tests.gates import one_node\ngraph = one_node(lambda state: {})\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def env_of(rig: Rig, **more: str) -> dict[str, str]:
    """What a deployment sets."""
    return {
        "RESUMER_DATABASE_URL": rig.url,
        "LOOPPAUSE_SIGNING_SECRET": rig.looppause.secret,
        **more,
    }


async def findings(env: Mapping[str, str], **more: Any) -> dict[str, list[Finding]]:
    """Every finding, by the name of its check."""
    subject = subject_from(env, timeout=more.pop("timeout", 5.0))
    return await of(Subject(**{**vars(subject), **more}))


async def of(subject: Subject) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    async for finding in examine(subject):
        found.setdefault(finding.check, []).append(finding)
    return found


def write(path: str, text: str) -> None:
    """A file in this test's working directory."""
    file = Path(path)
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


async def one(check: str, env: Mapping[str, str], **more: Any) -> Finding:
    """The only finding of this check."""
    [finding] = (await findings(env, **more))[check]
    return finding


# -- the command --------------------------------------------------------------------------------


@pytest.fixture
async def deployed(rig: Rig, tmp_path: Path) -> dict[str, str]:
    """A deployment with nothing to mend: receiver, worker, graph, LoopPause."""
    (tmp_path / "agent.py").write_text(AGENT)
    looppause = FakeLoopPause(api_key="the api key")
    emulator = await rig.stack.enter_async_context(serving(Emulator(looppause).app))
    receiver = await rig.receiver()
    address = await rig.stack.enter_async_context(serving(receiver.app))
    await until(lambda: rig.rows("select 1 as one from procrastinate_workers"))
    return env_of(
        rig,
        RESUMER_GRAPHS="procurement=agent.py:graph",
        LOOPPAUSE_API_KEY="the api key",
        LOOPPAUSE_API_URL=emulator,
        LOOPPAUSE_WEBHOOK_URL=f"{address}{PATH}",
        LANGGRAPH_STRICT_MSGPACK="true",
    )


async def test_all_is_well(deployed: dict[str, str], rig: Rig) -> None:
    """Every line is ok, exit code 0, nothing was recorded, and no line is over 80 columns."""
    ended = await resumer("doctor", env=deployed)
    assert (ended.code, ended.err) == (0, ""), ended
    *lines, empty, last = ended.out.splitlines()
    assert (empty, last) == ("", "17 ok, 0 warnings, 0 to mend.")
    assert max(map(len, lines)) <= 80
    assert [line[2:16].strip() for line in lines if line.startswith("✓")] == [
        "settings", "signing keys", "database", "pooler", "clock", "schema", "queue schema",
        "worker", "retention", "checkpointer", "indexes", "langgraph", "strict msgpack", "graph",
        "webhook", "receiver", "looppause",
    ]  # fmt: skip
    assert await rig.rows("select 1 as one from pauses") == []


async def test_json_has_a_line_for_each_finding(deployed: dict[str, str]) -> None:
    """For scripts; a failure is exit code 1, and says how to mend it."""
    ended = await resumer("doctor", "--json", env={**deployed, "LOOPPAUSE_API_KEY": "wrong"})
    assert ended.code == 1
    rows = {row["check"]: row for row in ended.rows}
    assert set(rows["looppause"]) == {"check", "status", "found", "mend"}
    assert rows["looppause"]["status"] == "fail"
    assert "copy LOOPPAUSE_API_KEY again" in rows["looppause"]["mend"]
    assert {row["status"] for name, row in rows.items() if name != "looppause"} == {"ok"}


async def test_warnings_alone_do_not_fail(deployed: dict[str, str]) -> None:
    """They are counted, and the exit code stays 0."""
    ended = await resumer("doctor", env={**deployed, "LANGGRAPH_STRICT_MSGPACK": "false"})
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "16 ok, 1 warning, 0 to mend."
    assert "→ set LANGGRAPH_STRICT_MSGPACK=true" in ended.text


async def test_no_secret_is_shown(deployed: dict[str, str], rig: Rig) -> None:
    """Not even where an error quotes it: each is looked for in every line."""
    hidden = {
        "RESUMER_DATABASE_URL": "postgresql://me:dbpassword1@127.0.0.1:1/dbpassword1",
        "LOOPPAUSE_API_KEY": "apikey-of-ours",
        "LOOPPAUSE_API_URL": "http://127.0.0.1:1/apikey-of-ours",
        "LOOPPAUSE_SIGNING_SECRETS": '["hunter2hunter2"]',
        "RESUMER_GRAPHS": "x=broken.py:graph",
    }
    write("broken.py", "raise RuntimeError('no hunter2hunter2 for apikey-of-ours')")
    for form in ((), ("--json",)):
        ended = await resumer("doctor", *form, env={**deployed, **hidden})
        assert ended.code == 1
        for secret in ("dbpassword1", "apikey-of-ours", "hunter2hunter2", rig.looppause.secret):
            assert secret not in ended.out + ended.err


async def test_options_win_over_the_environment(deployed: dict[str, str], rig: Rig) -> None:
    """--database-url and --graph, as for a worker; --timeout holds for what does not answer."""
    write("other.py", AGENT)
    env = {**deployed, "RESUMER_DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    arguments = ["--database-url", rig.url, "--graph", "other=other.py:graph"]
    ended = await resumer("doctor", *arguments, env=env)
    assert ended.code == 0, ended
    assert "other=other.py:graph loads" in ended.out
    assert "procurement" not in ended.out


async def test_where_resumer_dev_runs_its_settings_are_pointed_to() -> None:
    """Nothing set, but .resumer/env is there: say how to take it."""
    assert "source" not in (await resumer("doctor")).out
    write(".resumer/env", "")
    assert "First: source .resumer/env" in (await resumer("doctor")).out


# -- settings and keys --------------------------------------------------------------------------


async def test_every_fault_of_the_settings_is_a_finding(rig: Rig) -> None:
    """One line each; what can be read is looked at all the same."""
    env = env_of(
        rig, RESUMER_CONCURRENCY="many", LOOPPAUSE_PUBLIC_KEYS='["junk"]', LOOPPAUSE_API_URL="x"
    )
    found = await findings(env)
    texts = [(finding.status, finding.found.split(" ")[0]) for finding in found["settings"]]
    assert texts == [
        ("fail", "RESUMER_CONCURRENCY:"),
        ("fail", "LOOPPAUSE_PUBLIC_KEYS:"),
        ("fail", "LOOPPAUSE_API_URL"),
    ]
    assert (found["database"][0].status, found["signing keys"][0].status) == ("ok", "ok")


async def test_nothing_set_is_said_and_no_more() -> None:
    """Without a database or a key nothing that needs them is tried."""
    found = await findings({})
    assert [finding.status for finding in found["settings"]] == ["fail", "fail"]
    assert "RESUMER_DATABASE_URL is missing" in found["settings"][0].found
    assert not {"database", "pooler", "indexes", "signing keys"} & set(found)


@pytest.mark.parametrize(
    "secret, status",
    [
        ("0f4c1f4a6e3b9d2875c6a1e0b3d4f596", "ok"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "ok"),
        ("correct horse battery", "warn"),
        ("Tr0ub4dor&3-and-more", "warn"),
        ("changeme", "fail"),
        ("your-signing-secret-here-please-change-me", "fail"),
        ("looppause_webhook_secret_test_key_1234", "fail"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "fail"),
        ("s3cr3t!", "fail"),
        ("secret", "fail"),
    ],
)
def test_a_secret_is_weighed(secret: str, status: str) -> None:
    """Placeholders and short ones fail; the secret itself is never told."""
    [finding] = check_keys(Subject(env={}, secrets=(secret,)))
    assert finding.status == status, strength_bits(secret)
    assert secret not in finding.found + finding.mend or secret == "secret"
    assert key_id(secret) in finding.found
    assert bool(finding.mend) == (status != "ok")


# -- databases ----------------------------------------------------------------------------------


async def test_a_database_that_does_not_answer(rig: Rig) -> None:
    """Refused, or silent for longer than the limit: one finding, and what is in it is left."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for number in (1, silent.getsockname()[1]):
            url = f"postgresql://u@127.0.0.1:{number}/x"
            found = await findings(env_of(rig, RESUMER_DATABASE_URL=url), timeout=0.5)
            [finding] = found["database"]
            assert (finding.status, "does not answer" in finding.found) == ("fail", True)
            assert not {"pooler", "clock", "schema", "worker", "indexes"} & set(found)


async def test_another_database_for_checkpoints_is_looked_at(
    rig: Rig, postgres_server: Any
) -> None:
    """It has a finding of its own, and is where indexes and locks are looked for."""
    other = postgres_server.database("template1")
    found = await findings(env_of(rig, RESUMER_CHECKPOINT_URL=other))
    assert {name: found[name][0].status for name in ("checkpoints", "lock pooler", "schema")} == {
        "checkpoints": "ok", "lock pooler": "ok", "schema": "ok",
    }  # fmt: skip
    for name in ("checkpointer", "indexes"):
        assert (found[name][0].status, "resumer migrate" in found[name][0].mend) == ("fail", True)
    postgres_server.drop(other)
    gone = await findings(env_of(rig, RESUMER_CHECKPOINT_URL=other))
    assert gone["checkpoints"][0].status == "fail"
    assert "indexes" not in gone


@pytest.mark.parametrize(
    "hours, status",
    [(0, "ok"), (20 / 3600, "warn"), (-20 / 3600, "warn"), (1, "fail"), (-1, "fail")],
)
async def test_the_clock(rig: Rig, hours: float, status: str) -> None:
    """Compared with the database's, ahead or behind."""
    clock = lambda: utc_now() + timedelta(hours=hours)  # noqa: E731  (one argument of one call)
    finding = await one("clock", env_of(rig), clock=clock)
    assert finding.status == status
    if status != "ok":
        assert ("ahead of" if hours > 0 else "behind") in finding.found


BREAKS: list[tuple[str, str, str]] = [
    ("schema", "delete from resumer.migrations", "needs"),
    ("schema", "drop table resumer.migrations", "not set up"),
    ("queue schema", "drop function resumer.procrastinate_prune_stalled_workers_v1", "1 of"),
    ("queue schema", "drop schema resumer cascade", "does not exist"),
    ("checkpointer", "delete from checkpoint_migrations where v > 4", "at version 4"),
    ("checkpointer", "drop table checkpoint_migrations", "do not exist"),
    ("checkpointer", "drop table resumer_pause_index", "do not exist"),
    ("indexes", "drop index resumer_locate_idx", "resumer_locate_idx: not there"),
    ("indexes", "drop index resumer_locate_idx, resumer_waiting_idx", "and resumer_waiting_idx"),
    (
        "indexes",
        "update pg_index set indisvalid = false where indexrelid = 'resumer_waiting_idx'::regclass",
        "resumer_waiting_idx: not valid",
    ),
]


@pytest.mark.parametrize("check, statement, said", BREAKS)
async def test_a_schema_that_is_not_this_versions(
    rig: Rig, check: str, statement: str, said: str
) -> None:
    """Ok as migrated; broken, it says what is missing and what to run."""
    assert (await one(check, env_of(rig))).status == "ok"
    with psycopg.connect(rig.url, autocommit=True) as connection:
        connection.execute(statement.encode())
    finding = await one(check, env_of(rig))
    assert (finding.status, said in finding.found) == ("fail", True), finding
    assert "migrat" in finding.mend


async def test_a_check_that_takes_too_long_is_cut_off(rig: Rig) -> None:
    """Somebody's lock holds up one check; the others go on."""
    connection = await connect(rig.url, schema="resumer")
    async with connection, connection.transaction():
        await connection.execute("lock table migrations in access exclusive mode")
        found = await findings(env_of(rig), timeout=0.7)
    assert "no answer within 1 s" in found["schema"][0].found
    assert found["worker"][0].status == "fail"


async def test_a_worker_has_a_heartbeat(rig: Rig) -> None:
    """None ever, one that lives, one that has gone silent."""
    finding = await one("worker", env_of(rig))
    assert (finding.status, "resumer worker" in finding.mend) == ("fail", True)
    await rig.receiver()
    await until(lambda: rig.rows("select 1 as one from procrastinate_workers"))
    assert (await one("worker", env_of(rig))).status == "ok"
    await rig.stack.aclose()
    await rig.rows(
        "insert into procrastinate_workers (last_heartbeat) values (now() - interval '5 minutes')"
    )
    finding = await one("worker", env_of(rig))
    assert (finding.status, "heard from 300 s ago" in finding.found) == ("fail", True)


async def test_a_direct_connection_is_known_as_such(rig: Rig) -> None:
    """No pooler in between."""
    assert (await one("pooler", env_of(rig))).found == "a direct connection"


@pytest.mark.pgbouncer
async def test_poolers_are_told_apart(rig: Rig, pgbouncer: dict[str, str]) -> None:
    """Session mode will do, for our tables as for locks; transaction mode holds neither."""
    for mode, status in (("session", "ok"), ("transaction", "fail")):
        finding = await one("lock pooler", env_of(rig, RESUMER_CHECKPOINT_URL=pgbouncer[mode]))
        assert (finding.status, mode in finding.found) == (status, True)
    found = await findings(env_of(rig, RESUMER_DATABASE_URL=pgbouncer["session"]))
    assert {found[name][0].status for name in ("database", "schema", "queue schema")} == {"ok"}
    assert found["pooler"][0].found == "behind a pooler in session mode"
    refused = await findings(env_of(rig, RESUMER_DATABASE_URL=pgbouncer["transaction"]))
    assert (refused["database"][0].status, "schema" in refused) == ("fail", False)
    assert "pool_mode to session" in refused["database"][0].mend


# -- LangGraph and graphs -----------------------------------------------------------------------


def test_langgraph_must_be_able_to_refuse() -> None:
    """The installed one is; one without either feature is named with what it lacks."""
    assert check_langgraph().status == "ok"
    old = {
        "langgraph.types": SimpleNamespace(interrupt=lambda value: value),
        "langgraph._internal._constants": SimpleNamespace(),
    }
    finding = check_langgraph(old.__getitem__)
    assert (finding.status, "response_schema and strict resume" in finding.found) == ("fail", True)
    assert "pip install" in finding.mend


@pytest.mark.parametrize(
    "value, status", [("true", "ok"), ("1", "ok"), ("", "warn"), ("0", "warn")]
)
async def test_strict_msgpack(value: str, status: str) -> None:
    """On as LangGraph reads it, else a warning."""
    assert (await one("strict msgpack", {"LANGGRAPH_STRICT_MSGPACK": value})).status == status


async def graph_findings(
    graphs: dict[str, Any], seconds: float = 20.0, **more: Any
) -> list[Finding]:
    return [
        found
        async for found in check_graphs(Subject(env={}, graphs=graphs, **more), seconds=seconds)
    ]


@pytest.mark.parametrize(
    "source, status, said",
    [
        (AGENT, "ok", "loads"),
        (AGENT + "print('hello')", "ok", "loads"),
        ("raise RuntimeError('no bank')", "fail", "RuntimeError: no bank"),
        ("import a_module_nobody_has", "fail", "No module named"),
        ("graph = 1", "fail", "is a int"),
        ("raise SystemExit(3)", "fail", "SystemExit: 3"),
        ("import time; time.sleep(3)", "fail", "not loaded within 1 s"),
    ],
)
async def test_a_graph_must_load(
    source: str, status: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a worker loads it; what its module prints does not mix with the findings."""
    write("agent.py", source)
    seconds = 0.6 if "sleep" in source else 20.0
    [finding] = await graph_findings({"procurement": "agent.py:graph"}, seconds)
    assert (finding.check, finding.status) == ("graph", status), finding
    assert said in finding.found
    assert capsys.readouterr().out == ""


async def test_no_graph_is_a_warning() -> None:
    """A process that only receives needs none."""
    [finding] = await graph_findings({})
    assert (finding.status, "RESUMER_GRAPHS" in finding.mend) == ("warn", True)


async def test_a_flow_needs_crewai(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is missing, the finding says what to install."""
    monkeypatch.setitem(sys.modules, "looppause_sdk.crewai", None)
    [finding] = await graph_findings({}, flows={"buyer": "agent.py:Flow"})
    assert (finding.check, finding.status) == ("flow", "fail")
    assert "pip install 'looppause-sdk[crewai]'" in finding.found


# -- the receiver -------------------------------------------------------------------------------


@pytest.fixture
async def address(rig: Rig) -> str:
    """A receiver without a worker."""
    resumer = Resumer(
        {}, database_url=rig.url, signing_secrets=[rig.looppause.secret], worker=False
    )
    await rig.stack.enter_async_context(resumer.running())
    return await rig.stack.enter_async_context(serving(resumer.app))


async def test_a_signed_round_trip_records_nothing(rig: Rig, address: str) -> None:
    """Known key: understood. Unknown key: refused, by its id. Nothing on disk after either."""
    secrets = json.dumps([rig.looppause.secret, "ffe0c4b1a29d8e7f6a5b4c3d2e1f0a9b"])
    env = {"LOOPPAUSE_SIGNING_SECRETS": secrets, "LOOPPAUSE_WEBHOOK_URL": f"{address}{PATH}"}
    found = (await findings(env_of(rig, **env)))["webhook"]
    assert [finding.status for finding in found] == ["ok", "fail"]
    assert key_id(rig.looppause.secret) in found[0].found
    assert key_id("ffe0c4b1a29d8e7f6a5b4c3d2e1f0a9b") in found[1].found
    for table in ("pauses", "conflicts", "procrastinate_jobs"):
        assert await rig.rows(f"select 1 as one from {table}") == []


async def test_with_public_keys_a_forgery_is_seen_to_be_refused(rig: Rig) -> None:
    """Nothing can be signed with them; that the receiver verifies is seen all the same."""
    rig.looppause = FakeLoopPause(scheme="ed25519")
    receiver = await rig.receiver()
    address = await rig.stack.enter_async_context(serving(receiver.app))
    env = {
        "RESUMER_DATABASE_URL": rig.url,
        "LOOPPAUSE_PUBLIC_KEYS": json.dumps([rig.looppause.public_key]),
        "LOOPPAUSE_WEBHOOK_URL": f"{address}{PATH}",
    }
    found = await findings(env)
    assert (found["webhook"][0].status, "forgery" in found["webhook"][0].found) == ("ok", True)
    assert key_id(rig.looppause.private_key.public_key()) in found["signing keys"][0].found
    env["LOOPPAUSE_WEBHOOK_URL"] = address
    assert (await one("webhook", env)).status == "fail"


@pytest.mark.parametrize(
    "url, status, said",
    [
        ("", "warn", "is not set"),
        ("http://127.0.0.1:1/webhooks/looppause", "fail", "does not answer"),
        ("http://192.0.2.1/webhooks/looppause", "fail", "unencrypted"),
        ("ftp://x/webhooks/looppause", "fail", "must start with http"),
        ("{}/nowhere", "fail", "it answers 404"),
    ],
)
async def test_an_address_that_leads_nowhere(
    rig: Rig, address: str, url: str, status: str, said: str
) -> None:
    """What came back instead of a receiver's answer, and what to set."""
    finding = await one("webhook", env_of(rig, LOOPPAUSE_WEBHOOK_URL=url.format(address)))
    assert (finding.status, said in finding.found) == (status, True), finding
    assert finding.mend


async def test_a_receiver_must_be_ready(rig: Rig, address: str) -> None:
    """Without a worker it says so; with one it is ready."""
    env = env_of(rig, LOOPPAUSE_WEBHOOK_URL=f"{address}{PATH}")
    finding = await one("receiver", env)
    assert (finding.status, "no worker is running" in finding.found) == ("fail", True)
    await rig.receiver()
    await until(lambda: rig.rows("select 1 as one from procrastinate_workers"))
    assert (await one("receiver", env)).status == "ok"


async def test_a_receiver_whose_lifespan_was_not_entered(rig: Rig) -> None:
    """Mounted and forgotten: both findings say what the receiver says."""
    forgotten = Resumer({}, database_url=rig.url, signing_secrets=[rig.looppause.secret])
    async with serving(forgotten.app) as address:
        found = await findings(env_of(rig, LOOPPAUSE_WEBHOOK_URL=f"{address}{PATH}"))
    for name in ("webhook", "receiver"):
        assert found[name][0].status == "fail"
        assert "mounted but not started" in found[name][0].found


async def test_readyz_may_be_out_of_reach(rig: Rig, address: str) -> None:
    """Behind another path, or hidden by a proxy: a warning, since deliveries may well arrive."""
    for url in (f"{address}/hook", f"{address}/elsewhere{PATH}"):
        assert (await one("receiver", env_of(rig, LOOPPAUSE_WEBHOOK_URL=url))).status == "warn"


# -- LoopPause ----------------------------------------------------------------------------------


@pytest.fixture
async def service() -> AsyncIterator[tuple[str, FakeLoopPause]]:
    """A LoopPause that lets one API key in."""
    fake = FakeLoopPause(scheme="ed25519", api_key="the api key")
    async with serving(Emulator(fake).app) as address:
        yield address, fake


@pytest.mark.parametrize(
    "env, status, said",
    [
        ({"LOOPPAUSE_API_KEY": "the api key"}, "ok", "takes the API key"),
        ({"LOOPPAUSE_API_KEY": "another"}, "fail", "refuses the API key (401)"),
        ({}, "warn", "is not set"),
        ({"LOOPPAUSE_API_KEY": "k", "LOOPPAUSE_API_URL": "http://127.0.0.1:1"}, "fail", "no usable answer"),
        ({"LOOPPAUSE_API_KEY": "k", "LOOPPAUSE_API_URL": "nonsense"}, "fail", "base_url"),
    ],
)  # fmt: skip
async def test_the_api_key(
    service: tuple[str, FakeLoopPause], env: dict[str, str], status: str, said: str
) -> None:
    """Asked for a pause that does not exist, which changes nothing."""
    finding = await one("looppause", {"LOOPPAUSE_API_URL": service[0], **env})
    assert (finding.status, said in finding.found) == (status, True), finding


async def test_the_key_looppause_signs_with(service: tuple[str, FakeLoopPause]) -> None:
    """Among the pinned ones, not among them, or not to be had."""
    address, fake = service
    another = FakeLoopPause(scheme="ed25519").public_key
    for keys, url, status in (
        ([another, fake.public_key], address, "ok"),
        ([another], address, "fail"),
        ([another], "http://127.0.0.1:1", "warn"),
        ([another], f"{address}/nowhere", "warn"),
    ):
        env = {"LOOPPAUSE_PUBLIC_KEYS": json.dumps(keys), "LOOPPAUSE_API_URL": url}
        assert (await one("looppause key", env)).status == status
    assert "looppause key" not in await findings({"LOOPPAUSE_API_URL": address})


@pytest.mark.parametrize("mode, status", [(0o400, "ok"), (0o440, "ok"), (0o444, "warn")])
async def test_secret_files_that_everybody_can_read(tmp_path: Path, mode: int, status: str) -> None:
    """A secret in a file is for the service's user, and not for all of the machine's."""
    (tmp_path / "api-key").write_text("key")
    (tmp_path / "api-key").chmod(mode)
    finding = await one("secret files", {"LOOPPAUSE_API_KEY_FILE": str(tmp_path / "api-key")})
    assert finding.status == status
