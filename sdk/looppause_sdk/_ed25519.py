"""Ed25519 through `cryptography`, loaded where there is such a key: it takes long to import."""

from __future__ import annotations

import base64

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from .errors import LoopPauseConfigError

__all__ = ["Ed25519PublicKey", "has_signed", "read_key"]


def read_key(text: str) -> Ed25519PublicKey:
    """Read a key: base64 of its DER form, or PEM. Raises `LoopPauseConfigError`."""
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


def has_signed(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether this key made the signature."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
