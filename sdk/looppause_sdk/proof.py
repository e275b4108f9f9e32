"""Bytes in, `Proof` out: the only cryptography of the project.

Two schemes exist on the wire. HMAC-SHA256 covers the canonical JSON of the proof without its
`signature`; Ed25519 covers the string member `canonical_payload`, whose presence selects it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from ._json import NumberStyle, canonical_texts, parse, parse_object, plain
from .errors import LoopPauseConfigError, ProofInvalid, ProofMalformed
from .idempotency import stable_idempotency_key

__all__ = [
    "Proof",
    "claimed_pause_id",
    "key_id",
    "load_public_key",
    "stable_idempotency_key",
    "verify",
    "verify_signature",
]

DENIAL_STATUSES = ("timed_out", "expired", "cancelled")
MAX_PAUSE_ID = 255

Scheme = Literal["hmac", "ed25519"]


@dataclass(frozen=True)
class Proof:
    """A verified decision. Get one from `verify`; never build one from unverified input.

    `decision` is `approved`, `rejected`, or the status of a signed notice that nobody answered
    (`timed_out`, `expired`, `cancelled`). `responded_at` is ISO 8601, as LoopPause wrote it.
    `raw` is the whole message as received; for Ed25519 its envelope, of which only
    `canonical_payload` is signed. `key_id` names the key that verified it.
    """

    pause_id: str
    decision: str
    authorization_type: str
    human_response: bool
    responder: str = ""
    responded_at: str = ""
    channel: str | None = None
    comment: str | None = None
    fields: dict[str, Any] | None = None
    raw: dict[str, Any] = field(default_factory=dict, repr=False)
    scheme: Scheme = "hmac"
    key_id: str = ""

    @property
    def human_authorized(self) -> bool:
        """Whether a person, and not a configured default, approved."""
        return (
            self.authorization_type == "human"
            and self.human_response is True
            and self.decision == "approved"
        )

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 over what was decided, by whom and when: equal for copies of one decision."""
        said = [
            self.pause_id,
            self.decision,
            self.authorization_type,
            self.human_response,
            self.responder,
            self.responded_at,
            self.channel,
            self.comment,
            self.fields,
        ]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()


def verify(
    body: bytes | str | Mapping[str, Any],
    *,
    secrets: str | Iterable[str] = (),
    public_keys: str | Ed25519PublicKey | Iterable[str | Ed25519PublicKey] = (),
) -> Proof:
    """Return the decision in `body` if one of the keys has signed it.

    `secrets` are HMAC signing secrets, `public_keys` Ed25519 keys (base64 of the DER
    SubjectPublicKeyInfo, as LoopPause publishes it, or PEM); any of them may have signed, so
    that keys can rotate. Pass the bytes as received where you have them: a parsed mapping has
    lost how its numbers were written, and is tried in Python's and in JavaScript's notation.

    Raises `ProofInvalid` if no key has signed it and `ProofMalformed` if there is no usable
    proof in it, whatever the bytes; `LoopPauseConfigError` if a public key cannot be read.
    """
    envelope, number_styles = parse(body)
    if "canonical_payload" in envelope:
        scheme: Scheme = "ed25519"
        payload, signer = _open_ed25519(envelope, _as_sequence(public_keys))
    else:
        scheme = "hmac"
        payload, signer = envelope, _check_hmac(envelope, _as_sequence(secrets), number_styles)
    return _read(plain(payload), raw=plain(envelope), scheme=scheme, signer=signer)


def verify_signature(proof: Mapping[str, Any], signing_secret: str) -> bool:
    """Whether `signing_secret` has signed this HMAC proof. Never raises; says nothing more."""
    try:
        envelope, number_styles = parse(proof)
        _check_hmac(envelope, [signing_secret], number_styles)
    except (ProofInvalid, ProofMalformed):
        return False
    return "canonical_payload" not in envelope


def claimed_pause_id(body: bytes | str | Mapping[str, Any]) -> str:
    """The pause a message says it answers, unverified: good for finding, never for trusting.

    Raises `ProofMalformed` if it names none.
    """
    envelope, _ = parse(body)
    text = envelope.get("canonical_payload")
    return _pause_id(parse_object(text) if isinstance(text, str) else envelope)


def key_id(key: str | Ed25519PublicKey) -> str:
    """Eight hex digits that name a key in logs and pages without giving it away."""
    if isinstance(key, Ed25519PublicKey):
        return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:8]
    return hmac.new(_key_bytes(key), b"looppause key id", hashlib.sha256).hexdigest()[:8]


@lru_cache(maxsize=64)
def load_public_key(text: str) -> Ed25519PublicKey:
    """Read an Ed25519 key: base64 of its DER form, or PEM. Raises `LoopPauseConfigError`."""
    try:
        if "-----BEGIN" in text:
            key = load_pem_public_key(text.encode())
        else:
            key = load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise LoopPauseConfigError(
            "a public key cannot be read: give the base64 text of `public_key` as served at "
            "/.well-known/looppause-signing-key.json, or PEM"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise LoopPauseConfigError("a public key is not an Ed25519 key")
    return key


# -- HMAC-SHA256 -----------------------------------------------------------------------------


def _check_hmac(
    envelope: dict[str, Any], secrets: Sequence[Any], number_styles: Sequence[NumberStyle]
) -> str:
    """Return the id of the secret that signed, or raise `ProofInvalid`."""
    given = envelope.get("signature")
    if not isinstance(given, str) or not _HEX_DIGEST.fullmatch(given):
        raise ProofInvalid("no configured key has signed this")
    usable = [secret for secret in secrets if isinstance(secret, str) and secret]
    signed = {member: value for member, value in envelope.items() if member != "signature"}
    for text in canonical_texts(signed, number_styles):
        for secret in usable:
            digest = hmac.new(_key_bytes(secret), text, hashlib.sha256).hexdigest()
            if hmac.compare_digest(given, digest):
                return key_id(secret)
    raise ProofInvalid("no configured key has signed this")


def _key_bytes(secret: str) -> bytes:
    # A secret from an environment that is not UTF-8 holds lone surrogates: wrong, but no crash.
    return secret.encode("utf-8", "surrogatepass")


_HEX_DIGEST = re.compile("[0-9a-f]{64}", re.ASCII)


# -- Ed25519 ---------------------------------------------------------------------------------


def _open_ed25519(
    envelope: dict[str, Any], public_keys: Sequence[Any]
) -> tuple[dict[str, Any], str]:
    """Return the signed payload and the id of the key that signed it, or raise."""
    keys = [load_public_key(key) if isinstance(key, str) else key for key in public_keys]
    text, signature = envelope["canonical_payload"], envelope.get("signature")
    if not isinstance(text, str) or not isinstance(signature, str):
        raise ProofInvalid("no configured key has signed this")
    try:
        signed, given = text.encode("utf-8"), base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ProofInvalid("no configured key has signed this") from error
    signer = next((key for key in keys if _has_signed(key, given, signed)), None)
    if signer is None:
        raise ProofInvalid("no configured key has signed this")
    payload = parse_object(text)
    for member, value in payload.items():
        if member in envelope and envelope[member] != value:
            raise ProofInvalid(f"the envelope contradicts the signed text in {member!r}")
    return payload, key_id(signer)


def _has_signed(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


# -- reading ---------------------------------------------------------------------------------


def _read(payload: dict[str, Any], *, raw: dict[str, Any], scheme: Scheme, signer: str) -> Proof:
    """Take the members out of a verified payload, strict in all that decides."""
    decision, authorization_type, human_response = _decision(payload)
    fields = payload.get("fields")
    return Proof(
        pause_id=_pause_id(payload),
        decision=decision,
        authorization_type=authorization_type,
        human_response=human_response,
        responder=_text(payload, "responder") or "",
        responded_at=_text(payload, "responded_at") or "",
        channel=_text(payload, "channel"),
        comment=_text(payload, "comment"),
        fields=fields if isinstance(fields, dict) else None,
        raw=raw,
        scheme=scheme,
        key_id=signer,
    )


def _pause_id(payload: dict[str, Any]) -> str:
    value = payload.get("pause_id")
    if not isinstance(value, str) or not 0 < len(value) <= MAX_PAUSE_ID or not value.isprintable():
        raise ProofMalformed(f"`pause_id` must be 1 to {MAX_PAUSE_ID} printable characters")
    return value


def _decision(payload: dict[str, Any]) -> tuple[str, str, bool]:
    status, decision = payload.get("status"), payload.get("decision")
    if decision is None and status in DENIAL_STATUSES:
        return str(status), "", False
    if decision not in ("approved", "rejected"):
        raise ProofMalformed("`decision` must be 'approved' or 'rejected'")
    authorization_type = payload.get("authorization_type")
    if authorization_type not in ("human", "system_fallback"):
        raise ProofMalformed("`authorization_type` must be 'human' or 'system_fallback'")
    human_response = payload.get("human_response", False)
    if not isinstance(human_response, bool):
        raise ProofMalformed("`human_response` must be true or false")
    if decision == "approved" and human_response and status in DENIAL_STATUSES:
        raise ProofMalformed(f"approved by a person and {status} at once")
    return decision, authorization_type, human_response


def _text(payload: dict[str, Any], member: str) -> str | None:
    value = payload.get(member)
    return value if isinstance(value, str) else None


def _as_sequence(keys: Any) -> Sequence[Any]:
    return [keys] if isinstance(keys, (str, Ed25519PublicKey)) else list(keys)
