"""Signed-in browsers: a cookie that replicas read alike, and the word that a form must repeat.

The cookie names a token without giving it away, and is signed with a key made from all tokens:
every replica has the same key, and whoever changes a token ends every session.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from resumer.tokens import Token

__all__ = ["IDLE_SECONDS", "LONGEST_SECONDS", "Session", "Sessions"]

IDLE_SECONDS = 30 * 60
LONGEST_SECONDS = 12 * 3600


@dataclass(frozen=True)
class Session:
    """One browser. `token_ref` is empty until it has signed in; times are seconds since 1970."""

    name: str
    token_ref: str
    begun: int
    seen: int


@dataclass(frozen=True)
class Sessions:
    """The sessions that these tokens open."""

    tokens: Sequence[Token]
    key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        digests = tuple(sorted(token.digest for token in self.tokens))
        object.__setattr__(self, "key", _key_of(digests))

    def begin(self, token: Token | None, now: float) -> Session:
        """A new session, with a name that nobody can guess."""
        ref = "" if token is None else self._ref(token)
        return Session(secrets.token_hex(16), ref, int(now), int(now))

    def write(self, session: Session) -> str:
        """The cookie's value."""
        text = f"{session.name}.{session.token_ref}.{session.begun}.{session.seen}"
        return f"{text}.{self._sign('cookie', text)}"

    def read(self, cookie: str, now: float) -> Session | None:
        """The session of a cookie that is ours and not too old, or None."""
        text, _, signature = cookie.rpartition(".")
        if not _same(self._sign("cookie", text), signature):
            return None
        name, ref, begun, seen = text.split(".")
        session = Session(name, ref, int(begun), int(seen))
        is_fresh = now - session.seen <= IDLE_SECONDS and now - session.begun <= LONGEST_SECONDS
        return session if is_fresh else None

    def renew(self, session: Session, now: float) -> Session:
        """The same session, seen now."""
        return replace(session, seen=int(now))

    def token_of(self, session: Session) -> Token | None:
        """The token that opened it, or None before signing in."""
        known = [token for token in self.tokens if _same(self._ref(token), session.token_ref)]
        return max(known, key=lambda token: token.may_act, default=None)

    def form_word(self, session: Session) -> str:
        """What a form of this session carries, so that no other page can send one."""
        return self._sign("form", session.name)

    def is_form_word(self, session: Session, word: str) -> bool:
        """Whether a form came from a page of this session."""
        return _same(self.form_word(session), word)

    def _ref(self, token: Token) -> str:
        return self._sign("token", token.digest.hex())[:32]

    def _sign(self, use: str, text: str) -> str:
        message = f"{use}:{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()


def _same(first: str, second: str) -> bool:
    return hmac.compare_digest(first.encode(), second.encode("utf-8", "surrogatepass"))


@cache
def _key_of(digests: tuple[bytes, ...]) -> bytes:
    # Slow on purpose: whoever has one token and a cookie could else try out the others with it.
    return hashlib.scrypt(
        b"".join(digests), salt=b"resumer dashboard session", n=2**14, r=8, p=1, dklen=32
    )
