"""Keys a command works with: given on the command line, or the deployment's own."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_private_key,
)

from looppause_sdk.errors import LoopPauseConfigError
from looppause_sdk.proof import key_id, load_public_key
from looppause_sdk.testing import sign_proof
from resumer.environment import EnvironmentReader
from resumer.errors import SettingsError

from .refusal import CommandRefused

__all__ = ["SigningKey", "VerificationKeys", "read_text", "signing_key", "verification_keys"]


@dataclass(frozen=True)
class SigningKey:
    """One key to sign with: an HMAC secret or an Ed25519 private key."""

    secret: str | None = field(default=None, repr=False)
    private_key: Ed25519PrivateKey | None = field(default=None, repr=False)

    @property
    def scheme(self) -> str:
        """`hmac` or `ed25519`."""
        return "hmac" if self.private_key is None else "ed25519"

    @property
    def key_id(self) -> str:
        """Eight hex digits, the same as in the receiver's log."""
        if self.private_key is not None:
            return key_id(self.private_key.public_key())
        return key_id(self.secret or "")

    def sign(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document as LoopPause would deliver it."""
        return sign_proof(document, secret=self.secret, private_key=self.private_key)


@dataclass(frozen=True)
class VerificationKeys:
    """Every key that may have signed a proof."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    public_keys: tuple[str, ...] = ()


def signing_key(secret: str | None, private_key: Path | None, env: Mapping[str, str]) -> SigningKey:
    """The key that was given, else the secret of the environment.

    Raises `CommandRefused` if there is none, both were given, or the file cannot be used.
    """
    if secret is not None and private_key is not None:
        raise CommandRefused("a secret and a private key were given: sign with one of them")
    if private_key is not None:
        return SigningKey(private_key=_load_private_key(private_key))
    reader = EnvironmentReader(env)
    chosen = reader.text("LOOPPAUSE_SIGNING_SECRET") if secret is None else secret.strip()
    if not chosen:
        raise CommandRefused(
            "no key to sign with: set LOOPPAUSE_SIGNING_SECRET to the receiver's, or give "
            "--private-key FILE (Ed25519)"
        )
    return SigningKey(secret=chosen)


def verification_keys(
    secret_files: Sequence[Path], public_keys: Sequence[str], env: Mapping[str, str]
) -> VerificationKeys:
    """The keys that were given, else those of the environment: nobody trusts one unasked.

    A public key is its text, or a file that holds it. Raises `CommandRefused` for a file that
    or key that cannot be read, or if there is none at all; `SettingsError` for variables.
    """
    if not secret_files and not public_keys:
        return _own_keys(env)
    return VerificationKeys(
        tuple(read_text(file, "the signing secret") for file in secret_files),
        tuple(_readable("--public-key", _public_key_text(key)) for key in public_keys),
    )


def read_text(file: Path, what: str) -> str:
    """What the file holds, without white space around it. Raises `CommandRefused`."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise CommandRefused(f"{what} in {file} cannot be read ({_why(error)})") from error
    if not text:
        raise CommandRefused(f"{what} in {file} is empty")
    return text


def _own_keys(env: Mapping[str, str]) -> VerificationKeys:
    reader = EnvironmentReader(
        {name: env[name] for name in (*_KEY_VARIABLES, *_KEY_FILES) if name in env}
    )
    values = reader.settings()
    if reader.faults:
        raise SettingsError(reader.faults)
    public = (_readable("LOOPPAUSE_PUBLIC_KEYS", key) for key in values["public_keys"])
    keys = VerificationKeys(values["signing_secrets"], tuple(public))
    if not keys.secrets and not keys.public_keys:
        raise CommandRefused(
            "no key to verify with: set LOOPPAUSE_SIGNING_SECRET or LOOPPAUSE_PUBLIC_KEYS, or "
            "give --secret-file or --public-key"
        )
    return keys


def _public_key_text(given: str) -> str:
    return read_text(Path(given), "the public key") if _names_a_file(given) else given.strip()


def _readable(source: str, key: str) -> str:
    try:
        load_public_key(key)
    except LoopPauseConfigError as error:
        raise CommandRefused(f"{source}: {error}") from error
    return key


def _names_a_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # longer than any name: then it is the key itself
        return False


def _load_private_key(file: Path) -> Ed25519PrivateKey:
    text = read_text(file, "the private key").encode()
    try:
        if b"-----BEGIN" in text:
            key = load_pem_private_key(text, password=None)
        else:
            key = load_der_private_key(base64.b64decode(text, validate=True), password=None)
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm) as error:
        raise CommandRefused(
            f"the private key in {file} cannot be read: give PEM or base64 of PKCS#8 DER, without "
            "a passphrase (openssl genpkey -algorithm ed25519)"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CommandRefused(f"the private key in {file} is not an Ed25519 key")
    return key


_KEY_VARIABLES = (
    "LOOPPAUSE_SIGNING_SECRET",
    "LOOPPAUSE_SIGNING_SECRETS",
    "LOOPPAUSE_PUBLIC_KEYS",
)
_KEY_FILES = tuple(f"{name}_FILE" for name in _KEY_VARIABLES)


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or "not text") if error.args else "not text"
