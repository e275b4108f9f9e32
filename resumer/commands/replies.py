"""What a receiver's answer to a delivery means, in words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .kinds import Delivery, Kind

__all__ = ["Reply", "meaning", "next_step"]

LONGEST_BODY = 2000

_RESULTS = {
    "accepted": "Recorded and queued; a worker resumes the thread that waits for it.",
    "duplicate": "This decision was recorded before; nothing was done twice.",
    "conflict": "The pause was answered before, and otherwise: the first decision stands. "
    "This one is kept aside for operators.",
}
_STATUSES = {
    400: "The receiver found no usable proof in it.",
    401: "Not genuine: none of the receiver's keys has signed these bytes.",
    404: "No receiver at this address: it ends in /webhooks/looppause, after the prefix the "
    "application is mounted at (`resumer dev`: /resumer/webhooks/looppause).",
    405: "This address takes no deliveries: it ends in /webhooks/looppause.",
    413: "Larger than the receiver takes (RESUMER_MAX_BODY_BYTES).",
    503: "Nothing was taken: the receiver is not ready. LoopPause would deliver again.",
}
_NEXT = {
    Kind.APPROVED: "`resumer pauses` shows whether its thread was resumed.",
    Kind.REJECTED: "the gate closes: `resumer pauses` shows whether its thread was resumed.",
    Kind.FALLBACK: "a gate that wants a person stays closed: `resumer pauses` shows its thread.",
    Kind.EXPIRED: "the gate closes: `resumer pauses` shows whether its thread was resumed.",
    Kind.DUPLICATE: "`resumer pauses` shows one pause, resumed once.",
    Kind.EARLY: "no thread asks this pause: it stays `answered` until one does, and is parked "
    "after RESUMER_EARLY_HOURS. `resumer pauses` shows it.",
    Kind.TAMPERED: "the receiver's log has `delivery_not_genuine`. A wrong key ends so, too: "
    "`resumer trigger early` shows whether yours is right.",
    Kind.CONFLICT: "`resumer pauses` shows one pause, approved: the rejection changed nothing.",
}


@dataclass(frozen=True)
class Reply:
    """What came back for one delivery."""

    status: int
    body: str

    @property
    def content(self) -> Any:
        """The body as JSON, or as the text it is."""
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body[:LONGEST_BODY]

    @property
    def result(self) -> str | None:
        """What the receiver says it did: `accepted`, `duplicate`, `conflict`, or None."""
        said = self.content.get("status") if isinstance(self.content, dict) else None
        return said if isinstance(said, str) else None

    def is_as_expected(self, delivery: Delivery) -> bool:
        """Whether a sound receiver answers this delivery so."""
        return (self.status, self.result) == (delivery.status, delivery.result)


def meaning(reply: Reply) -> str:
    """What the receiver did, for somebody who has not read how it works."""
    if reply.status in (200, 202) and reply.result in _RESULTS:
        return _RESULTS[reply.result]
    if reply.status in _STATUSES:
        return _STATUSES[reply.status]
    if 200 <= reply.status < 300:
        return "Something else than a receiver of ours answered: is the address right?"
    if 300 <= reply.status < 400:
        return "A redirect, which LoopPause may not follow: give the final address."
    return "Not an answer of ours: is there a proxy, or another server, before the receiver?"


def next_step(kind: Kind, reply: Reply, delivery: Delivery, *, key_id: str) -> str:
    """What to look at now. `reply` is the first one that was not as expected, else the last."""
    if reply.is_as_expected(delivery):
        return _NEXT[kind]
    if kind is Kind.TAMPERED and reply.result is not None:
        return "stop using this receiver: it believes what nobody has signed."
    if reply.status == 401:
        return (
            f"sign with the receiver's own key, not with {key_id}: `resumer doctor`, run in its "
            "environment, names those it has."
        )
    if reply.result in ("duplicate", "conflict"):
        return "`resumer pauses` shows how it was answered; choose a pause that still waits."
    return "`resumer doctor` checks the receiver, and its log says more."
