"""Bearer tokens: who may ask the receiver. Only digests are kept, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["Token", "is_known", "token_fault"]

MIN_CHARS = 16


@dataclass(frozen=True)
class Token:
    """A token as it is kept: told from others, and never to be read again."""

    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, token: str | Token) -> Token:
        """The token as it is kept."""
        if isinstance(token, Token):
            return token
        return cls(hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest())


def token_fault(variable: str, tokens: object) -> str | None:
    """What is wrong with these tokens, or None. The text repeats none of them."""
    listed = tokens if isinstance(tokens, Sequence) and not isinstance(tokens, str) else [None]
    if all(isinstance(token, Token) or _is_good(token) for token in listed):
        return None
    return (
        f"{variable}: each token must be a text of at least {MIN_CHARS} characters, ASCII and "
        'without spaces; make one with: python3 -c "import secrets; '
        'print(secrets.token_urlsafe(32))"'
    )


def _is_good(token: object) -> bool:
    # What a header cannot carry as it is would never match.
    if not isinstance(token, str) or len(token) < MIN_CHARS:
        return False
    return token.isascii() and token.isprintable() and " " not in token


def is_known(authorization: str | None, tokens: Iterable[Token]) -> bool:
    """Whether an `Authorization` header bears one of these tokens."""
    scheme, _, given = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer":
        return False
    digest = Token.of(given.strip()).digest
    # Not `any`: it would stop at the first match, and time would tell which one.
    return sum(hmac.compare_digest(digest, token.digest) for token in tokens) > 0
