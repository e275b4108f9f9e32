"""The times that stand in LangGraph's checkpoint ids, which are UUIDs of version 6."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

__all__ = ["checkpoint_id_at", "time_of"]

GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)


def time_of(checkpoint_id: str) -> datetime | None:
    """When a checkpoint was made, or None if its id is not a UUID of version 6."""
    try:
        stamp = UUID(checkpoint_id)
    except ValueError:
        return None
    ticks = (stamp.int >> 80) << 12 | (stamp.int >> 64) & 0xFFF
    return GREGORIAN + timedelta(microseconds=ticks // 10)


def checkpoint_id_at(moment: datetime) -> str:
    """The smallest checkpoint id LangGraph could have given at `moment` (UUID, version 6)."""
    ticks = int((moment - GREGORIAN).total_seconds() * 1e7)
    high, low = f"{ticks >> 12:012x}", f"{ticks & 0xFFF:03x}"
    return f"{high[:8]}-{high[8:]}-6{low}-8000-000000000000"
