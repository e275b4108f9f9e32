"""Odd answers and odd deliveries, to see what an agent and a receiver make of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from looppause_sdk.errors import LoopPauseRequestError
from looppause_sdk.testing import FakeLoopPause

from .delivery import Deliverer

__all__ = ["DEFAULT_SECONDS", "LATEST_SECONDS", "Trial", "trials_for", "try_out"]

DEFAULT_SECONDS = 30.0
LATEST_SECONDS = 24 * 3600.0
COPIES = 2


@dataclass(frozen=True)
class Trial:
    """One odd thing to do. `expect` says what a sound receiver makes of it.

    `needs` is `webhook` where there is nothing to be seen without one, `decision` where a person
    or a default must have answered. `takes_seconds` is one that is done later.
    """

    name: str
    label: str
    expect: str
    act: Callable[[_Case], object]
    needs: frozenset[str] = frozenset()
    takes_seconds: bool = False


@dataclass(frozen=True)
class _Case:
    """What a trial is done with; `seconds` is how late."""

    fake: FakeLoopPause
    deliveries: Deliverer
    pause_id: str
    responder: str
    seconds: float

    def approve(self, **oddly: Any) -> None:
        """Approve, and have the proof delivered oddly."""
        self.deliveries.plan(self.pause_id, **oddly)
        self.fake.decide(self.pause_id, "approved", responder=self.responder)

    def answer_by_default(self, decision: str) -> None:
        """What an escalation's fallback does when its time has come."""
        self.fake.decide(
            self.pause_id,
            decision,
            responder="system",
            authorization_type="system_fallback",
            channel=None,
        )

    def send(self, proof: Mapping[str, Any], what: str) -> None:
        """Post something to the receiver that is not the answer which stands."""
        self.deliveries.send(self.pause_id, json.dumps(proof).encode(), what)

    def proof(self) -> dict[str, Any]:
        """The answer that stands."""
        proof: dict[str, Any] = self.fake.document(self.pause_id)["proof"]
        return dict(proof)


def trials_for(document: Mapping[str, Any]) -> Sequence[Trial]:
    """What can be tried with this pause as it is now."""
    has = {"webhook"} if document["request"].get("webhook_url") else set()
    if document["status"] == "responded":
        has.add("decision")
    offered = _WAITING if document["proof"] is None else _ENDED
    return [trial for trial in offered if trial.needs <= has]


def try_out(
    fake: FakeLoopPause,
    deliveries: Deliverer,
    document: Mapping[str, Any],
    sent: Mapping[str, str],
    responder: str,
) -> None:
    """Do what the form in `sent` asks for. Raises `LoopPauseRequestError` if that cannot be."""
    chosen = {trial.name: trial for trial in trials_for(document)}.get(sent.get("trial", ""))
    if chosen is None:
        raise LoopPauseRequestError("this cannot be tried with the pause as it is", status_code=409)
    seconds = _seconds(sent.get("seconds", "")) if chosen.takes_seconds else 0.0
    chosen.act(_Case(fake, deliveries, document["pause_id"], responder, seconds))


def _seconds(text: str) -> float:
    try:
        seconds = float(text or DEFAULT_SECONDS)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LATEST_SECONDS:
        raise LoopPauseRequestError(
            f"seconds must be a number from 0 to {LATEST_SECONDS:.0f}", status_code=422
        )
    return seconds


def _deliver_again(case: _Case) -> None:
    for _ in range(COPIES):
        case.send(case.proof(), "copy")


def _contradict(case: _Case) -> None:
    proof = case.proof()
    proof["decision"] = "rejected" if proof["decision"] == "approved" else "approved"
    case.send(case.fake.sign(proof), "contradiction")


def _forge(case: _Case) -> None:
    proof = case.proof()
    signature = proof["signature"]
    proof["signature"] = ("B" if signature[0] == "A" else "A") + signature[1:]
    case.send(proof, "forgery")


_WEBHOOK = frozenset({"webhook"})
_WAITING = (
    Trial(
        "fallback-approve",
        "Approve by default",
        "A fallback answers, no person: a gate that wants a person stays shut.",
        lambda case: case.answer_by_default("approved"),
    ),
    Trial(
        "fallback-reject",
        "Reject by default",
        "A fallback answers: rejected.",
        lambda case: case.answer_by_default("rejected"),
    ),
    Trial(
        "time-out",
        "Time out",
        "Nobody answered in time: the thread goes on with a denial.",
        lambda case: case.fake.time_out(case.pause_id),
    ),
    Trial(
        "expire",
        "Expire",
        "The pause is over: the thread goes on with a denial.",
        lambda case: case.fake.expire(case.pause_id),
    ),
    Trial(
        "twice",
        "Approve, delivered twice",
        "Two copies at the same moment: one is accepted, one is a duplicate.",
        lambda case: case.approve(copies=COPIES),
        _WEBHOOK,
    ),
    Trial(
        "lost",
        "Approve, delivery lost",
        "Nothing is sent: the receiver's sweep finds the answer, within a minute or two.",
        lambda case: case.approve(lose=True),
        _WEBHOOK,
    ),
    Trial(
        "late",
        "Approve, delivered late",
        "The thread hibernates on until then, or until the sweep asks.",
        lambda case: case.approve(delay=case.seconds),
        _WEBHOOK,
        takes_seconds=True,
    ),
)
_ENDED = (
    Trial(
        "copies",
        "Deliver two more copies",
        "Both are duplicates (200): nothing is done twice.",
        _deliver_again,
        _WEBHOOK,
    ),
    Trial(
        "contradict",
        "Deliver the opposite",
        "Genuine, and too late: a conflict (200). The first decision stands.",
        _contradict,
        frozenset({"webhook", "decision"}),
    ),
    Trial(
        "forge",
        "Deliver a forgery",
        "One character of the signature differs: refused (401).",
        _forge,
        _WEBHOOK,
    ),
)
