"""Bearer tokens: who may ask the receiver, and who may act. Only digests are kept."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Scope", "Token", "identify", "token_fault"]

MIN_CHARS = 16

Scope = Literal["read", "act"]

_NAMED = re.compile(r"([A-Za-z0-9._@-]{1,64}):(.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class Token:
    """A token as it is kept: told from others, and never to be read again.

    `name` is who acts with it, for the audit; `scope` what it allows, `act` including `read`.
    """

    digest: bytes = field(repr=False)
    name: str = ""
    scope: Scope = "read"

    @classmethod
    def of(cls, token: str | Token, scope: Scope = "read") -> Token:
        """The token as it is kept. `name:token` gives it a name; else its digest makes one."""
        if isinstance(token, Token):
            return token
        name, secret = _parted(token)
        digest = _digest(secret)
        return cls(digest, name or f"token-{digest.hex()[:8]}", scope)

    @property
    def may_act(self) -> bool:
        """Whether it allows more than to look."""
        return self.scope == "act"


def token_fault(variable: str, tokens: object) -> str | None:
    """What is wrong with these tokens, or None. The text repeats none of them."""
    listed = tokens if isinstance(tokens, Sequence) and not isinstance(tokens, str) else [None]
    if all(isinstance(token, Token) or _is_good(token) for token in listed):
        return None
    return (
        f"{variable}: each token must be a text of at least {MIN_CHARS} characters, ASCII and "
        "without spaces, after a name and a colon if you like (ada:...); make one with: "
        'python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
    )


def identify(authorization: str | None, tokens: Iterable[Token]) -> Token | None:
    """The token that an `Authorization` header bears, the one that allows most; None if none."""
    scheme, _, given = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    digest = _digest(given.strip())
    # All are compared, whichever matches: time would tell which one.
    known = [token for token in tokens if hmac.compare_digest(digest, token.digest)]
    return max(known, key=lambda token: token.may_act, default=None)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _parted(token: str) -> tuple[str, str]:
    found = _NAMED.fullmatch(token)
    return (found[1], found[2]) if found else ("", token)


def _is_good(token: object) -> bool:
    if not isinstance(token, str):
        return False
    _, secret = _parted(token)
    # What a header cannot carry as it is would never match.
    if len(secret) < MIN_CHARS or not secret.isascii():
        return False
    return secret.isprintable() and " " not in secret
