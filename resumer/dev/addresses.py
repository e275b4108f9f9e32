"""Where this session's receiver is, and where those of earlier sessions were."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .exposing import PATH, is_this_machine

__all__ = ["Addresses"]


@dataclass(frozen=True)
class Addresses:
    """`local` is the webhook on this machine, `webhook` the one that gates are given.

    Pauses keep the address that they were asked with. Those of an earlier session (another port,
    another tunnel) lead nowhere now: their proofs belong to `local`.
    """

    local: str
    webhook: str
    former: frozenset[str] = frozenset()

    @classmethod
    def of(cls, local: str, public: str | None, file: Path) -> Addresses:
        """The addresses of this session; public ones are kept in `file` for the next."""
        known = set(file.read_text().split()) if file.is_file() else set()
        if public is not None and public not in known:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{url}\n" for url in sorted({*known, public})))
        return cls(local, public or local, frozenset(known - {public}))

    def now(self, url: str) -> str:
        """Where a proof for `url` is to be delivered in this session."""
        if url != self.webhook and (url in self.former or _is_of_a_session(url)):
            return self.local
        return url

    def lead_here(self, url: str | None) -> bool:
        """Whether a proof for `url` reaches this session's receiver."""
        return url is not None and self.now(url) in (self.local, self.webhook)


def _is_of_a_session(url: str) -> bool:
    parts = urlsplit(url)
    return parts.path == PATH and is_this_machine(parts.hostname or "")
