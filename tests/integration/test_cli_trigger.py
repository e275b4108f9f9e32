"""`resumer trigger`: every kind against a real receiver, and what it will not send."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from looppause_sdk.proof import key_id, verify
from looppause_sdk.testing import FakeLoopPause
from resumer.serving import serving
from tests.commands import Ended, resumer
from tests.integration.conftest import Rig

PATH = "/webhooks/looppause"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, without what `resumer dev` may have left."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def url(rig: Rig) -> str:
    """The address of a running receiver with its worker."""
    receiver = await rig.receiver()
    address = await rig.stack.enter_async_context(serving(receiver.app))
    return f"{address}{PATH}"


async def trigger(rig: Rig, url: str, *arguments: str, **env: str) -> Ended:
    known = {
        "LOOPPAUSE_WEBHOOK_URL": url,
        "LOOPPAUSE_SIGNING_SECRET": rig.looppause.secret,
        "RESUMER_DATABASE_URL": rig.url,
    }
    return await resumer("trigger", *arguments, env={**known, **env})


# -- the kinds ----------------------------------------------------------------------------------


async def test_an_approval_resumes_the_one_thread_that_waits(rig: Rig, url: str) -> None:
    """Without a pause id the only waiting pause is found and answered; the thread pays once."""
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    ended = await trigger(rig, url, "approved", "--comment", "go on")
    assert (ended.code, ended.err) == (0, "")
    assert pause_id in ended.out
    assert '202 {"status": "accepted"' in ended.text
    assert "✓ As it should be for `approved`. Next: `resumer pauses`" in ended.text
    await rig.until_state(pause_id, "resumed")
    [paid] = rig.ledger.payments
    assert (paid["comment"], paid["responder"]) == ("go on", "trigger@localhost")


@pytest.mark.parametrize("kind", ["rejected", "fallback", "expired"])
async def test_whatever_is_no_approval_closes_the_gate(rig: Rig, url: str, kind: str) -> None:
    """It is taken, the thread is resumed, and nothing is paid."""
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    ended = await trigger(rig, url, kind)
    assert ended.code == 0, ended
    await rig.until_state(pause_id, "resumed")
    assert rig.ledger.payments == []


async def test_a_duplicate_pays_once(rig: Rig, url: str) -> None:
    """The same bytes twice: accepted, then known."""
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    ended = await trigger(rig, url, "duplicate", "--json")
    [report] = ended.rows
    assert (ended.code, report["as_expected"], report["pause_id"]) == (0, True, pause_id)
    assert [(sent["status"], sent["body"]["status"]) for sent in report["deliveries"]] == [
        (202, "accepted"),
        (200, "duplicate"),
    ]
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


async def test_a_conflict_leaves_the_first_decision(rig: Rig, url: str) -> None:
    """Approved, then rejected: the rejection is kept aside."""
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    ended = await trigger(rig, url, "conflict")
    assert ended.code == 0, ended
    assert "the first decision stands" in ended.text
    assert (await rig.until_state(pause_id, "resumed"))["decision"] == "approved"
    assert [row["decision"] for row in await rig.rows("select decision from conflicts")] == [
        "rejected"
    ]


async def test_an_early_one_needs_no_thread(rig: Rig, url: str) -> None:
    """A made-up pause is recorded, and stays answered."""
    ended = await trigger(rig, url, "early", RESUMER_DATABASE_URL="")
    assert ended.code == 0, ended
    assert "no thread asks this pause" in ended.text
    [row] = await rig.rows("select pause_id, state from pauses")
    assert (row["pause_id"].startswith("pause_trigger_"), row["state"]) == (True, "answered")


@pytest.mark.parametrize("scheme", ["hmac", "ed25519"])
async def test_a_tampered_one_is_refused(rig: Rig, tmp_path: Path, scheme: Any) -> None:
    """One byte of what was signed differs: 401, which is as it should be, and nothing on disk."""
    rig.looppause = FakeLoopPause(scheme=scheme)
    receiver = await rig.receiver()
    address = await rig.stack.enter_async_context(serving(receiver.app))
    arguments = ["tampered", "--json"]
    if scheme == "ed25519":
        arguments += ["--private-key", _private_key(rig.looppause, tmp_path)]
    ended = await trigger(rig, f"{address}{PATH}", *arguments)
    [report] = ended.rows
    assert (ended.code, report["deliveries"][0]["status"]) == (0, 401)
    assert await rig.rows("select 1 as one from pauses") == []


async def test_what_is_tampered_with_differs_in_one_byte() -> None:
    """The body is the signed one but for a byte, and only the signed one verifies."""
    from resumer.commands.keys import SigningKey
    from resumer.commands.kinds import Kind, Said, deliveries
    from resumer.model import utc_now

    now, key = utc_now(), SigningKey(secret="a secret")
    [signed] = deliveries(Kind.APPROVED, key, "pause_1", Said(), now)
    [tampered] = deliveries(Kind.TAMPERED, key, "pause_1", Said(), now)
    assert len(signed.body) == len(tampered.body)
    assert sum(a != b for a, b in zip(signed.body, tampered.body, strict=True)) == 1
    assert verify(signed.body, secrets="a secret").human_authorized


def _private_key(looppause: FakeLoopPause, folder: Path) -> str:
    file = folder / "key.pem"
    key = looppause.private_key
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(file)


async def test_an_ed25519_key_signs_too(rig: Rig, tmp_path: Path) -> None:
    """With --private-key the receiver's public key verifies it; fields are the person's."""
    rig.looppause = FakeLoopPause(scheme="ed25519")
    receiver = await rig.receiver()
    address = await rig.stack.enter_async_context(serving(receiver.app))
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    key = _private_key(rig.looppause, tmp_path)
    fields = ["--fields", '{"limit": 5.50, "für": "Müller"}', "--responder", "anna@example.com"]
    ended = await trigger(rig, f"{address}{PATH}", "approved", "--private-key", key, *fields)
    assert ended.code == 0, ended
    await rig.until_state(pause_id, "resumed")
    [paid] = rig.ledger.payments
    assert (paid["fields"], paid["responder"]) == (
        {"limit": 5.5, "für": "Müller"},
        "anna@example.com",
    )


# -- what is not as it should be ----------------------------------------------------------------


async def test_another_key_is_said_to_be_the_trouble(rig: Rig, url: str) -> None:
    """401 for an approval: exit code 1, the key's id, and no secret."""
    ended = await trigger(rig, url, "approved", "--pause-id", "p", "--secret", "not the receivers")
    assert ended.code == 1
    assert "✗ Not as it should be" in ended.out
    assert "Expected: 202 accepted" in ended.out
    assert key_id("not the receivers") in ended.out
    assert "not the receivers" not in ended.out + ended.err


async def test_an_answered_pause_is_not_answered_again(rig: Rig, url: str) -> None:
    """The receiver keeps the second decision aside; the command says so, and fails."""
    await trigger(rig, url, "approved", "--pause-id", "pause_1")
    ended = await trigger(rig, url, "rejected", "--pause-id", "pause_1")
    assert ended.code == 1
    assert "choose a pause that still waits" in ended.text


async def _redirect(_: Request) -> Response:
    return RedirectResponse("/elsewhere")


async def _believe(_: Request) -> Response:
    return JSONResponse({"status": "accepted"}, 202)


async def _escape(_: Request) -> Response:
    return Response("\x1b[31mred\x07 [bold]")


@pytest.fixture
async def others() -> AsyncIterator[str]:
    """Servers that are no receiver of ours."""
    handlers = {"/redirect": _redirect, "/believe": _believe, "/escape": _escape}
    routes = [Route(path, handler, methods=["POST"]) for path, handler in handlers.items()]
    async with serving(Starlette(routes=routes)) as address:
        yield address


@pytest.mark.parametrize(
    "kind, path, said",
    [
        ("early", "/nowhere", "No receiver at this address"),
        ("early", "/redirect", "A redirect"),
        ("early", "/escape", "Something else than a receiver"),
        ("tampered", "/believe", "it believes what nobody has signed"),
    ],
)
async def test_what_no_receiver_of_ours_says_is_told_apart(
    rig: Rig, others: str, kind: str, path: str, said: str
) -> None:
    """Exit code 1, what it means, and nothing that a terminal would obey."""
    ended = await trigger(rig, f"{others}{path}", kind)
    assert ended.code == 1
    assert said in ended.text
    assert "\x1b" not in ended.out
    assert "\x07" not in ended.out


async def test_a_receiver_that_was_not_started_takes_nothing(rig: Rig) -> None:
    """503: nothing was taken, and the receiver's own words say why."""
    from resumer import Resumer

    sleeping = Resumer({}, database_url=rig.url, signing_secrets=[rig.looppause.secret])
    async with serving(sleeping.app) as address:
        ended = await trigger(rig, f"{address}{PATH}", "early")
    assert ended.code == 1
    assert "mounted but not started" in ended.text


# -- which pause --------------------------------------------------------------------------------


async def test_several_waiting_pauses_are_named(rig: Rig, url: str) -> None:
    """Nothing is sent; both are listed, and one given by its id is answered."""
    [one], [two] = await rig.hibernate(rig.agent(), "t1"), await rig.hibernate(rig.agent(), "t2")
    ended = await trigger(rig, url, "approved")
    assert ended.code == 2
    assert "2 pauses wait; say which to answer with --pause-id:" in ended.err
    assert (one in ended.err, two in ended.err) == (True, True)
    assert await rig.rows("select 1 as one from pauses where body is not null") == []
    assert (await trigger(rig, url, "approved", "--pause-id", one)).code == 0
    await rig.until_state(one, "resumed")
    assert (await trigger(rig, url, "rejected")).code == 0
    await rig.until_state(two, "resumed")
    assert len(rig.ledger.payments) == 1


async def test_nothing_waiting_is_said(rig: Rig, url: str) -> None:
    """An empty database: exit code 2, and what to try instead."""
    ended = await trigger(rig, url, "approved")
    assert (ended.code, "resumer trigger early" in ended.err) == (2, True)


async def test_another_machine_needs_a_pause_id(rig: Rig) -> None:
    """What waits here says nothing about which pause is meant there."""
    await rig.hibernate(rig.agent(), "t1")
    ended = await trigger(rig, f"https://receiver.invalid{PATH}", "approved")
    assert (ended.code, "--pause-id" in ended.err) == (2, True)


async def test_a_database_that_is_not_set_up_is_said(
    rig: Rig, url: str, postgres_server: Any
) -> None:
    """The remedy is in the line."""
    empty = postgres_server.database("template1")
    ended = await trigger(rig, url, "approved", "--database-url", empty)
    assert (ended.code, ended.err) == (
        2,
        "resumer: the database is not set up: run `resumer migrate`\n",
    )
    postgres_server.drop(empty)


# -- usage and connections ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, env, said",
    [
        (["approved"], {"RESUMER_DATABASE_URL": ""}, "say which pause to answer with --pause-id"),
        (["early"], {"LOOPPAUSE_SIGNING_SECRET": ""}, "no key to sign with"),
        (["early", "--url", "http://192.0.2.1/x"], {}, "would go to 192.0.2.1 unencrypted"),
        (["early", "--url", "ftp://127.0.0.1/x"], {}, "must start with http"),
        (["early", "--url", "http://me:hidden@127.0.0.1/"], {}, "must not hold a user name"),
        (["early", "--url", "http://[::1/x"], {}, "--url cannot be read"),
        (["early", "--url", "http://127.0.0.1:1/x"], {}, "does not answer"),
        (["early", "--fields", "{"], {}, "--fields is not JSON"),
        (["early", "--fields", "[]"], {}, "--fields must be a JSON object"),
        (["expired", "--pause-id", "p", "--comment", "x"], {}, "nobody answers what expires"),
        (["early", "--private-key", "nowhere.pem", "--secret", "s"], {}, "sign with one of them"),
        (["early", "--private-key", "nowhere.pem"], {}, "No such file"),
        (["later"], {}, "'later' is not one of"),
    ],
)  # fmt: skip
async def test_what_cannot_be_sent_ends_with_two(
    rig: Rig, arguments: list[str], env: dict[str, str], said: str
) -> None:
    """Usage and connection problems: exit code 2, one clear line, no secret."""
    ended = await trigger(rig, "http://127.0.0.1:1", *arguments, **env)
    assert ended.code == 2
    assert said in ended.err
    assert rig.looppause.secret not in ended.out + ended.err
    assert "hidden" not in ended.err


async def test_plain_http_goes_anywhere_if_asked(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """--anywhere lets it out of this machine; the attempt is then a connection problem."""
    monkeypatch.setattr("resumer.commands.trigger.TIMEOUT_SECONDS", 0.2)
    url = "http://192.0.2.1:9/x"
    ended = await trigger(rig, url, "early", "--anywhere")
    assert (ended.code, "does not answer" in ended.err) == (2, True)


async def test_what_resumer_dev_has_left_is_used(rig: Rig, url: str, tmp_path: Path) -> None:
    """Key, address and database come from .resumer/env, under what the environment says."""
    file = tmp_path / ".resumer" / "env"
    file.parent.mkdir()
    file.write_text(
        f"export LOOPPAUSE_WEBHOOK_URL='{url}'\nexport DATABASE_URL='{rig.url}'\n"
        f"export LOOPPAUSE_SIGNING_SECRET={rig.looppause.secret}\n"
    )
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    ended = await resumer("trigger", "approved")
    assert ended.code == 0, ended
    await rig.until_state(pause_id, "resumed")
    wrong = await resumer("trigger", "early", env={"LOOPPAUSE_SIGNING_SECRET": "another"})
    assert wrong.code == 1
    file.write_text("export X='")
    broken = await resumer("trigger", "early")
    assert (broken.code, ".resumer/env cannot be read" in broken.err) == (2, True)


def test_it_is_a_command_of_the_program(tmp_path: Path) -> None:
    """As a process: one line on standard error, exit code 2."""
    ended = subprocess.run(
        [sys.executable, "-m", "resumer", "trigger", "early", "--url", "http://127.0.0.1:1/"],
        env={"LOOPPAUSE_SIGNING_SECRET": "a secret of a test"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("resumer: http://127.0.0.1:1/ does not answer")
    assert len(ended.stderr.splitlines()) == 1


async def test_json_is_one_object_for_scripts(rig: Rig, url: str) -> None:
    """Everything that was shown is in it."""
    ended = await trigger(rig, url, "early", "--json")
    [report] = ended.rows
    assert json.loads(ended.out) == report
    assert set(report) == {
        "kind", "url", "pause_id", "scheme", "key_id", "as_expected", "deliveries", "next",
    }  # fmt: skip
    assert report["deliveries"][0]["body"]["pause_id"] == report["pause_id"]
