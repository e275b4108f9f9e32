"""`verify`: what is genuine, who approved, and what may leave it."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from typing import Any

import looppause_client
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from looppause_sdk.errors import LoopPauseConfigError, ProofError, ProofInvalid, ProofMalformed
from looppause_sdk.proof import MOST_IDS, Proof, key_id, verify, verify_signature
from tests.vectors import (
    PUBLIC_KEY,
    PUBLIC_KEYS,
    SECRET,
    SECRETS,
    VECTORS,
    Vector,
    vector_named,
)
from tests.vectors.signing import APPROVAL, ed25519_envelope, python_signed

VALID = [vector for vector in VECTORS if vector.expect == "valid"]
REFUSED = [vector for vector in VECTORS if vector.expect != "valid"]
ERRORS = {"invalid": ProofInvalid, "malformed": ProofMalformed}
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
UNICODE_TEXT = [vector for vector in REFUSED if vector.name != "not_utf8"]


def _check(body: bytes | str | dict[str, Any]) -> Proof:
    return verify(body, secrets=SECRETS, public_keys=PUBLIC_KEYS)


# -- the table of vectors ----------------------------------------------------------------------


def test_the_table_is_whole() -> None:
    """All 56 vectors are there, each with a verdict this file knows."""
    assert len(VECTORS) == 56
    assert {vector.expect for vector in VECTORS} == {"valid", *ERRORS}


@pytest.mark.parametrize("vector", VALID, ids=str)
@pytest.mark.parametrize("form", [bytes, str, dict])
def test_a_genuine_vector_verifies(vector: Vector, form: type) -> None:
    """Bytes, text and the parsed mapping of a genuine proof give the same verdict."""
    bodies: dict[type, Any] = {bytes: vector.body, str: vector.body.decode(), dict: vector.parsed}
    proof = _check(bodies[form])
    assert proof.human_authorized is vector.human_authorized
    assert proof.scheme == vector.scheme


@pytest.mark.parametrize("vector", REFUSED, ids=str)
def test_a_hostile_vector_is_refused_as_bytes(vector: Vector) -> None:
    """Every hostile body gets exactly the error that its HTTP status is made from."""
    with pytest.raises(ProofError) as caught:
        _check(vector.body)
    assert type(caught.value) is ERRORS[vector.expect]


@pytest.mark.parametrize("vector", UNICODE_TEXT, ids=str)
def test_a_hostile_vector_is_refused_as_text(vector: Vector) -> None:
    """Decoding the body first changes nothing about the verdict."""
    with pytest.raises(ProofError) as caught:
        _check(vector.body.decode())
    assert type(caught.value) is ERRORS[vector.expect]


@pytest.mark.parametrize(
    "vector", [vector for vector in VALID if vector.accepted_by_0_1_0 is not None], ids=str
)
def test_the_published_verifier_judges_as_the_table_says(vector: Vector) -> None:
    """looppause 0.1.0 accepts a subset of what is genuine, and we accept all of it."""
    published = [looppause_client.verify_signature(vector.parsed, s) for s in SECRETS]
    ours = [verify_signature(vector.parsed, s) for s in SECRETS]
    assert any(published) is vector.accepted_by_0_1_0
    assert any(ours)


# -- keys --------------------------------------------------------------------------------------


def test_the_key_that_signed_is_named() -> None:
    """During a rotation the proof says which of the secrets had signed it."""
    proof = _check(vector_named("previous_secret").body)
    assert proof.key_id == key_id(SECRETS[1]) != key_id(SECRETS[0])


def test_a_retired_secret_no_longer_verifies() -> None:
    """Taking the old secret out of the configuration ends its power."""
    with pytest.raises(ProofInvalid):
        verify(vector_named("previous_secret").body, secrets=[SECRET])


def test_any_of_several_public_keys_may_have_signed() -> None:
    """Public keys rotate as secrets do; the order of the configured keys does not matter."""
    body = json.dumps(ed25519_envelope(APPROVAL, KEY))
    proof = verify(body, public_keys=[PUBLIC_KEY, KEY.public_key()])
    assert proof.key_id == key_id(KEY.public_key())


def test_a_key_has_one_name_however_it_is_given() -> None:
    """Base64, PEM and the key object are the same key in logs."""
    public = KEY.public_key()
    der = base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = ed25519_envelope(APPROVAL, KEY)
    given: list[Any] = [public, der.decode(), pem.decode()]
    assert {verify(body, public_keys=[key]).key_id for key in given} == {key_id(public)}


def test_one_secret_as_text_is_one_secret() -> None:
    """A lone string is one key and is not taken apart into characters."""
    vector = vector_named("approved_human")
    assert verify(vector.body, secrets=SECRET).key_id == key_id(SECRET)
    with pytest.raises(ProofInvalid):
        verify(json.dumps(python_signed(APPROVAL, "l")), secrets=SECRET)


def test_one_public_key_as_text_is_one_key() -> None:
    """A lone base64 key is one key, as is a lone key object."""
    vector = vector_named("ed25519_approved")
    assert verify(vector.body, public_keys=PUBLIC_KEY).scheme == "ed25519"
    assert verify(ed25519_envelope(APPROVAL, KEY), public_keys=KEY.public_key()).human_authorized


@pytest.mark.parametrize("secrets", [(), "", [""], ["", ""], [None]], ids=repr)
def test_an_empty_secret_verifies_nothing(secrets: Any) -> None:
    """A proof signed with the empty string is worth nothing, whatever the configuration."""
    with pytest.raises(ProofInvalid):
        verify(json.dumps(python_signed(APPROVAL, "")), secrets=secrets)


def test_an_empty_secret_beside_a_real_one_stays_powerless() -> None:
    """An empty entry in a list of secrets does not open the list."""
    with pytest.raises(ProofInvalid):
        verify(json.dumps(python_signed(APPROVAL, "")), secrets=["", SECRET])


def test_without_public_keys_no_ed25519_proof_verifies() -> None:
    """A secret does not stand in for a public key."""
    with pytest.raises(ProofInvalid):
        verify(vector_named("ed25519_approved").body, secrets=SECRETS)


def _der(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    return base64.b64encode(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()


UNREADABLE_KEYS = {
    "empty": "",
    "no base64": "not a key!",
    "non-ASCII": "ключ",
    "base64 of something else": base64.b64encode(b"hello").decode(),
    "cut short": PUBLIC_KEY[:-8],
    "PEM of nothing": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    "RSA": _der(rsa.generate_private_key(65537, 2048).public_key()),
    "P-256": _der(ec.generate_private_key(ec.SECP256R1()).public_key()),
    "an algorithm nobody has": PUBLIC_KEY.replace("K2VwAyEA", "K2V/AyEA"),
}


@pytest.mark.parametrize("key", UNREADABLE_KEYS.values(), ids=UNREADABLE_KEYS.keys())
def test_an_unreadable_public_key_is_a_configuration_error(key: str) -> None:
    """A wrong key in the settings is told apart from a wrong proof."""
    with pytest.raises(LoopPauseConfigError, match="public key"):
        verify(vector_named("ed25519_approved").body, public_keys=[key])


def test_no_secret_is_kept_when_a_proof_is_verified() -> None:
    """A secret that was rotated away is in the configuration, and nowhere else in here."""
    secret = f"{SECRET}, made for this test"
    body = json.dumps(python_signed(APPROVAL, secret))
    before = sys.getrefcount(secret)
    assert verify(body, secrets=[secret]).key_id == key_id(secret)
    assert sys.getrefcount(secret) == before


def test_keys_are_named_apart_however_many_there_are() -> None:
    """More secrets than names are remembered: each has the name it had before."""
    secrets = [f"secret {number}" for number in range(3 * MOST_IDS)]
    names = [key_id(secret) for secret in secrets]
    assert [key_id(secret) for secret in secrets] == names
    assert len(set(names)) == len(secrets)


# -- what verify_signature promises ------------------------------------------------------------


@pytest.mark.parametrize("vector", REFUSED, ids=str)
def test_verify_signature_is_never_more_generous_than_verify(vector: Vector) -> None:
    """On hostile bodies that parse, the old call says False, and never raises."""
    if vector.expect == "malformed":
        assert isinstance(verify_signature(_parsed_or_empty(vector), SECRET), bool)
    else:
        assert verify_signature(_parsed_or_empty(vector), SECRET) is False


def _parsed_or_empty(vector: Vector) -> dict[str, Any]:
    try:
        value = json.loads(vector.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


@pytest.mark.parametrize("thing", [None, 7, "", [], "{}", b"{}"], ids=repr)
def test_verify_signature_says_false_to_what_is_no_mapping(thing: Any) -> None:
    """Whatever is passed, the answer is False."""
    assert verify_signature(thing, SECRET) is False


@pytest.mark.parametrize("secret", ["", None, 7, "\ud800"], ids=repr)
def test_verify_signature_says_false_to_an_unusable_secret(secret: Any) -> None:
    """A secret that cannot sign has signed nothing."""
    assert verify_signature(vector_named("approved_human").parsed, secret) is False


def test_a_canonical_payload_is_never_checked_by_hmac() -> None:
    """The presence of `canonical_payload` selects Ed25519, and an HMAC does not rescue it."""
    members = {**APPROVAL, "canonical_payload": json.dumps(APPROVAL)}
    assert verify_signature(python_signed(members, SECRET), SECRET) is False


# -- reading a genuine proof -------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization_type, human_response, decision, expected",
    [
        ("human", True, "approved", True),
        ("human", True, "rejected", False),
        ("human", False, "approved", False),
        ("human", False, "rejected", False),
        ("system_fallback", True, "approved", False),
        ("system_fallback", True, "rejected", False),
        ("system_fallback", False, "approved", False),
        ("system_fallback", False, "rejected", False),
    ],
)
def test_human_authorized(
    authorization_type: str, human_response: bool, decision: str, expected: bool
) -> None:
    """Only a person's own approval authorises; seven of the eight combinations do not."""
    members = {
        **APPROVAL,
        "authorization_type": authorization_type,
        "human_response": human_response,
        "decision": decision,
    }
    proof = verify(python_signed(members, SECRET), secrets=SECRET)
    assert proof.human_authorized is expected


@pytest.mark.parametrize("value", [1, "true", [True]], ids=repr)
def test_a_truthy_human_response_authorises_nothing(value: Any) -> None:
    """Even a proof built past the verifier wants the boolean itself."""
    proof = verify(python_signed(APPROVAL, SECRET), secrets=SECRET)
    assert replace(proof, human_response=value).human_authorized is False


@pytest.mark.parametrize("value", [1, 0, "true", "false", None, [], {}], ids=repr)
def test_human_response_must_be_a_boolean(value: Any) -> None:
    """Nothing is made true by being truthy."""
    signed = python_signed({**APPROVAL, "human_response": value}, SECRET)
    with pytest.raises(ProofMalformed, match="human_response"):
        verify(signed, secrets=SECRET)


def test_a_missing_human_response_is_no_human() -> None:
    """A proof that is silent about it was not answered by a person."""
    members = {key: value for key, value in APPROVAL.items() if key != "human_response"}
    assert verify(python_signed(members, SECRET), secrets=SECRET).human_authorized is False


@pytest.mark.parametrize("status", ["timed_out", "expired", "cancelled"])
def test_a_signed_notice_without_a_decision_is_a_denial(status: str) -> None:
    """Nobody answered: the status is the decision, and it opens nothing."""
    signed = python_signed({"pause_id": "pause_1", "status": status}, SECRET)
    proof = verify(signed, secrets=SECRET)
    assert (proof.decision, proof.human_authorized) == (status, False)


def test_a_notice_without_a_signature_is_not_believed() -> None:
    """The reconciler's own denials have their own way in; the verifier wants a signature."""
    with pytest.raises(ProofInvalid):
        verify({"pause_id": "pause_1", "status": "expired"}, secrets=SECRET)


@pytest.mark.parametrize("status", ["timed_out", "expired", "cancelled"])
def test_approved_and_ended_at_once_is_no_usable_proof(status: str) -> None:
    """A message that says both is not taken for an approval."""
    with pytest.raises(ProofMalformed, match=status):
        verify(python_signed({**APPROVAL, "status": status}, SECRET), secrets=SECRET)


@pytest.mark.parametrize("status", ["pending", "delivered", "something_new", None, 7], ids=repr)
def test_a_status_that_is_no_answer_has_no_decision(status: Any) -> None:
    """A signed state of a pause that still waits is not a decision."""
    with pytest.raises(ProofMalformed, match="decision"):
        verify(python_signed({"pause_id": "pause_1", "status": status}, SECRET), secrets=SECRET)


@pytest.mark.parametrize(
    "pause_id",
    [
        "",
        None,
        7,
        ["pause_1"],
        "a\x00b",
        "a\nb",
        "a\x7f",
        "a\u200bb",
        "\u202eb",
        "\ud800",
        "x" * 256,
    ],
    ids=ascii,
)
def test_a_pause_id_is_short_and_printable(pause_id: Any) -> None:
    """What would break a log line, a page or a text column is refused although signed."""
    with pytest.raises(ProofMalformed, match="pause_id"):
        verify(python_signed({**APPROVAL, "pause_id": pause_id}, SECRET), secrets=SECRET)


@pytest.mark.parametrize("pause_id", ["p", "x" * 255, "pause-ü-你", "a b"], ids=ascii)
def test_any_printable_pause_id_up_to_255_characters_is_taken(pause_id: str) -> None:
    """The service may name its pauses as it likes."""
    signed = python_signed({**APPROVAL, "pause_id": pause_id}, SECRET)
    assert verify(signed, secrets=SECRET).pause_id == pause_id


def test_every_member_is_read() -> None:
    """What a person said comes through, unknown members included."""
    members = {
        **APPROVAL,
        "channel": "slack",
        "comment": "für Müller",
        "fields": {"limit": 100},
        "policy": {"version": 3},
    }
    proof = verify(python_signed(members, SECRET), secrets=SECRET)
    assert (proof.channel, proof.comment, proof.fields) == ("slack", "für Müller", {"limit": 100})
    assert (proof.responder, proof.responded_at) == ("alice@acme.example", "2026-11-22T10:15:30Z")
    assert proof.raw["policy"] == {"version": 3}


def test_members_of_the_wrong_type_that_decide_nothing_are_left_out() -> None:
    """A strange comment does not cost the decision."""
    odd = {**APPROVAL, "comment": 7, "channel": [], "fields": "x", "responder": None}
    proof = verify(python_signed(odd, SECRET), secrets=SECRET)
    assert (proof.comment, proof.channel, proof.fields, proof.responder) == (None, None, None, "")


def test_a_number_with_a_fraction_comes_out_as_an_ordinary_float() -> None:
    """What a checkpoint stores is plain data."""
    body = json.dumps(python_signed({**APPROVAL, "fields": {"rate": 0.5}}, SECRET))
    proof = verify(body, secrets=SECRET)
    assert proof.fields is not None
    assert type(proof.fields["rate"]) is float
    assert type(proof.raw["fields"]["rate"]) is float


def test_fields_of_an_ed25519_proof_come_from_the_signed_text() -> None:
    """A member that stands only in the envelope is signed by nobody, so it is not read."""
    envelope = ed25519_envelope(APPROVAL, KEY, comment="pay double", fields={"limit": 9})
    proof = verify(envelope, public_keys=KEY.public_key())
    assert (proof.comment, proof.fields) == (None, None)


@pytest.mark.parametrize("member", sorted(APPROVAL))
def test_an_envelope_that_contradicts_its_signed_text_is_refused(member: str) -> None:
    """Whichever member differs, the message is not genuine."""
    envelope = ed25519_envelope(APPROVAL, KEY, **{member: "something else"})
    with pytest.raises(ProofInvalid, match=member):
        verify(envelope, public_keys=KEY.public_key())


@pytest.mark.parametrize("junk", ["!", " ", "\n", "-", "é"])
def test_a_signature_with_junk_in_it_is_not_genuine(junk: str) -> None:
    """Base64 is read strictly: one signature has one text."""
    envelope = ed25519_envelope(APPROVAL, KEY)
    envelope["signature"] = envelope["signature"][:8] + junk + envelope["signature"][8:]
    with pytest.raises(ProofInvalid):
        verify(envelope, public_keys=KEY.public_key())


def test_a_callers_mapping_is_not_the_proofs() -> None:
    """What is changed in the mapping afterwards was never verified."""
    signed = python_signed({**APPROVAL, "fields": {"limit": 1}}, SECRET)
    proof = verify(signed, secrets=SECRET)
    signed["fields"]["limit"] = 1_000_000
    assert proof.fields == proof.raw["fields"] == {"limit": 1}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")], ids=repr)
def test_a_mapping_with_what_is_no_number_is_not_genuine(number: float) -> None:
    """Not even if somebody signed the text that Python writes for it."""
    signed = python_signed({**APPROVAL, "fields": {"limit": number}}, SECRET)
    with pytest.raises(ProofInvalid):
        verify(signed, secrets=SECRET)


def test_repr_does_not_give_the_signature_away() -> None:
    """A proof in a log line cannot be used again."""
    for name in ("approved_human", "ed25519_approved"):
        vector = vector_named(name)
        assert vector.parsed["signature"] not in repr(_check(vector.body))


@pytest.mark.parametrize("body", [None, 7, 1.5, [], object()], ids=lambda body: type(body).__name__)
def test_what_is_neither_text_nor_mapping_is_malformed(body: Any) -> None:
    """A caller's mistake is still the verifier's one kind of error."""
    with pytest.raises(ProofMalformed):
        _check(body)


# -- fingerprints ------------------------------------------------------------------------------


def test_copies_of_one_decision_have_one_fingerprint() -> None:
    """Another key, another scheme, another status member: still the same decision."""
    first = verify(python_signed(APPROVAL, SECRETS[0]), secrets=SECRETS)
    again = verify(python_signed(APPROVAL, SECRETS[1]), secrets=SECRETS)
    other = verify(ed25519_envelope(APPROVAL, KEY), public_keys=KEY.public_key())
    assert first.key_id != again.key_id
    assert first.fingerprint == again.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"pause_id": "pause_2"},
        {"decision": "rejected"},
        {"authorization_type": "system_fallback"},
        {"human_response": False},
        {"responder": "bob@acme.example"},
        {"responded_at": "2026-11-22T10:15:31Z"},
        {"channel": "email"},
        {"comment": "ok"},
        {"fields": {"limit": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_proof_that_says_something_else_has_another_fingerprint(change: dict[str, Any]) -> None:
    """Each thing that was said counts."""
    proof = verify(python_signed(APPROVAL, SECRET), secrets=SECRET)
    assert replace(proof, **change).fingerprint != proof.fingerprint
