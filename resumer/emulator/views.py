"""A pause's document as the page shows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from resumer.operator.wording import duration

from .forms import Input, read_form

__all__ = [
    "Inbox",
    "PauseView",
    "Wanted",
    "ago",
    "duration",
    "is_tabular",
    "show_inbox",
    "show_pause",
    "shown_address",
]

SHOWN = 200
LONGEST_SEARCH = 200
ENDINGS = {"timed_out": "Timed out", "expired": "Expired"}


@dataclass(frozen=True)
class Wanted:
    """Which pauses a list shows: `show` is `all`, `waiting` or `answered`.

    Those that are shown have every word of `text` somewhere.
    """

    show: str = "all"
    text: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """What an address asks for; anything else it may say is everything."""
        show = query.get("show", "all")
        text = query.get("q", "").strip()[:LONGEST_SEARCH]
        return cls(show if show in ("waiting", "answered") else "all", text)

    @property
    def query(self) -> str:
        """As an address has it, with its question mark; empty for everything."""
        members = {"show": self.show if self.show != "all" else "", "q": self.text}
        query = urlencode({name: value for name, value in members.items() if value})
        return f"?{query}" if query else ""

    def showing(self, show: str) -> Wanted:
        """The same words among others."""
        return Wanted(show, self.text)

    def finds(self, view: PauseView) -> bool:
        """Whether every word is somewhere in the pause."""
        words = self.text.casefold().split()
        return not words or all(word in view.searchable for word in words)


EVERYTHING = Wanted()


@dataclass(frozen=True)
class PauseView:
    """One pause, ready for the templates. Times are aware datetimes.

    `request` is the question as it was sent, `proof` the signed answer (empty while it waits),
    `delivery` what the deliverer has noted.
    """

    document: Mapping[str, Any]
    request: Mapping[str, Any]
    proof: Mapping[str, Any]
    delivery: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its pause id."""
        return str(self.document["pause_id"])

    @property
    def searchable(self) -> str:
        """What a search looks at: all that the page shows of the question and of the answer."""
        asked = {**self.request, "webhook_url": self.webhook}
        proof = {name: self.proof.get(name) for name in ("responder", "comment", "fields")}
        parts = [self.id, "" if self.waiting else self.headline, asked, proof]
        return json.dumps(parts, ensure_ascii=False).casefold()

    @property
    def version(self) -> str:
        """Changes whenever something about the pause does."""
        text = json.dumps(self.document, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def waiting(self) -> bool:
        """Whether nobody has answered yet."""
        return not self.proof

    @property
    def verdict(self) -> str:
        """`waiting`, `approved`, `rejected` or `ended`: the colour of a pause."""
        return "waiting" if self.waiting else str(self.proof.get("decision", "ended"))

    @property
    def headline(self) -> str:
        """How it ended, in two words at most."""
        if self.document["status"] == "responded":
            return str(self.proof["decision"]).capitalize()
        return ENDINGS.get(self.document["status"], "Ended")

    @property
    def automatic(self) -> bool:
        """Whether a configured default answered, and no person."""
        return self.proof.get("authorization_type") == "system_fallback"

    @property
    def created(self) -> datetime:
        """When it was asked."""
        return datetime.fromisoformat(self.document["created_at"])

    @property
    def expires(self) -> datetime:
        """When it times out."""
        return datetime.fromisoformat(self.document["expires_at"])

    @property
    def ended(self) -> datetime:
        """When it was answered or ended."""
        return datetime.fromisoformat(self.document["ended_at"])

    @property
    def inputs(self) -> Sequence[Input]:
        """What its form asks for."""
        return read_form(self.request.get("form"))

    @property
    def webhook(self) -> str | None:
        """The webhook's address without what may be secret in it: user, password and query."""
        url = self.request.get("webhook_url")
        return shown_address(url) if url else None

    @property
    def attempts(self) -> Sequence[Mapping[str, Any]]:
        """What was sent and what came back, the latest first, each with its number."""
        tried = self.delivery.get("attempts", ())
        numbered = [{**attempt, "number": n} for n, attempt in enumerate(tried, start=1)]
        return numbered[::-1]

    @property
    def moved_to(self) -> str | None:
        """Where the last attempt went instead of the webhook's address."""
        return next((shown_address(a["to"]) for a in self.attempts if "to" in a), None)

    @property
    def next_attempt(self) -> datetime | None:
        """When its proof is delivered again."""
        moment = self.delivery.get("next_attempt_at")
        return datetime.fromisoformat(moment) if moment else None

    @property
    def pretty_request(self) -> str:
        """The request as JSON, its webhook shown as on the page."""
        shown = dict(self.request)
        if self.webhook:
            shown["webhook_url"] = self.webhook
        return json.dumps(shown, indent=2, ensure_ascii=False)

    @property
    def pretty_proof(self) -> str:
        """The signed answer as JSON."""
        return json.dumps(self.proof, indent=2, ensure_ascii=False)


@dataclass(frozen=True)
class Inbox:
    """All the page lists; each list the newest first and cut to the latest, `hidden` are not shown.

    `counts` are those of each choice of `show` with the same words; `total` is of all there are,
    and `all_waiting` of those that wait, found or not.
    """

    wanted: Wanted
    waiting: Sequence[PauseView]
    answered: Sequence[PauseView]
    counts: Mapping[str, int]
    hidden: int
    total: int
    all_waiting: int


def show_pause(document: Mapping[str, Any]) -> PauseView:
    """The view of one pause."""
    delivery = document["notes"].get("delivery", {})
    return PauseView(document, document["request"], document["proof"] or {}, delivery)


def show_inbox(documents: Sequence[Mapping[str, Any]], wanted: Wanted = EVERYTHING) -> Inbox:
    """The views of the pauses that are wanted; `documents` come the newest first."""
    views = [show_pause(document) for document in documents]
    found = [view for view in views if wanted.finds(view)]
    waiting = [view for view in found if view.waiting]
    answered = sorted((v for v in found if not v.waiting), key=lambda v: v.ended, reverse=True)
    counts = {"all": len(found), "waiting": len(waiting), "answered": len(answered)}
    shown = [] if wanted.show == "answered" else waiting[:SHOWN]
    ended = [] if wanted.show == "waiting" else answered[:SHOWN]
    return Inbox(
        wanted=wanted,
        waiting=shown,
        answered=ended,
        counts=counts,
        hidden=counts[wanted.show] - len(shown) - len(ended),
        total=len(views),
        all_waiting=sum(view.waiting for view in views),
    )


def shown_address(url: str) -> str:
    """An address without what may be secret in it: user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}{'?…' if parts.query else ''}"


def ago(seconds: float) -> str:
    """How long ago: `just now`, `3 min ago`."""
    return "just now" if seconds < 60 else f"{duration(seconds)} ago"


def is_tabular(value: Any) -> bool:
    """Whether a list reads best as a table: at least two flat objects with the same members."""
    if not isinstance(value, list) or len(value) < 2:
        return False
    if not all(isinstance(row, dict) and row.keys() == value[0].keys() for row in value):
        return False
    cells = [cell for row in value for cell in row.values()]
    return 0 < len(value[0]) <= 6 and not any(isinstance(cell, (dict, list)) for cell in cells)
