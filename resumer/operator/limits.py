"""How much one request of an operator may ask for."""

from __future__ import annotations

__all__ = ["LONGEST_HOURS", "MOST_AUDIT", "MOST_BYTES", "MOST_MATCHING", "MOST_REASON"]

LONGEST_HOURS = 90 * 24
MOST_AUDIT = 1000
MOST_BYTES = 64 * 1024
MOST_MATCHING = 10_000
MOST_REASON = 500
