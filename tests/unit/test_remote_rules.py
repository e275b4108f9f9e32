"""The resume table for threads on a LangGraph server, and what may be sent there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resumer.model import AlreadyResumed, Parked, PauseRecord, Postponed, Resumed, State
from resumer.remote.rules import Answer, GoOn, Join, decide, judge
from resumer.remote.runs import travels
from resumer.remote.seen import ServerRun, ServerThread, Snapshot
from resumer.rules import Policy

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLICY = Policy(settle_seconds=300.0, early_seconds=3600.0, retry_delays=(1.0,))
ASKS = {"pause_id": "p1"}
RECORD = PauseRecord("p1", State.ANSWERED, b"{}", "approved", NOW - timedelta(seconds=10))
BEGUN = replace(RECORD, state=State.RESUMING, started_at=NOW - timedelta(seconds=5))
RETRIED = replace(BEGUN, state=State.FAILED, attempts=1)
OPERATOR = replace(BEGUN, state=State.ANSWERED)


def run(status: str, pause_id: str | None = "p1", attempt: int = 0) -> ServerRun:
    return ServerRun(f"run-{status}", status, pause_id, attempt if pause_id else None)


def seen(
    *runs: ServerRun,
    pending: dict[str, Any] | None = None,
    idle: tuple[str, ...] = (),
    status: str = "interrupted",
    listed: bool = False,
) -> Snapshot:
    interrupts = (("i1", ASKS),) if listed else ()
    thread = ServerThread("t1", status, NOW, "agent", "a1", interrupts)
    return Snapshot(thread, runs, "c1", NOW, pending or {}, (), idle)


PENDING = {"i1": ASKS}


@pytest.mark.parametrize(
    "record, snapshot, act",
    [
        (RECORD, seen(pending=PENDING), Answer("i1")),
        (RECORD, seen(run("success", None), pending=PENDING), Answer("i1")),
        (RECORD, seen(status="busy", pending=PENDING), "busy_there"),
        (RECORD, seen(run("pending", None), pending=PENDING), "busy_there"),
        (RECORD, seen(pending={**PENDING, "i2": ASKS}), "two_gates"),
        (RECORD, seen(), AlreadyResumed),
        (RECORD, seen(listed=True), "lost_there"),
        # Our crash: what we had begun is found by its mark.
        (BEGUN, seen(pending=PENDING), Answer("i1")),
        (BEGUN, seen(run("pending"), pending=PENDING, status="busy"), "running_there"),
        (BEGUN, seen(run("running"), idle=("pay",), status="busy"), "running_there"),
        (BEGUN, seen(run("success")), Join(run("success"))),
        (BEGUN, seen(run("error"), idle=("pay",), status="error"), Join(run("error"))),
        (BEGUN, seen(), AlreadyResumed),
        # The attempt that had failed was noted: the next one is started, not found.
        (RETRIED, seen(run("error"), idle=("pay",)), GoOn()),
        (RETRIED, seen(run("timeout"), pending=PENDING), Answer("i1")),
        (RETRIED, seen(run("success")), Resumed()),
        (OPERATOR, seen(run("interrupted"), idle=("pay",)), GoOn()),
        (OPERATOR, seen(run("error"), pending=PENDING, status="error"), Answer("i1")),
        # Somebody else's run came after ours.
        (RETRIED, seen(run("error", None), run("error"), idle=("pay",)), Resumed()),
    ],
)
def test_the_resume_table(record: PauseRecord, snapshot: Snapshot, act: Any) -> None:
    """One row each."""
    chosen = decide(record, snapshot, NOW, POLICY)
    if isinstance(act, str):
        assert isinstance(chosen, (Parked, Postponed))
        assert chosen.code == act
    elif isinstance(act, type):
        assert isinstance(chosen, act)
    else:
        assert chosen == act


REFUSAL = (
    "ValidationError: 1 validation error for function-after[genuine(), any]\n"
    "  no configured key has signed this [type=looppause_refused, input_value='not shown']"
)


@pytest.mark.parametrize(
    "ended, snapshot, error, outcome",
    [
        (run("success"), seen(), "", Resumed()),
        (run("success"), seen(pending={"i9": {"pause_id": "p2"}}), "", Resumed(("p2",))),
        (run("success"), seen(pending=PENDING), "", "not_advanced"),
        (run("error"), seen(idle=("pay",)), "ValueError: the bank is closed", None),
        (run("timeout"), seen(idle=("pay",)), "", None),
        (run("error"), seen(pending=PENDING), REFUSAL, "refused"),
        (run("error"), seen(idle=("pay",)), REFUSAL, None),  # of another gate further on
        (run("error"), seen(), "UnknownInterruptError: An internal error", AlreadyResumed),
        (run("error"), seen(pending=PENDING), "UnknownInterruptError: An internal error", None),
        (run("interrupted"), seen(idle=("pay",)), "", "cancelled_there"),
        (run("interrupted"), seen(pending=PENDING), "", "cancelled_there"),
        # Some servers call a run that hibernates again so.
        (run("interrupted"), seen(pending={"i9": {"pause_id": "p2"}}), "", Resumed(("p2",))),
    ],
)
def test_what_became_of_a_run(
    ended: ServerRun, snapshot: Snapshot, error: str, outcome: Any
) -> None:
    """By how it ended and where the thread stands then; None where the graph raised."""
    judged = judge(BEGUN, ended, snapshot, error)
    if isinstance(outcome, str):
        assert isinstance(judged, Parked)
        assert judged.code == outcome
    elif isinstance(outcome, type):
        assert isinstance(judged, outcome)
    else:
        assert judged == outcome


def test_a_lost_interrupt_is_given_up_at_last() -> None:
    """The server contradicts itself for too long: a person has to look."""
    late = NOW + timedelta(seconds=400)
    assert isinstance(decide(RECORD, seen(listed=True), late, POLICY), Parked)


@pytest.mark.parametrize("after, longest", [(5.0, 0.5), (3600.0, 30.0)])
def test_a_long_run_is_looked_at_less_and_less_often(after: float, longest: float) -> None:
    """After a tenth of the time it took so far, and at least twice a minute."""
    now = BEGUN.started_at + timedelta(seconds=after) if BEGUN.started_at else NOW
    chosen = decide(BEGUN, seen(run("running"), status="busy"), now, POLICY)
    assert isinstance(chosen, Postponed)
    assert chosen.retry_in == pytest.approx(longest)


@pytest.mark.parametrize(
    "answer, goes",
    [
        ({"a": ["text", 7, True, None, {"b": "für Müller 🦫"}]}, True),
        ({"a": 0.1}, False),
        ({"a": 2**53}, False),
        ({"a": [-(2**60)]}, False),
        ({"a": "nul \0"}, False),
        ({"half \ud83d": 1}, False),
    ],
)
def test_what_others_would_write_differently_goes_as_text(answer: Any, goes: bool) -> None:
    """Numbers and characters that a server's JSON or its jsonb may change."""
    assert travels(answer) is goes
