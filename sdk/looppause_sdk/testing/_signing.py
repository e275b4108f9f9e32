"""Sign a proof as LoopPause does, in either scheme."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from looppause_sdk._json import MAX_DEPTH
from looppause_sdk.errors import LoopPauseConfigError
from looppause_sdk.proof import Scheme

__all__ = ["Signer", "json_copy", "sign_proof"]


def sign_proof(
    payload: Mapping[str, Any],
    *,
    secret: str | None = None,
    private_key: Ed25519PrivateKey | None = None,
) -> dict[str, Any]:
    """Return `payload` signed with HMAC (`secret`) or with Ed25519 (`private_key`).

    The result is what LoopPause delivers: post it as JSON, or hand it to `looppause_sdk.proof`.
    A `signature` or `canonical_payload` already in `payload` is replaced. Nothing is checked,
    so that a test can sign nonsense as well. Raises `TypeError` unless exactly one key is given,
    and `TypeError` or `ValueError` for what JSON cannot hold.
    """
    unsigned = {
        member: value
        for member, value in payload.items()
        if member not in ("signature", "canonical_payload")
    }
    if secret is not None and private_key is None:
        return {**unsigned, "signature": _hmac(unsigned, secret)}
    if private_key is not None and secret is None:
        text = _compact(unsigned, ascii_only=False)
        signature = base64.b64encode(private_key.sign(text.encode())).decode()
        return {**unsigned, "canonical_payload": text, "signature": signature}
    raise TypeError("sign_proof needs either secret= (HMAC) or private_key= (Ed25519)")


@dataclass
class Signer:
    """Both keys, and which of them signs."""

    scheme: Scheme
    secret: str = field(repr=False)
    private_key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def make(
        cls, scheme: Scheme, secret: str | None, private_key: Ed25519PrivateKey | None
    ) -> Signer:
        """Fill in random keys where none are given."""
        if scheme not in ("hmac", "ed25519"):
            raise LoopPauseConfigError(f"scheme must be 'hmac' or 'ed25519', not {scheme!r}")
        if secret == "":
            raise LoopPauseConfigError("the signing secret is empty: give one, or leave it out")
        return cls(
            scheme, secret or secrets.token_hex(32), private_key or Ed25519PrivateKey.generate()
        )

    @property
    def public_key(self) -> str:
        """Base64 of the DER SubjectPublicKeyInfo, as the well-known address serves it."""
        der = self.private_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(der).decode()

    def sign(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Sign with the key of the scheme."""
        if self.scheme == "hmac":
            return sign_proof(payload, secret=self.secret)
        return sign_proof(payload, private_key=self.private_key)


def json_copy(value: Any) -> Any:
    """A deep copy of `value` as JSON sees it. Raises `ValueError` for what JSON cannot hold."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode("utf-8")
        copy = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if _depth_exceeds(copy, MAX_DEPTH - 2):
        raise ValueError(f"not usable JSON: nested more than {MAX_DEPTH - 2} levels deep")
    return copy


def _depth_exceeds(value: Any, limit: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return limit == 0 or any(_depth_exceeds(item, limit - 1) for item in inner)


def _hmac(unsigned: Mapping[str, Any], secret: str) -> str:
    text = _compact(unsigned, ascii_only=True)
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _compact(value: Mapping[str, Any], *, ascii_only: bool) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only)
