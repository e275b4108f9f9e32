"""`resumer verify` and `resumer sign`: proofs on disk, genuine and not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from looppause_sdk.proof import key_id
from looppause_sdk.proof import verify as verify_proof
from looppause_sdk.testing import FakeLoopPause, sign_proof
from tests.commands import Ended, resumer
from tests.integration.conftest import Rig

SECRET = "the secret of these tests"
ANSWER = {
    "pause_id": "pause_01JZ5V7Q8R9S0T1U2V3W4X5Y6Z",
    "status": "responded",
    "decision": "approved",
    "authorization_type": "human",
    "human_response": True,
    "responder": "anna@example.com",
    "responded_at": "2026-08-01T14:00:05.250+02:00",
    "channel": "slack",
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def proof(**members: Any) -> dict[str, Any]:
    """The usual answer with these members, signed; None takes one out."""
    document = {name: value for name, value in {**ANSWER, **members}.items() if value is not None}
    return sign_proof(document, secret=SECRET)


def exported(signed: Any, **members: Any) -> dict[str, Any]:
    """A line of an export; `signed` as the receiver got it."""
    text = signed if isinstance(signed, str | None) else json.dumps(signed)
    return {"pause_id": ANSWER["pause_id"], "proof": text, **members}


async def verify(*lines: Any, arguments: tuple[str, ...] = (), **env: str) -> Ended:
    """Verify these lines from a pipe."""
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    known = {"LOOPPAUSE_SIGNING_SECRET": SECRET, **env}
    return await resumer("verify", "-", *arguments, env=known, stdin=text.encode())


# -- verify -------------------------------------------------------------------------------------


async def test_a_genuine_proof_is_told_in_a_table() -> None:
    """Who, when (in UTC), what, and which key; exit code 0; no line over 80 columns."""
    ended = await verify(proof())
    assert (ended.code, ended.err) == (0, "")
    for told in (
        "genuine", ANSWER["pause_id"], "approved by anna@example.com",
        "2026-08-01 12:00:05 UTC", f"hmac key {key_id(SECRET)}",
    ):  # fmt: skip
        assert str(told) in ended.out
    assert ended.out.splitlines()[-1] == "1 genuine."
    assert max(map(len, ended.out.splitlines())) <= 80


async def test_a_table_crops_nothing() -> None:
    """Beside a longer verdict, with a long name and a long id: all of it is there, in 80 columns."""
    long = {"responder": "x" * 70, "pause_id": "p" * 90}
    ended = await verify(proof(), proof(**long), {**proof(), "decision": "rejected"})
    assert max(map(len, ended.out.splitlines())) <= 80
    assert (ended.out.count("x") >= 70, ended.out.count("p") >= 90) == (True, True)
    assert f"hmac key {key_id(SECRET)}" in ended.out
    assert str(ANSWER["pause_id"]) in ended.out


async def test_json_has_a_line_for_each() -> None:
    """Scripts get every fact; what is not genuine says nothing of what it claims."""
    forged = {**proof(), "responder": "mallory@example.com"}
    ended = await verify(proof(), forged, arguments=("--json",))
    good, bad = ended.rows
    assert ended.code == 1
    assert good == {
        "line": 1,
        "result": "genuine",
        "pause_id": ANSWER["pause_id"],
        "decision": "approved",
        "human_authorized": True,
        "authorization_type": "human",
        "responder": "anna@example.com",
        "responded_at": ANSWER["responded_at"],
        "channel": "slack",
        "scheme": "hmac",
        "key_id": key_id(SECRET),
        "reason": None,
    }
    assert (bad["line"], bad["result"], bad["decision"], bad["responder"]) == (
        2, "not_genuine", None, None,
    )  # fmt: skip
    assert "mallory" not in ended.out


PRETTY = json.dumps(proof(), indent=2, ensure_ascii=False)


@pytest.mark.parametrize(
    "line, code, said",
    [
        (proof(), 0, "genuine"),
        (PRETTY, 0, "genuine"),
        (f"\n\n{PRETTY}\n", 0, "genuine"),
        (exported(proof()), 0, "genuine"),
        (exported(PRETTY), 0, "genuine"),
        (exported(proof(), decision="approved", state="resumed"), 0, "genuine"),
        (proof(decision="rejected"), 0, "rejected by"),
        (proof(decision=None, status="expired"), 0, "expired"),
        (proof(authorization_type="system_fallback", human_response=False), 0, "no person"),
        (exported(None), 0, "unsigned"),
        (exported({"pause_id": ANSWER["pause_id"], "status": "expired"}, decision="expired"), 0, "unsigned"),
        (exported({"pause_id": "another", "status": "expired"}), 1, "no configured key"),
        ({"pause_id": ANSWER["pause_id"], "status": "expired"}, 1, "no configured key"),
        (exported(None, decision="approved"), 1, "no signed proof of it"),
        (exported({"pause_id": ANSWER["pause_id"], "status": "expired"}, decision="approved"), 1, "no signed proof of it"),
        (exported(proof(), decision="rejected"), 1, "the line says decision 'rejected'"),
        (exported(proof(pause_id="another")), 1, "the line says pause_id"),
        (exported({**proof(), "decision": "rejected"}), 1, "no configured key"),
        (exported(proof(decision="maybe")), 1, "`decision` must be"),
        ({"proof": "x"}, 1, "`pause_id` is missing"),
        (exported(None, proof=proof()), 1, "must be the signed text itself"),
        (exported("\ud800"), 1, "not usable JSON"),
        ("{", 1, "not a JSON object"),
        ("[1, 2]", 1, "not a JSON object"),
        ("[" * 100_000, 1, "not a JSON object"),
        (f"{json.dumps(proof())}\nnot JSON", 1, "line 2: this is not a JSON object"),
        ('{"pause_id": "\\u001b[31m"}', 1, "no configured key"),
    ],
)  # fmt: skip
async def test_each_line_is_judged(line: Any, code: int, said: str) -> None:
    """By what its own signed text says, and by nothing around it."""
    ended = await verify(line)
    assert ended.code == code, ended
    assert said in ended.text
    assert "\x1b" not in ended.out


async def test_what_a_person_wrote_does_not_reach_the_terminal_raw() -> None:
    """A genuine responder with an escape sequence, or with markup, stays plain text."""
    ended = await verify(proof(responder="\x1b]0;owned\x07[red]x"))
    assert (ended.code, "\x1b" in ended.out, "\x07" in ended.out) == (0, False, False)
    assert "[red]x" in ended.text


async def test_keys_rotate() -> None:
    """Any of several secrets may have signed; a key that is not among them proves nothing."""
    several = json.dumps(["another", SECRET])
    env = {"LOOPPAUSE_SIGNING_SECRETS": several}
    text = json.dumps(proof()).encode()
    assert (await resumer("verify", "-", env=env, stdin=text)).code == 0
    assert (await verify(proof(), LOOPPAUSE_SIGNING_SECRET="another")).code == 1


async def test_given_keys_replace_those_of_the_environment(tmp_path: Path) -> None:
    """Nobody trusts a key they did not name."""
    file = tmp_path / "secret"
    file.write_text("another\n")
    given = ("--secret-file", str(file))
    assert (await verify(proof(), arguments=given)).code == 1
    file.write_text(f"{SECRET}\n")
    assert (await verify(proof(), arguments=given, LOOPPAUSE_SIGNING_SECRET="x")).code == 0


@pytest.mark.parametrize("form", ["environment", "text", "file"])
async def test_ed25519_proofs_verify(tmp_path: Path, form: str) -> None:
    """With the public key as LoopPause publishes it, from wherever it comes."""
    looppause = FakeLoopPause(scheme="ed25519")
    signed = looppause.sign(ANSWER)
    arguments: list[str] = []
    env: dict[str, str] = {}
    if form == "environment":
        env["LOOPPAUSE_PUBLIC_KEYS"] = json.dumps([looppause.public_key])
    elif form == "text":
        arguments = ["--public-key", looppause.public_key]
    else:
        public = looppause.private_key.public_key()
        file = tmp_path / "key.pem"
        file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        arguments = ["--public-key", str(file)]
    text = json.dumps(signed).encode()
    ended = await resumer("verify", "-", *arguments, env=env, stdin=text)
    assert (ended.code, "ed25519" in ended.out) == (0, True)


async def test_a_file_is_read_as_a_pipe_is(tmp_path: Path) -> None:
    """By its name; a summary counts what was found."""
    file = tmp_path / "export.jsonl"
    lines = [exported(proof()), exported(None), exported({**proof(), "comment": "x"})]
    file.write_text("\n".join(map(json.dumps, lines)))
    ended = await resumer("verify", str(file), env={"LOOPPAUSE_SIGNING_SECRET": SECRET})
    assert ended.code == 1
    assert "1 genuine, 1 unsigned" in ended.text
    assert ended.out.endswith("\n1 genuine, 1 unsigned (nothing to verify), 1 NOT genuine.\n")


@pytest.mark.parametrize(
    "arguments, env, said",
    [
        (["-"], {}, "- is empty"),
        (["nowhere.json"], {}, "nowhere.json cannot be read"),
        (["-"], {"LOOPPAUSE_SIGNING_SECRET": ""}, "no key to verify with"),
        (["-"], {"LOOPPAUSE_SIGNING_SECRETS": "hidden"}, "LOOPPAUSE_SIGNING_SECRETS: must be a JSON array"),
        (["-"], {"LOOPPAUSE_PUBLIC_KEYS": '["hidden"]'}, "LOOPPAUSE_PUBLIC_KEYS: a public key cannot be read"),
        (["-", "--public-key", "hidden"], {}, "--public-key: a public key cannot be read"),
        (["-", "--secret-file", "nowhere"], {}, "No such file"),
        (["-", "--secret-file", "/dev/null"], {}, "is empty"),
    ],
)  # fmt: skip
async def test_nothing_to_verify_ends_with_two(
    arguments: list[str], env: dict[str, str], said: str
) -> None:
    """Exit code 2 and one line that says what to give, without the key."""
    ended = await resumer("verify", *arguments, env={"LOOPPAUSE_SIGNING_SECRET": SECRET, **env})
    assert ended.code == 2
    assert said in ended.err
    assert "hidden" not in ended.err


async def test_what_a_receiver_stored_is_verified_again(rig: Rig) -> None:
    """The bytes on disk, as an export hands them out, with the decision the record claims."""
    receiver = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    await rig.deliver(receiver, rig.looppause.decide(pause_id, comment="für Müller"))
    await rig.until_state(pause_id, "resumed")
    row = await rig.pause(pause_id)
    assert row
    line = {"pause_id": pause_id, "decision": row["decision"], "proof": row["body"].decode()}
    ended = await verify(line, LOOPPAUSE_SIGNING_SECRET=rig.looppause.secret)
    assert ended.code == 0, ended


# -- sign ---------------------------------------------------------------------------------------


async def sign(document: Any, *arguments: str, **env: str) -> Ended:
    text = document if isinstance(document, str) else json.dumps(document)
    known = {"LOOPPAUSE_SIGNING_SECRET": SECRET, **env}
    return await resumer("sign", "-", *arguments, env=known, stdin=text.encode())


async def test_what_is_signed_verifies() -> None:
    """One line on standard output that is a proof; on the other, that it is for tests."""
    ended = await sign({**ANSWER, "signature": "old", "comment": "für Müller", "amount": 1e-7})
    assert ended.code == 0
    found = verify_proof(ended.out.strip(), secrets=SECRET)
    assert (found.human_authorized, found.comment) == (True, "für Müller")
    assert ended.err == (
        f"resumer: signed with hmac key {key_id(SECRET)}, for tests only: people have not decided\n"
    )
    assert SECRET not in ended.out + ended.err
    assert (await verify(ended.out.strip())).code == 0


async def test_sign_takes_a_secret_from_a_file(tmp_path: Path) -> None:
    """It wins over the environment's."""
    (tmp_path / "secret").write_text("another\n")
    ended = await sign(ANSWER, "--secret-file", str(tmp_path / "secret"))
    assert verify_proof(ended.out.strip(), secrets="another").pause_id == ANSWER["pause_id"]


@pytest.mark.parametrize("form", ["PEM", "DER"])
async def test_sign_takes_an_ed25519_key(tmp_path: Path, form: str) -> None:
    """PEM, or base64 of DER."""
    import base64

    key = Ed25519PrivateKey.generate()
    file = tmp_path / "key"
    raw = key.private_bytes(getattr(Encoding, form), PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(raw if form == "PEM" else base64.b64encode(raw))
    ended = await sign(ANSWER, "--private-key", str(file))
    assert verify_proof(ended.out.strip(), public_keys=key.public_key()).scheme == "ed25519"


async def test_what_no_receiver_takes_is_signed_with_a_warning() -> None:
    """Nonsense can be signed for a test, and is said to be nonsense."""
    ended = await sign({"pause_id": "p"})
    assert (ended.code, "signature" in ended.rows[0]) == (0, True)
    assert "no receiver will take it: `decision` must be" in ended.err


async def test_a_document_with_the_secret_in_it_is_not_printed() -> None:
    """Wherever the secret stands: the output goes to terminals and logs."""
    ended = await sign({**ANSWER, "fields": {"note": f"use {SECRET}!"}})
    assert ended.code == 2
    assert SECRET not in ended.out + ended.err
    assert "contains the signing secret itself" in ended.err


@pytest.mark.parametrize(
    "text, arguments, env, said",
    [
        ("{", [], {}, "is not JSON"),
        ("[]", [], {}, "one JSON object"),
        ("[" * 100_000, [], {}, "is not JSON"),
        ("{}", [], {"LOOPPAUSE_SIGNING_SECRET": ""}, "no key to sign with"),
        ("{}", ["--private-key", "ec.pem"], {}, "is not an Ed25519 key"),
        ("{}", ["--private-key", "junk"], {}, "cannot be read: give PEM"),
        ("{}", ["--secret-file", "junk", "--private-key", "junk"], {}, "sign with one of them"),
    ],
)
async def test_what_cannot_be_signed_ends_with_two(
    tmp_path: Path, text: str, arguments: list[str], env: dict[str, str], said: str
) -> None:
    """One line that says what to give; nothing on standard output."""
    ec = generate_private_key(SECP256R1())
    raw = ec.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ec.pem").write_bytes(raw)
    (tmp_path / "junk").write_text("hidden")
    ended = await sign(text, *arguments, **env)
    assert (ended.code, ended.out, said in ended.err) == (2, "", True), ended
    assert "hidden" not in ended.err
