"""Which pauses a page lists: from the query string of its address, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from resumer.model import State
from resumer.operator.views import Filter

__all__ = ["AGES", "ListQuery"]

MOST_CHARS = 300
MOST_TRAIL = 20


@dataclass(frozen=True)
class Age:
    """When a pause was made, seen from now."""

    label: str
    hours: int
    is_older: bool = False


AGES: Mapping[str, Age] = {
    "1h": Age("in the last hour", 1),
    "24h": Age("in the last 24 hours", 24),
    "7d": Age("in the last 7 days", 7 * 24),
    "over-1h": Age("more than 1 hour ago", 1, is_older=True),
    "over-24h": Age("more than 24 hours ago", 24, is_older=True),
    "over-7d": Age("more than 7 days ago", 7 * 24, is_older=True),
}


@dataclass(frozen=True)
class ListQuery:
    """What the address asks for. `trail` holds the cursors of the newer pages one came through."""

    states: tuple[State, ...] = ()
    agent: str = ""
    thread: str = ""
    reason: str = ""
    text: str = ""
    age: str = ""
    cursor: str = ""
    trail: tuple[str, ...] = ()

    @classmethod
    def of(cls, query: QueryParams) -> ListQuery:
        """What a query string asks for; what it cannot mean is left out."""
        asked = set(query.getlist("state"))
        return cls(
            states=tuple(state for state in State if state in asked),
            agent=_text(query, "agent"),
            thread=_text(query, "thread"),
            reason=_text(query, "reason"),
            text=_text(query, "text"),
            age=age if (age := query.get("age", "")) in AGES else "",
            cursor=_text(query, "cursor"),
            trail=tuple(query.getlist("trail")[-MOST_TRAIL:]),
        )

    @property
    def is_narrowed(self) -> bool:
        """Whether it asks for less than all."""
        return bool(self._filters())

    def filter(self, now: datetime) -> Filter:
        """The same for the database."""
        age = AGES.get(self.age)
        limit = now - timedelta(hours=age.hours) if age else None
        return Filter(
            states=self.states,
            agent_id=self.agent or None,
            thread_id=self.thread or None,
            reason_code=self.reason or None,
            created_after=limit if age and not age.is_older else None,
            created_before=limit if age and age.is_older else None,
            text=self.text or None,
        )

    def first(self) -> str:
        """The query string of the first page, empty or with its question mark."""
        return _query(self._filters())

    def older(self, cursor: str) -> str:
        """The query string of the page behind `cursor`."""
        trail = [*self.trail, self.cursor] if self.cursor else self.trail
        kept = [("trail", step) for step in trail[-MOST_TRAIL:]]
        return _query([*self._filters(), ("cursor", cursor), *kept])

    def newer(self) -> str:
        """The query string of the page one came from."""
        if not self.trail:
            return self.first()
        kept = [("trail", step) for step in self.trail[:-1]]
        return _query([*self._filters(), ("cursor", self.trail[-1]), *kept])

    def without(self, name: str) -> str:
        """The query string of the first page with one condition less."""
        return _query([pair for pair in self._filters() if pair[0] != name])

    def _filters(self) -> list[tuple[str, str]]:
        values = {
            "agent": self.agent,
            "thread": self.thread,
            "reason": self.reason,
            "text": self.text,
            "age": self.age,
        }
        states = [("state", str(state)) for state in self.states]
        return states + [(name, value) for name, value in values.items() if value]


def _text(query: QueryParams, name: str) -> str:
    # PostgreSQL takes no NUL, and nothing half of a character.
    text = query.get(name, "").replace("\0", "").encode("utf-8", "ignore").decode()
    return text.strip()[:MOST_CHARS]


def _query(pairs: Sequence[tuple[str, str]]) -> str:
    return f"?{urlencode(pairs)}" if pairs else ""
