"""The overview's chart, ready to be drawn: widths in percent, heights in pixels, no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from resumer.operator.views import Bucket

__all__ = ["SERIES", "Bar", "Chart", "Slot", "draw"]

SERIES = {"decisions": "Decisions", "resumes": "Resumes", "parked": "Parked"}
TOP, BASE = 14.0, 190.0  # pixels from the top: the highest line, and the ground line
SMALLEST = 3.0  # so that one of a thousand is seen
MOST_SLOTS = 36
STEPS = (1, 2, 5, 10)


@dataclass(frozen=True)
class Bar:
    """One column; `kind` is the series."""

    kind: str
    x: float
    width: float
    y: float
    height: float


@dataclass(frozen=True)
class Slot:
    """All that happened in one bucket, where it stands and what it says."""

    bucket: Bucket
    end: datetime
    x: float
    width: float
    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Chart:
    """`lines` are the heights and values of the grid; `marks` name every nth slot below it."""

    slots: tuple[Slot, ...]
    lines: tuple[tuple[float, int], ...]
    marks: tuple[tuple[float, str, bool], ...]
    base: float = BASE

    @property
    def totals(self) -> dict[str, int]:
        """How many of each series."""
        return {kind: sum(getattr(s.bucket, kind) for s in self.slots) for kind in SERIES}


def draw(series: Sequence[Bucket], now: datetime) -> Chart:
    """Lay out buckets of equal length, oldest first; neighbours are joined if there are many."""
    buckets = _condensed(series)
    length = buckets[-1].start - buckets[-2].start if len(buckets) > 1 else timedelta(hours=1)
    highest = max((getattr(b, kind) for b in buckets for kind in SERIES), default=0)
    step = _step(highest)
    top = max(step, -(-highest // step) * step)
    width = 100 / max(1, len(buckets))
    slots = tuple(
        _slot(bucket, min(bucket.start + length, now), index * width, width, top)
        for index, bucket in enumerate(buckets)
    )
    lines = tuple((_y(value, top), value) for value in range(0, top + 1, step))
    return Chart(slots, lines, _marks(slots, length))


def _condensed(series: Sequence[Bucket]) -> list[Bucket]:
    """So few that columns can be told apart; those that are joined begin at a round time."""
    joined = -(-len(series) // MOST_SLOTS)
    if joined <= 1:
        return list(series)
    length = int((series[1].start - series[0].start).total_seconds()) * joined
    groups = groupby(series, key=lambda bucket: int(bucket.start.timestamp()) // length)
    return [_sum(list(group)) for _, group in groups]


def _sum(group: Sequence[Bucket]) -> Bucket:
    totals = {kind: sum(getattr(bucket, kind) for bucket in group) for kind in SERIES}
    return Bucket(start=group[0].start, **totals)


def _step(highest: int) -> int:
    """A round distance between lines, so that there are three to six of them."""
    size = 1
    while size * 50 < highest:
        size *= 10
    return next(size * step for step in STEPS if size * step * 5 >= highest)


def _slot(bucket: Bucket, end: datetime, x: float, width: float, top: int) -> Slot:
    told = ", ".join(f"{getattr(bucket, kind):,} {kind}" for kind in SERIES)
    label = f"{_when(bucket.start)} to {_when(end)} UTC: {told}"
    bars = tuple(
        _bar(kind, getattr(bucket, kind), x + width * (0.14 + 0.25 * index), width * 0.22, top)
        for index, kind in enumerate(SERIES)
    )
    drawn = tuple(bar for bar in bars if bar.height)
    return Slot(bucket, end, round(x, 3), round(width, 3), label, drawn)


def _bar(kind: str, value: int, x: float, width: float, top: int) -> Bar:
    height = max(SMALLEST, BASE - _y(value, top)) if value else 0.0
    return Bar(kind, round(x, 3), round(width, 3), round(BASE - height, 1), round(height, 1))


def _y(value: int, top: int) -> float:
    return round(BASE - (BASE - TOP) * value / top, 1)


def _when(moment: datetime) -> str:
    return moment.strftime("%d %b %H:%M")


def _marks(slots: Sequence[Slot], length: timedelta) -> tuple[tuple[float, str, bool], ...]:
    """At most eight; every second one is left out on a phone."""
    every = max(1, -(-len(slots) // 8))
    is_long = length * max(1, len(slots)) > timedelta(days=2)
    text = "%d %b" if is_long else "%H:%M"
    return tuple(
        (slot.x, slot.bucket.start.strftime(text), number % 2 == 1)
        for number, slot in enumerate(slots[::every])
        if slot.x < 92  # else it would stand out on the right
    )
