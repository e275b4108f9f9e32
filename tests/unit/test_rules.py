"""The resume table: what is done about an answered pause, for all the checkpointer may say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resumer.model import (
    AlreadyResumed,
    Found,
    Inspection,
    Parked,
    PauseRecord,
    Postponed,
    Resumed,
    State,
    checkpoint_id_at,
)
from resumer.rules import CarryOn, Policy, Resume, age, asked_at, decide, early, patience_for

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
POLICY = Policy(settle_seconds=300.0, early_seconds=3600.0, retry_delays=(1.0,))
MINE = {"pause_id": "pause_1", "agent_id": "a"}
OTHER = {"pause_id": "pause_2"}


def ago(seconds: float) -> datetime:
    """A moment before NOW."""
    return NOW - timedelta(seconds=seconds)


def checkpoint(seconds: float) -> str:
    """The id of a checkpoint that was made so many seconds ago."""
    return checkpoint_id_at(ago(seconds))


HERE = checkpoint(60)
LATER = checkpoint(30)


def record(**changes: Any) -> PauseRecord:
    """An answered pause that nothing was done about."""
    answered = PauseRecord("pause_1", State.ANSWERED, b"{}", "approved", received_at=ago(10))
    return replace(answered, **changes)


def row(**changes: Any) -> Found:
    """The interrupt in the root graph, its checkpoint written a minute ago."""
    at_root = Found("thread", "", HERE, "task-gate", "i1", MINE, stored=True, ahead=False)
    return replace(at_root, **changes)


def seen(**changes: Any) -> Inspection:
    """A thread that exists and does nothing."""
    idle = Inspection(exists=True, checkpoint_id=HERE, created_at=ago(60))
    return replace(idle, **changes)


PENDING = seen(pending={"i1": MINE}, tasks={"task-gate": "gate"})
OURS = record(state=State.RESUMING, started_at=ago(5))
IN_SUBGRAPH = row(checkpoint_ns="sub:task-sub", checkpoint_id=checkpoint(59), task_id="inner")
IN_SUBGRAPH_OF_SUBGRAPH = replace(IN_SUBGRAPH, checkpoint_ns="sub:task-sub|deep:task-deep")
IN_STATEFUL_SUBGRAPH = replace(IN_SUBGRAPH, checkpoint_ns="sub")
RUNNING = {"task-sub": "sub"}
HIDDEN = row(
    checkpoint_ns="tools:task-gate|b", checkpoint_id=checkpoint(59), task_id="inner", open=True
)
BEHIND_OTHER = seen(
    pending={"i0": OTHER}, tasks={"task-gate": "tools"}, unfinished={"task-gate": "tools"}
)
GONE_ON = seen(checkpoint_id=LATER, created_at=ago(30))


@dataclass(frozen=True)
class Case:
    name: str
    act: Any
    record: PauseRecord
    rows: list[Found]
    seen: Inspection

    def __str__(self) -> str:
        return self.name


def unsettled(seconds: float, **changes: Any) -> Inspection:
    """A sibling of the gate has been running for so many seconds."""
    return replace(
        PENDING, created_at=ago(seconds), unsettled={"t2": "report", "t3": "audit"}, **changes
    )


CASES = [
    # pending
    Case("pending and settled", Resume(row()), record(), [row()], PENDING),
    Case("pending again after our crash in the gate", Resume(row()), OURS, [row()], PENDING),
    Case(
        "pending, also seen in the subgraph it came from",
        Resume(row(interrupt_id="i1")),
        record(),
        [row(interrupt_id="i1"), replace(IN_SUBGRAPH, interrupt_id="i1")],
        PENDING,
    ),
    Case(
        "pending a second time in a loop, with its first visit in the history",
        Resume(row(interrupt_id="i2")),
        record(),
        [row(interrupt_id="i1", checkpoint_id=checkpoint(500)), row(interrupt_id="i2")],
        seen(pending={"i2": MINE}),
    ),
    Case(
        "pending beside another gate",
        Resume(row()),
        record(),
        [row()],
        seen(pending={"i0": OTHER, "i1": MINE}),
    ),
    Case(
        "pending beside a question that is no gate",
        Resume(row()),
        record(),
        [row()],
        seen(pending={"i0": "really?", "i1": MINE, "i3": {"pause_id": 7}}),
    ),
    Case(
        "pending, a sibling still runs",
        Postponed("unsettled", "still running beside the gate: audit, report", 5.0),
        record(),
        [row()],
        unsettled(299),
    ),
    Case(
        "pending, a sibling began a moment ago",
        Postponed("unsettled", "still running beside the gate: audit, report", 0.2),
        record(),
        [row()],
        unsettled(0.1),
    ),
    Case(
        "pending, a sibling began in the future of another clock",
        Postponed("unsettled", "still running beside the gate: audit, report", 0.2),
        record(),
        [row()],
        unsettled(-30),
    ),
    Case(
        "pending, and the sibling's process taken for dead",
        Resume(row()),
        record(),
        [row()],
        unsettled(301),
    ),
    Case(
        "pending, unsettled since nobody knows when",
        Postponed("unsettled", "still running beside the gate: audit, report", 0.2),
        record(),
        [row()],
        replace(unsettled(0), created_at=None),
    ),
    Case(
        "two gates with one pause",
        Parked("two_gates", "two gates of this thread ask with the same pause: answer them by hand"),
        record(),
        [row(interrupt_id="i1"), row(interrupt_id="i2")],
        seen(pending={"i1": MINE, "i2": MINE}),
    ),
    # not written yet
    Case(
        "the thread does not exist yet",
        Postponed("unwritten", "the thread's checkpoint is not written yet", 1.0),
        record(),
        [row(stored=False, ahead=True)],
        Inspection(exists=False),
    ),
    Case(
        "the interrupt is newer than every checkpoint",
        Postponed("unwritten", "the thread's checkpoint is not written yet", 1.0),
        record(),
        [row(checkpoint_id=LATER, stored=False, ahead=True)],
        seen(),
    ),
    Case(
        "an answered visit in the history does not make up for the unwritten one",
        Postponed("unwritten", "the thread's checkpoint is not written yet", 1.0),
        OURS,
        [row(checkpoint_id=checkpoint(500)), row(checkpoint_id=LATER, stored=False, ahead=True)],
        seen(),
    ),
    Case(
        "no waiting counts from before the proof came",
        Postponed("unwritten", "the thread's checkpoint is not written yet", 0.2),
        record(received_at=NOW),
        [row(checkpoint_id=checkpoint(9999), stored=False, ahead=True)],
        Inspection(exists=False),
    ),
    Case(
        "never written",
        Parked(
            "unwritten",
            "the thread's checkpoint was never written: its process died before it "
            "hibernated. Run the agent again; it will ask again",
        ),
        record(received_at=ago(400)),
        [row(checkpoint_id=checkpoint(400), stored=False, ahead=True)],
        Inspection(exists=False),
    ),
    Case(
        "never written, and the thread went on without it",
        AlreadyResumed("the interrupt had been answered, or its thread moved on without it"),
        record(),
        [row(stored=False, ahead=False)],
        GONE_ON,
    ),
    # still inside a subgraph
    Case(
        "still inside a subgraph whose task runs",
        Postponed("unsettled", "still running beside the gate: sub", 5.0),
        record(),
        [IN_SUBGRAPH],
        seen(unsettled=RUNNING),
    ),
    Case(
        "still inside a subgraph of a subgraph",
        Postponed("unsettled", "still running beside the gate: sub", 5.0),
        record(),
        [IN_SUBGRAPH_OF_SUBGRAPH],
        seen(unsettled=RUNNING),
    ),
    Case(
        "still inside a subgraph with a checkpointer of its own, known by name only",
        Postponed("unsettled", "still running beside the gate: sub", 5.0),
        record(),
        [IN_STATEFUL_SUBGRAPH],
        seen(unsettled=RUNNING),
    ),
    Case(
        "inside a subgraph whose process is taken for dead",
        Resume(IN_SUBGRAPH, strict=False),
        record(),
        [IN_SUBGRAPH],
        seen(created_at=ago(301), unsettled=RUNNING),
    ),
    Case(
        "inside a subgraph that another task runs now",
        AlreadyResumed("the interrupt had been answered, or its thread moved on without it"),
        record(),
        [IN_SUBGRAPH],
        seen(unsettled={"task-next": "sub"}),
    ),
    # hidden behind another interrupt of its task
    Case("hidden behind a sibling", Resume(HIDDEN, strict=False), record(), [HIDDEN], BEHIND_OTHER),
    Case("hidden, and our crash in it", Resume(HIDDEN, strict=False), OURS, [HIDDEN], BEHIND_OTHER),
    Case(
        "hidden behind a sibling that failed",
        Resume(HIDDEN, strict=False),
        record(),
        [HIDDEN],
        replace(BEHIND_OTHER, pending={}, runnable=True),
    ),
    Case(
        "hidden, another task of the step still runs",
        Postponed("unsettled", "still running beside the gate: audit", 5.0),
        record(),
        [HIDDEN],
        replace(BEHIND_OTHER, unsettled={"t2": "audit"}),
    ),
    Case(
        "hidden in a subgraph with a checkpointer of its own, known by name only",
        Resume(replace(HIDDEN, checkpoint_ns="tools|b"), strict=False),
        record(),
        [replace(HIDDEN, checkpoint_ns="tools|b")],
        BEHIND_OTHER,
    ),
    Case(
        "hidden, with an answered question of the same call in the history",
        Resume(HIDDEN, strict=False),
        record(),
        [replace(HIDDEN, interrupt_id="i9", checkpoint_id=checkpoint(70), open=False), HIDDEN],
        BEHIND_OTHER,
    ),
    Case(
        "hidden twice: two gates with one pause",
        Parked("two_gates", "two gates of this thread ask with the same pause: answer them by hand"),
        record(),
        [HIDDEN, replace(HIDDEN, checkpoint_ns="tools:task-gate|c", interrupt_id="i2")],
        BEHIND_OTHER,
    ),
    Case(
        "hidden, and the node did not come to it the last time",
        Postponed("hidden", "another gate of the same node has to be answered first", 1.0),
        record(reason_code="hidden"),
        [HIDDEN],
        BEHIND_OTHER,
    ),
    Case(
        "not reached the last time, shown now",
        Resume(HIDDEN),
        record(reason_code="hidden", started_at=ago(5)),
        [HIDDEN],
        replace(BEHIND_OTHER, pending={"i1": MINE}),
    ),
    Case(
        "not reached the last time, and nothing is asked any more",
        Resume(HIDDEN, strict=False),
        record(reason_code="hidden"),
        [HIDDEN],
        replace(BEHIND_OTHER, pending={}),
    ),
    Case(
        "answered in the nested graph by somebody else",
        AlreadyResumed("the interrupt had been answered, or its thread moved on without it"),
        record(),
        [replace(HIDDEN, open=False)],
        BEHIND_OTHER,
    ),
    Case(
        "hidden in a task whose node is done",
        AlreadyResumed("the interrupt had been answered, or its thread moved on without it"),
        record(),
        [HIDDEN],
        replace(BEHIND_OTHER, unfinished={}),
    ),
    Case(
        "hidden in a task of a step that is past",
        AlreadyResumed("the interrupt had been answered, or its thread moved on without it"),
        record(),
        [HIDDEN],
        replace(GONE_ON, unfinished={"task-next": "tools"}),
    ),
    Case(
        "answered by us in the nested graph, and our crash before its task hibernated",
        CarryOn(replace(HIDDEN, open=False)),
        OURS,
        [replace(HIDDEN, open=False)],
        BEHIND_OTHER,
    ),
    # not pending, and we had started
    Case("our crash in a later node", CarryOn(row()), OURS, [row()],
         replace(GONE_ON, runnable=True, resumed_by="pause_1")),
    Case("our crash before the next checkpoint", CarryOn(row()), OURS, [row()], seen(runnable=True)),
    Case("we finished, and died before noting it", Resumed(), OURS, [row()],
         replace(GONE_ON, resumed_by="pause_1")),
    Case("we came to the next gate, and died before noting it", Resumed(("pause_2",)), OURS, [row()],
         replace(GONE_ON, pending={"i2": OTHER}, resumed_by="pause_1")),
    Case("our part is done, a sibling gate still waits", Resumed(("pause_2",)), OURS, [row()],
         seen(pending={"i2": OTHER})),
    Case("a later run has moved the thread on", Resumed(), OURS, [row()],
         replace(GONE_ON, runnable=True, resumed_by="pause_9")),
    Case("a run that is not ours has moved the thread on", Resumed(), OURS, [row()],
         replace(GONE_ON, runnable=True)),
    Case("stopped at a breakpoint after us", Resumed(), OURS, [row()],
         replace(GONE_ON, runnable=True, resumed_by="pause_1", at_breakpoint=True)),
    # not pending, and we never started
    Case(
        "answered by somebody else",
        AlreadyResumed("the interrupt had been answered, or its thread moved on without it"),
        record(),
        [row()],
        GONE_ON,
    ),
    Case(
        "answered by somebody else, whose run is cut off",
        AlreadyResumed("the interrupt had been answered, or its thread moved on without it"),
        record(),
        [row()],
        replace(GONE_ON, runnable=True),
    ),
    Case(
        "answered by somebody else, a sibling gate still waits",
        AlreadyResumed("the interrupt had been answered, or its thread moved on without it"),
        record(),
        [row()],
        seen(pending={"i2": OTHER}, tasks={"task-gate": "gate", "t2": "second"}),
    ),
    Case(
        "the node is gone from the graph",
        Parked(
            "no_node",
            "the graph no longer has the node that hibernates here: deploy a version that "
            "has it, or resume the thread by hand",
        ),
        record(),
        [row()],
        seen(tasks={"t2": "other"}),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_act_follows_from_what_is_seen(case: Case) -> None:
    """Each row of the resume table has its one act."""
    assert decide(case.record, case.rows, case.seen, NOW, POLICY) == case.act


@pytest.mark.parametrize("case", [case for case in CASES if isinstance(case.act, Resume)], ids=str)
def test_a_missing_thread_is_never_invoked(case: Case) -> None:
    """Whatever else was true, a thread that does not exist is only waited for."""
    act = decide(case.record, case.rows, Inspection(exists=False), NOW, POLICY)
    assert isinstance(act, Postponed)


EARLY = Postponed("early", "no thread has hibernated at this pause yet", 1.0)
NEVER_ASKED = Parked(
    "early",
    "no thread ever asked this: the agent's process died before it hibernated, "
    "its checkpointer is another database, or the pause belongs to something else",
)


@pytest.mark.parametrize(
    "changes, outcome",
    [
        ({}, EARLY),
        ({"received_at": ago(3599)}, replace(EARLY, retry_in=300.0)),
        ({"received_at": ago(3601)}, NEVER_ASKED),
        ({"received_at": ago(-5)}, replace(EARLY, retry_in=0.2)),
        ({"decision": "expired"}, EARLY),
        ({"collected_at": ago(1)}, AlreadyResumed("a waiting client has taken the answer")),
        ({"decision": "rejected", "thread_id": "thread"}, EARLY),
        (
            {"decision": "timed_out", "thread_id": "thread"},
            AlreadyResumed("nobody waits for it any more"),
        ),
    ],
    ids=[
        "young",
        "almost too old",
        "too old",
        "from the future",
        "denial",
        "taken",
        "known",
        "known denial",
    ],
)
def test_a_proof_without_a_thread_waits_for_it(changes: dict[str, Any], outcome: Any) -> None:
    """Early is normal up to the limit; a denial for a thread that has gone on is done."""
    assert early(record(**changes), NOW, POLICY) == outcome


@pytest.mark.parametrize(
    "waited, retry_in",
    [(0, 0.2), (2, 0.2), (5, 0.5), (100, 10.0), (399, 30.0), (400, 30.0), (401, None)],
)
def test_patience_grows_and_ends(waited: float, retry_in: float | None) -> None:
    """A tenth of the time waited so far, within bounds; parked past the limit."""
    outcome = patience_for("c", "why", otherwise="enough", waited=waited, limit=400, longest=30)
    assert outcome == (
        Parked("c", "enough") if retry_in is None else Postponed("c", "why", retry_in)
    )


@pytest.mark.parametrize(
    "checkpoint_ids, expected",
    [
        ([checkpoint(5)], ago(5)),
        ([checkpoint(500)], ago(10)),
        ([checkpoint(500), checkpoint(5)], ago(5)),
        (["not-a-uuid"], ago(10)),
        ([], ago(10)),
    ],
)
def test_waiting_counts_from_when_both_were_there(
    checkpoint_ids: list[str], expected: datetime
) -> None:
    """From the question or its answer, whichever came last."""
    assert asked_at(record(), [row(checkpoint_id=name) for name in checkpoint_ids]) == expected


def test_an_age_is_never_negative() -> None:
    """A moment in the future of our clock is now."""
    assert (age(ago(-9), NOW), age(ago(9), NOW)) == (0.0, 9.0)
