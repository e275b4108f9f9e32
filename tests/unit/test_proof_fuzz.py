"""Nothing but a proof error leaves the verifier, and nothing altered gets through it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from looppause_sdk.errors import ProofInvalid, ProofMalformed
from looppause_sdk.proof import Proof, verify, verify_signature
from tests.vectors import PUBLIC_KEYS, SECRET, SECRETS, VECTORS, vector_named
from tests.vectors.signing import APPROVAL, ed25519_envelope, python_signed

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
GENUINE = {
    "hmac": vector_named("fields_nested").body,
    "hmac, raw UTF-8": vector_named("unicode_utf8_canonical").body,
    "hmac, numbers of Python": vector_named("numbers_python_signed").body,
    "hmac, numbers of JavaScript": vector_named("numbers_js_signed").body,
    "ed25519": vector_named("ed25519_unicode").body,
    "ed25519, envelope only": vector_named("ed25519_envelope_only").body,
}

# Lone surrogates and NUL included: JSON can spell them, so they can arrive.
any_text = st.text(st.characters(exclude_categories=()), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text
any_json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)
member_names = st.sampled_from([*APPROVAL, "canonical_payload", "signature", "fields", "comment"])
messages = st.dictionaries(member_names | any_text, any_json, max_size=12)


def _attempt(body: Any) -> Proof | None:
    """The verdict, where `None` is a refusal; any error but the two fails the test."""
    try:
        return verify(body, secrets=SECRETS, public_keys=[*PUBLIC_KEYS, KEY.public_key()])
    except (ProofInvalid, ProofMalformed):
        return None


def _said(proof: Proof) -> Proof:
    """What the proof says; an Ed25519 envelope may differ where nobody has signed it."""
    return proof if proof.scheme == "hmac" else replace(proof, raw={})


@given(st.binary(max_size=400))
@example(b"\xef\xbb\xbf{}")
@example(b"\xff\xfe{\x00}\x00")
def test_arbitrary_bytes_are_refused(body: bytes) -> None:
    """Noise is not genuine, and breaks nothing."""
    assert _attempt(body) is None


@given(any_text | st.text('{}[]",:0123456789.eE+-\\u \n', max_size=60))
def test_arbitrary_text_is_refused(body: str) -> None:
    """Text that nearly is JSON is no different."""
    assert _attempt(body) is None


@given(messages)
def test_arbitrary_json_is_refused(message: dict[str, Any]) -> None:
    """Unsigned members of any type, sent or passed as a mapping, are not genuine."""
    assert _attempt(message) is None
    assert _attempt(json.dumps(message)) is None
    assert verify_signature(message, SECRET) is False


@given(messages)
def test_a_signed_message_of_any_content_raises_nothing_else(message: dict[str, Any]) -> None:
    """A genuine signature does not make the reader any less careful."""
    message.pop("signature", None)
    message.pop("canonical_payload", None)
    proof = _attempt(json.dumps(python_signed(message, SECRET)))
    assert proof is None or proof.pause_id == message["pause_id"]


@given(messages)
def test_a_signed_payload_of_any_content_raises_nothing_else(message: dict[str, Any]) -> None:
    """So it is with the text inside an Ed25519 envelope."""
    text = json.dumps(message)
    proof = _attempt(json.dumps(ed25519_envelope(text, KEY)))
    assert proof is None or proof.pause_id == message["pause_id"]


@given(change=st.dictionaries(member_names, any_json, min_size=1, max_size=3))
def test_a_change_to_a_signed_approval_is_noticed(change: dict[str, Any]) -> None:
    """Whatever members are replaced or added, only the unchanged message verifies."""
    signed = python_signed(APPROVAL, SECRET)
    altered = {**signed, **change}
    same = json.dumps(altered, sort_keys=True) == json.dumps(signed, sort_keys=True)
    assert (_attempt(altered) is not None) is same


@settings(max_examples=60)
@given(deleted=st.sampled_from(sorted(APPROVAL)))
def test_a_deleted_member_is_noticed(deleted: str) -> None:
    """Taking something out breaks the signature as well."""
    signed = python_signed(APPROVAL, SECRET)
    del signed[deleted]
    assert _attempt(signed) is None


@pytest.mark.parametrize("body", GENUINE.values(), ids=GENUINE.keys())
@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_no_changed_byte_changes_what_is_said(body: bytes, mask: int) -> None:
    """Each byte of a genuine proof in turn: it is refused, or it says exactly the same."""
    genuine = _attempt(body)
    assert genuine is not None
    for position in range(len(body)):
        altered = bytearray(body)
        altered[position] ^= mask
        proof = _attempt(bytes(altered))
        assert proof is None or _said(proof) == _said(genuine)


@pytest.mark.parametrize("body", GENUINE.values(), ids=GENUINE.keys())
def test_no_truncated_proof_verifies(body: bytes) -> None:
    """A proof cut off anywhere is no proof."""
    assert all(_attempt(body[:length]) is None for length in range(len(body)))


@given(data=st.data())
def test_no_splice_of_two_proofs_verifies_as_something_new(data: st.DataObject) -> None:
    """The head of one body and the tail of another make nothing that nobody signed."""
    bodies = [vector.body for vector in VECTORS if vector.expect == "valid"]
    first, second = data.draw(st.sampled_from(bodies)), data.draw(st.sampled_from(bodies))
    head = data.draw(st.integers(0, len(first)))
    tail = data.draw(st.integers(0, len(second)))
    proof = _attempt(first[:head] + second[tail:])
    known = [_said(known) for body in bodies if (known := _attempt(body))]
    assert proof is None or _said(proof) in known


HOSTILE = {
    "objects 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "arrays 100,000 deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "arrays never closed": b"[" * 1_000_000,
    "an integer of 100,000 digits": b'{"pause_id":' + b"9" * 100_000 + b"}",
    "a fraction of 100,000 digits": b'{"pause_id":"p","n":0.' + b"1" * 100_000 + b"}",
    "an exponent out of range": b'{"pause_id":"p","n":1e999999999}',
    "a negative one": b'{"pause_id":"p","n":-1e400}',
    "NaN": b'{"pause_id":"p","n":NaN}',
    "Infinity": b'{"pause_id":"p","n":-Infinity}',
    "a member twice": b'{"pause_id":"p","pause_id":"q"}',
    "a member twice, once escaped": b'{"pause_id":"p","pause\\u005fid":"q"}',
    "a member twice, deep inside": b'{"fields":{"a":[{"b":1,"b":2}]}}',
    "a raw NUL": b'{"pause_id":"a\x00b"}',
    "a byte order mark": b'\xef\xbb\xbf{"pause_id":"p"}',
    "UTF-16": '{"pause_id":"p"}'.encode("utf-16"),
    "an encoded surrogate": b'{"pause_id":"\xed\xa0\x80"}',
    "an overlong slash": b'{"pause_id":"\xc0\xaf"}',
    "two objects": b'{"pause_id":"p"}{"pause_id":"q"}',
    "a trailing comma": b'{"pause_id":"p",}',
    "single quotes": b"{'pause_id':'p'}",
    "a comment": b'{"pause_id":"p"/* */}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_json_that_no_signer_writes_is_refused(body: bytes) -> None:
    """Depth, size, doubled members and foreign syntax end in a proof error."""
    with pytest.raises((ProofInvalid, ProofMalformed)):
        verify(body, secrets=SECRETS)


@pytest.mark.parametrize(
    "name", ["a member twice", "a member twice, once escaped", "a member twice, deep inside"]
)
def test_a_doubled_member_is_malformed(name: str) -> None:
    """Which of the two was meant is never guessed."""
    with pytest.raises(ProofMalformed, match="twice"):
        verify(HOSTILE[name], secrets=SECRETS)


def _nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(levels - 1):
        inner = {"a": inner}
    return {**APPROVAL, "fields": inner}


@pytest.mark.parametrize("levels, fits", [(1, True), (63, True), (64, False), (500, False)])
def test_depth_is_bounded_for_mappings_as_for_bytes(levels: int, fits: bool) -> None:
    """Up to 64 levels count as usable, however the proof is passed, and however it is signed."""
    signed = python_signed(_nested(levels), SECRET)
    assert (_attempt(signed) is not None) is fits
    assert (_attempt(json.dumps(signed)) is not None) is fits
    envelope = ed25519_envelope(_nested(levels), KEY)
    assert (_attempt(envelope) is not None) is fits


def test_a_mapping_of_tuples_too_deep_to_write_is_refused() -> None:
    """What Python can hold and JSON cannot write is nothing anybody signed."""
    deep: Any = ()
    for _ in range(20_000):
        deep = (deep,)
    assert _attempt({**python_signed(APPROVAL, SECRET), "fields": deep}) is None


def test_a_mapping_that_contains_itself_is_malformed() -> None:
    """A cycle ends like any other depth."""
    endless: dict[str, Any] = python_signed(APPROVAL, SECRET)
    endless["fields"] = endless
    with pytest.raises(ProofMalformed):
        verify(endless, secrets=SECRETS)


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"x", 1j, float("nan"), float("inf"), 10**5000, {1: 1, "a": 2}],
    ids=lambda v: type(v).__name__,
)
def test_a_mapping_that_is_not_json_is_refused(value: Any) -> None:
    """Nobody can have signed what JSON cannot say."""
    signed = python_signed(APPROVAL, SECRET)
    assert _attempt({**signed, "fields": value}) is None
