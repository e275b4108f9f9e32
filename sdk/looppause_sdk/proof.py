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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from ._json import Writer, canonical_text, parse, parse_object, plain
from .errors import ProofInvalid, ProofMalformed
from .idempotency import stable_idempotency_key

if TYPE_CHECKING:
    from ._ed25519 import Ed25519PublicKey

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
MOST_IDS = 100

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
        return hashlib.sha256(_SAID.encode(said).encode()).digest()


_SAID = json.JSONEncoder(sort_keys=True)


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
    envelope, writers = parse(body)
    if "canonical_payload" in envelope:
        scheme: Scheme = "ed25519"
        payload, signer = _open_ed25519(envelope, _as_sequence(public_keys))
    else:
        scheme = "hmac"
        signer = _check_hmac(envelope, _as_sequence(secrets), writers)
        payload = plain(envelope, writers)
    return _read(payload, raw=plain(envelope, writers), scheme=scheme, signer=signer)


def verify_signature(proof: Mapping[str, Any], signing_secret: str) -> bool:
    """Whether `signing_secret` has signed this HMAC proof. Never raises; says nothing more."""
    try:
        envelope, writers = parse(proof)
        _check_hmac(envelope, [signing_secret], writers)
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
    if not isinstance(key, str):
        return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:8]
    # By the hash, so that no secret outlives its configuration in here.
    name = _secret_ids.get(hash(key))
    if name is None:
        if len(_secret_ids) >= MOST_IDS:
            _secret_ids.clear()
        name = _secret_ids[hash(key)] = _hmac(key, b"looppause key id")[:8]
    return name


_secret_ids: dict[int, str] = {}


@lru_cache(maxsize=64)
def load_public_key(text: str) -> Ed25519PublicKey:
    """Read an Ed25519 key: base64 of its DER form, or PEM. Raises `LoopPauseConfigError`."""
    from ._ed25519 import read_key  # noqa: PLC0415 - loaded by who has such a key

    return read_key(text)


# -- HMAC-SHA256 -----------------------------------------------------------------------------


def _check_hmac(envelope: dict[str, Any], secrets: Sequence[Any], writers: Sequence[Writer]) -> str:
    """Return the id of the secret that signed, or raise `ProofInvalid`."""
    given = envelope.get("signature")
    if not isinstance(given, str) or len(given) != 64 or not given.isascii():
        raise ProofInvalid("no configured key has signed this")
    signed = {**envelope}
    del signed["signature"]
    for write in writers:
        text = canonical_text(signed, write)
        if text is None:
            continue
        for secret in secrets:
            if not isinstance(secret, str) or not secret:
                continue
            if hmac.compare_digest(given, _hmac(secret, text)):
                return key_id(secret)
    raise ProofInvalid("no configured key has signed this")


def _hmac(secret: str, text: bytes) -> str:
    # A secret from an environment that is not UTF-8 holds lone surrogates: wrong, but no crash.
    return hmac.digest(secret.encode("utf-8", "surrogatepass"), text, "sha256").hex()


# -- Ed25519 ---------------------------------------------------------------------------------


def _open_ed25519(
    envelope: dict[str, Any], public_keys: Sequence[Any]
) -> tuple[dict[str, Any], str]:
    """Return the signed payload and the id of the key that signed it, or raise."""
    from ._ed25519 import has_signed  # noqa: PLC0415 - as above

    keys = [load_public_key(key) if isinstance(key, str) else key for key in public_keys]
    text, signature = envelope["canonical_payload"], envelope.get("signature")
    if not isinstance(text, str) or not isinstance(signature, str):
        raise ProofInvalid("no configured key has signed this")
    try:
        signed, given = text.encode("utf-8"), base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ProofInvalid("no configured key has signed this") from error
    signer = next((key for key in keys if has_signed(key, given, signed)), None)
    if signer is None:
        raise ProofInvalid("no configured key has signed this")
    payload, writers = parse(text)
    for member, value in payload.items():
        if member in envelope and envelope[member] != value:
            raise ProofInvalid(f"the envelope contradicts the signed text in {member!r}")
    return plain(payload, writers), key_id(signer)


# -- reading ---------------------------------------------------------------------------------


def _read(payload: dict[str, Any], *, raw: dict[str, Any], scheme: Scheme, signer: str) -> Proof:
    """Take the members out of a verified payload, strict in all that decides."""
    decision, authorization_type, human_response = _decision(payload)
    fields = payload.get("fields")
    proof = object.__new__(Proof)
    # A frozen dataclass sets each of its twelve members by a call: at once is twice as fast.
    proof.__dict__.update(
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
    return proof


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
    if isinstance(keys, (list, tuple)):
        return keys
    several = isinstance(keys, Iterable) and not isinstance(keys, str)
    return list(keys) if several else [keys]
