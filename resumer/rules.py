"""The rules of resuming: what to do about an answered pause, given what the checkpointer says.

Pure: no SQL, no HTTP, no clock of its own. `design.md` calls this the resume table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from looppause_sdk.proof import DENIAL_STATUSES

from .errors import RemoteAway
from .model import (
    AlreadyResumed,
    Found,
    Inspection,
    Parked,
    PauseRecord,
    Place,
    Postponed,
    Resumed,
)

__all__ = [
    "TWO_GATES",
    "Act",
    "CarryOn",
    "Policy",
    "Resume",
    "age",
    "asked_at",
    "decide",
    "early",
    "not_reached",
    "out_of_reach",
    "patience_for",
]


@dataclass(frozen=True)
class Policy:
    """How long to wait for what. Seconds."""

    settle_seconds: float
    early_seconds: float
    retry_delays: tuple[float, ...]
    stall_seconds: float = 30.0
    lock_seconds: float = 2.0
    deploy_seconds: float = 600.0
    outage_seconds: float = 24 * 3600.0


@dataclass(frozen=True)
class Resume:
    """Answer this interrupt."""

    found: Found
    strict: bool = True


@dataclass(frozen=True)
class CarryOn:
    """Finish the run that our own crash cut off."""

    found: Found


HIDDEN = "hidden"

TWO_GATES = Parked(
    "two_gates", "two gates of this thread ask with the same pause: answer them by hand"
)

Act = Resume | CarryOn | Resumed | AlreadyResumed | Parked | Postponed


def early(
    record: PauseRecord, now: datetime, policy: Policy
) -> Postponed | Parked | AlreadyResumed:
    """No interrupt asks for this pause yet."""
    if record.thread_id is not None and record.decision in DENIAL_STATUSES:
        return AlreadyResumed("nobody waits for it any more")
    if record.collected_at is not None:
        return AlreadyResumed("a waiting client has taken the answer")
    return patience_for(
        "early",
        "no thread has hibernated at this pause yet",
        otherwise="no thread ever asked this: the agent's process died before it hibernated, "
        "its checkpointer is another database, or the pause belongs to something else",
        waited=age(record.received_at, now),
        limit=policy.early_seconds,
    )


def out_of_reach(
    record: PauseRecord, error: Exception, now: datetime, policy: Policy
) -> Postponed | Parked:
    """The LangGraph server that the thread is, or may be, on could not be asked."""
    waited = age(record.started_at or record.received_at, now)
    otherwise = f"{error}: it is taken up again by itself once the server answers"
    if isinstance(error, RemoteAway):
        return patience_for(
            "server_away",
            str(error),
            otherwise=otherwise,
            waited=waited,
            limit=policy.outage_seconds,
            longest=60.0,
        )
    return patience_for(
        "server_refused",
        str(error),
        otherwise=otherwise,
        waited=waited,
        limit=policy.deploy_seconds,
        longest=30.0,
    )


def patience_for(
    code: str, reason: str, *, otherwise: str, waited: float, limit: float, longest: float = 300.0
) -> Postponed | Parked:
    """Look again after a tenth of the time waited so far; past `limit` seconds, park."""
    if waited > limit:
        return Parked(code, otherwise)
    return Postponed(code, reason, retry_in=min(max(0.2, waited / 10), longest))


def decide(
    record: PauseRecord, rows: Sequence[Found], seen: Inspection, now: datetime, policy: Policy
) -> Act:
    """Choose the act for a pause whose interrupt was found in the rows of one thread."""
    pending = seen.pending_for(record.pause_id)
    if len(pending) > 1:
        return TWO_GATES
    if pending:
        known = (row for row in rows if row.interrupt_id == pending[0])
        found = next(known, replace(rows[0], interrupt_id=pending[0]))
        return _when_settled(Resume(found), seen, now, policy)
    if not seen.exists or any(row.ahead and not row.stored for row in rows):
        return _unwritten(asked_at(record, rows), now, policy)
    if inner := [row for row in rows if _still_inside(row, seen)]:
        return _hidden(record, inner, seen, now, policy)
    if record.started_at is not None:
        return _after_our_start(record, rows, seen)
    return _not_ours(rows, seen)


def _when_settled(
    act: Resume, seen: Inspection, now: datetime, policy: Policy
) -> Resume | Postponed:
    """Resuming beside a task that still runs elsewhere would run that task twice."""
    waited = age(seen.created_at, now) if seen.created_at else 0.0
    if not seen.unsettled or waited > policy.settle_seconds:
        return act
    names = ", ".join(sorted(set(seen.unsettled.values())))
    return Postponed(
        "unsettled", f"still running beside the gate: {names}", min(max(0.2, waited / 10), 5.0)
    )


def _unwritten(since: datetime, now: datetime, policy: Policy) -> Postponed | Parked:
    """The interrupt row is there before its checkpoint: resuming now would start a new run."""
    return patience_for(
        "unwritten",
        "the thread's checkpoint is not written yet",
        otherwise="the thread's checkpoint was never written: its process died before it "
        "hibernated. Run the agent again; it will ask again",
        waited=age(since, now),
        limit=policy.settle_seconds,
        longest=5.0,
    )


def _still_inside(row: Found, seen: Inspection) -> bool:
    """Whether a nested graph still waits for this, in a task that the root graph is not done with.

    The root graph does not know of it yet, or shows only the first of several that its task
    raised.
    """
    return _is_of(row, seen.unsettled) or (row.open and _is_of(row, seen.unfinished))


def _is_of(row: Found, tasks: Mapping[str, str]) -> bool:
    name, task_id = row.root_task
    if not row.checkpoint_ns or not row.stored:
        return False
    return task_id in tasks if task_id else name in tasks.values()


def _hidden(
    record: PauseRecord, inner: Sequence[Found], seen: Inspection, now: datetime, policy: Policy
) -> Act:
    if len({row.interrupt_id for row in inner if row.open}) > 1:
        return TWO_GATES
    if record.reason_code == HIDDEN and seen.pending:
        return not_reached(asked_at(record, inner), now)  # running the node again would not help
    found = next((row for row in inner if row.open), inner[0])
    return _when_settled(Resume(found, strict=False), seen, now, policy)


def not_reached(since: datetime, now: datetime) -> Postponed:
    """The node stopped at another of its gates before it came to this one.

    No limit: the other gate has one of its own, and answered it makes room.
    """
    reason = "another gate of the same node has to be answered first"
    return Postponed(HIDDEN, reason, min(max(0.2, age(since, now) / 10), 300.0))


def _after_our_start(record: PauseRecord, rows: Sequence[Found], seen: Inspection) -> Act:
    if any(row.root_task[1] in seen.unfinished for row in rows if row.checkpoint_ns):
        return CarryOn(rows[0])  # answered inside a task whose other gates still wait
    here = seen.checkpoint_id in {row.checkpoint_id for row in rows if not row.checkpoint_ns}
    if not here and seen.resumed_by != record.pause_id:
        return Resumed(seen.waiting_pauses())  # later runs have moved the thread on since
    if seen.runnable and not seen.at_breakpoint:
        return CarryOn(rows[0])
    return Resumed(seen.waiting_pauses())


def _not_ours(rows: Sequence[Found], seen: Inspection) -> AlreadyResumed | Parked:
    for row in rows:
        is_last = not row.checkpoint_ns and row.checkpoint_id == seen.checkpoint_id
        if is_last and row.task_id not in seen.tasks:
            return Parked(
                "no_node",
                "the graph no longer has the node that hibernates here: deploy a version that "
                "has it, or resume the thread by hand",
            )
    return AlreadyResumed("the interrupt had been answered, or its thread moved on without it")


def asked_at(record: PauseRecord, rows: Sequence[Place]) -> datetime:
    """When both the question and its answer were there: no waiting counts from before that."""
    return max([record.received_at, *(row.asked_at for row in rows if row.asked_at)])


def age(since: datetime, now: datetime) -> float:
    """Seconds from `since` to `now`, never negative: clocks of several machines differ."""
    return max(0.0, (now - since).total_seconds())
