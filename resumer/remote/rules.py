"""The rules of resuming on a server: what to do about an answered pause, given what it says.

Pure, as `resumer.rules` is: no HTTP, no clock of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from resumer.model import AlreadyResumed, Parked, PauseRecord, Postponed, Resumed, State
from resumer.rules import TWO_GATES, Policy, age, patience_for

from .seen import ServerRun, Snapshot

__all__ = ["Answer", "GoOn", "Join", "RemoteAct", "busy_there", "decide", "going_on", "judge"]

REFUSED = "type=looppause_refused"  # what our gates call it, in pydantic's words
UNKNOWN_INTERRUPT = "UnknownInterruptError"


@dataclass(frozen=True)
class Answer:
    """Start a run that answers this interrupt."""

    interrupt_id: str


@dataclass(frozen=True)
class GoOn:
    """Start a run that finishes what our last one was cut off from."""


@dataclass(frozen=True)
class Join:
    """Start nothing: this run of ours is there already, and how it ended was not noted."""

    run: ServerRun


RemoteAct = Answer | GoOn | Join


def decide(
    record: PauseRecord, seen: Snapshot, now: datetime, policy: Policy
) -> RemoteAct | Resumed | AlreadyResumed | Parked | Postponed:
    """Choose the act for a pause whose thread was found on a server."""
    last = seen.last_for(record.pause_id)
    if last is not None and last.is_going_on:
        return going_on(record, now)
    if seen.thread.status == "busy" or any(run.is_going_on for run in seen.runs):
        return busy_there(record, now)
    if last is not None and record.state is State.RESUMING and last.attempt == record.attempts:
        return Join(last)
    return _asked(record, seen, now, policy, last)


def _asked(
    record: PauseRecord, seen: Snapshot, now: datetime, policy: Policy, last: ServerRun | None
) -> RemoteAct | Resumed | AlreadyResumed | Parked | Postponed:
    """No run is going on, and of none of ours it is open how it ended."""
    pending = seen.pending_for(record.pause_id)
    if pending:
        return Answer(pending[0]) if len(pending) == 1 else TWO_GATES
    if record.started_at is None or last is None:
        return _not_ours(record, seen, now, policy)
    return _answered(seen, last)


def _not_ours(
    record: PauseRecord, seen: Snapshot, now: datetime, policy: Policy
) -> AlreadyResumed | Postponed | Parked:
    if record.pause_id not in seen.thread.places(""):
        return AlreadyResumed("the interrupt had been answered, or its thread moved on without it")
    return patience_for(
        "lost_there",
        "the server lists the question with its thread, and has no such interrupt in its state",
        otherwise="the server has lost the interrupt: it lists the question with its thread and "
        "has it not in the state. Run the agent again; it will ask again",
        waited=age(record.received_at, now),
        limit=policy.settle_seconds,
        longest=5.0,
    )


def _answered(seen: Snapshot, last: ServerRun) -> GoOn | Resumed:
    # Where somebody else's run came after ours, the thread is theirs.
    is_cut_off = seen.runs[0] == last and (last.has_failed or last.was_cut_off)
    return GoOn() if is_cut_off and seen.idle else Resumed(seen.waiting_pauses())


def judge(
    record: PauseRecord, run: ServerRun, seen: Snapshot, error: str
) -> Resumed | AlreadyResumed | Parked | None:
    """What became of our run, which has ended; None if the graph raised `error`."""
    is_pending = bool(seen.pending_for(record.pause_id))
    if run.has_failed:
        return _why_failed(error, is_pending=is_pending)
    if run.was_cut_off and (is_pending or seen.idle):
        return Parked(
            "cancelled_there",
            "somebody cancelled its run on the server: a retry goes on from where it stopped",
        )
    if is_pending:
        return Parked("not_advanced", "the thread still waits at the gate it was resumed at")
    return Resumed(seen.waiting_pauses())


def _why_failed(error: str, *, is_pending: bool) -> AlreadyResumed | Parked | None:
    if UNKNOWN_INTERRUPT in error and not is_pending:
        return AlreadyResumed("somebody else answered the interrupt at the same moment")
    if REFUSED in error and is_pending:
        return Parked(
            "refused",
            f"the gate refused the proof ({_said(error)}): give the graph's LoopPause client, on "
            "its server, the same keys as the receiver, then retry",
            error,
        )
    return None


def _said(error: str) -> str:
    """What the gate said, without what pydantic puts around it."""
    return error.partition(f" [{REFUSED}")[0].strip().splitlines()[-1].strip()[:300]


def going_on(record: PauseRecord, now: datetime) -> Postponed:
    """Our run is not over."""
    return Postponed("running_there", "its run goes on on the server", _soon(record, now))


def busy_there(record: PauseRecord, now: datetime) -> Postponed:
    """Somebody else's run is not over."""
    reason = "the server has another run of this thread going on"
    return Postponed("busy_there", reason, _soon(record, now))


def _soon(record: PauseRecord, now: datetime) -> float:
    """After a tenth of the time that it took so far; no limit, since the server has its own."""
    return min(max(0.2, age(record.started_at or record.received_at, now) / 10), 30.0)
