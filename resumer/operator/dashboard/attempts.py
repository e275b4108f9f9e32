"""How often somebody may try to sign in."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

__all__ = ["Attempts"]


@dataclass
class Attempts:
    """Failed attempts by address, in this process. Seconds; the oldest address goes first."""

    most: int = 10
    period: float = 300.0
    addresses: int = 10_000
    _failed: OrderedDict[str, tuple[float, int]] = field(default_factory=OrderedDict, repr=False)

    def wait(self, address: str, now: float) -> int:
        """How many seconds this address has to wait before it may try again; 0 for none."""
        since, count = self._failed.get(address, (now, 0))
        left = since + self.period - now
        return max(1, round(left)) if count >= self.most and left > 0 else 0

    def note(self, address: str, now: float) -> None:
        """Count a failed attempt."""
        since, count = self._failed.pop(address, (now, 0))
        if now - since >= self.period:
            since, count = now, 0
        self._failed[address] = (since, count + 1)
        if len(self._failed) > self.addresses:
            self._failed.popitem(last=False)

    def forget(self, address: str) -> None:
        """Start from nothing after a good one."""
        self._failed.pop(address, None)
