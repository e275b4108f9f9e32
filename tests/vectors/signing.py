"""Signers to test against, written from the wire format and not from the SDK."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["APPROVAL", "ed25519_envelope", "hmac_hex", "python_signed"]

APPROVAL: dict[str, Any] = {
    "pause_id": "pause_1",
    "status": "responded",
    "decision": "approved",
    "authorization_type": "human",
    "human_response": True,
    "responder": "alice@acme.example",
    "responded_at": "2026-11-22T10:15:30Z",
}


def hmac_hex(canonical: str, secret: str) -> str:
    """The signature over a canonical text that is already written out."""
    return hmac.new(secret.encode(), canonical.encode(), hashlib.sha256).hexdigest()


def python_signed(members: dict[str, Any], secret: str) -> dict[str, Any]:
    """The members with the signature that looppause 0.1.0's algorithm gives them."""
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return {**members, "signature": hmac_hex(canonical, secret)}


def ed25519_envelope(
    payload: dict[str, Any] | str, key: Ed25519PrivateKey, **outside: Any
) -> dict[str, Any]:
    """A message whose `canonical_payload` is signed, with any members put around it."""
    text = payload if isinstance(payload, str) else json.dumps(payload, sort_keys=True)
    signature = base64.b64encode(key.sign(text.encode())).decode()
    return {**outside, "canonical_payload": text, "signature": signature}
