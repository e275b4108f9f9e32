"""What became of the promise, counted in the ledger, the pauses, the queue and the threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from .holds import Database

__all__ = ["Cut", "Thread", "Verdict", "executions", "judge_ledger", "look"]

EVERY_PROCESS = 0


@dataclass(frozen=True)
class Cut:
    """A moment at which whatever the process ran was cut off by a fault of ours."""

    at: datetime
    pid: int


@dataclass
class Thread:
    """One thread of an agent, and what was decided about its pauses (human decisions only)."""

    thread_id: str
    kind: str
    decisions: dict[str, str] = field(default_factory=dict)

    def actions(self) -> set[tuple[str, str]]:
        """The (node, pause) that must be executed, each exactly once."""
        approved = [name for name, said in self.decisions.items() if said == "approved"]
        if self.kind == "twice":
            first, *_ = self.decisions
            nodes = [("pay" if name == first else "pay_two", name) for name in self.decisions]
            upto = nodes if first in approved else []
            return {(node, name) for node, name in upto if name in approved}
        expected = {("pay", name) for name in approved}
        if self.kind == "pay":
            expected |= {("notify", name) for name in approved}
        if self.kind == "beside":
            expected.add(("sibling", ""))
        return expected


@dataclass
class Verdict:
    """Empty lists everywhere but in `again` mean that the promise was kept.

    `again` are executions repeated because we cut the process off before the node's outcome was
    stored.
    """

    threads: int = 0
    executed: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    stalled: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    @property
    def breaks(self) -> list[str]:
        """Every way in which the promise was broken."""
        kinds = ("lost", "doubled", "opened", "stalled", "unfinished", "jobs")
        return [f"{kind}: {what}" for kind in kinds for what in getattr(self, kind)]

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        return not self.breaks


def judge_ledger(
    threads: Iterable[Thread], rows: Sequence[Mapping[str, Any]], cuts: Sequence[Cut]
) -> Verdict:
    """Compare what was executed with what was decided."""
    verdict = Verdict(executed=len(rows))
    executed: dict[str, dict[tuple[str, str], list[Mapping[str, Any]]]]
    executed = defaultdict(lambda: defaultdict(list))
    for row in rows:
        executed[row["thread_id"]][row["node"], row["pause_id"]].append(row)
    for thread in threads:
        verdict.threads += 1
        done, wanted = executed[thread.thread_id], thread.actions()
        verdict.lost += [_name(thread, key) for key in sorted(wanted - set(done))]
        verdict.opened += [_name(thread, key) for key in sorted(set(done) - wanted)]
        for key in sorted(wanted & set(done)):
            _count(verdict, _name(thread, key), done[key], cuts)
    return verdict


def _count(
    verdict: Verdict, name: str, rows: Sequence[Mapping[str, Any]], cuts: Sequence[Cut]
) -> None:
    for before, _ in pairwise(rows):
        kind = verdict.again if _was_cut(before, cuts) else verdict.doubled
        kind.append(f"{name}: {[_shown(row) for row in rows]}")


def _was_cut(row: Mapping[str, Any], cuts: Sequence[Cut]) -> bool:
    stored = row["stored_at"]
    return any(
        cut.pid in (row["pid"], EVERY_PROCESS)
        and row["started_at"] <= cut.at
        and (stored is None or cut.at <= stored)
        for cut in cuts
    )


def _shown(row: Mapping[str, Any]) -> str:
    ended = row["ended_at"]
    return f"{row['process']} {row['started_at']:%M:%S.%f}-{f'{ended:%M:%S.%f}' if ended else '?'}"


def _name(thread: Thread, key: tuple[str, str]) -> str:
    return f"{thread.kind} {thread.thread_id} {key[0]} {key[1]}"


async def executions(database: Database) -> list[dict[str, Any]]:
    """The ledger, in order, with the time at which each node's outcome was stored first."""
    return await database.rows(
        "select ledger.*, commits.at as stored_at from faults.ledger"
        " left join faults.commits using (thread_id, task_id) order by started_at"
    )


async def look(database: Database, verdict: Verdict) -> None:
    """Add what the pauses and the queue say."""
    for row in await database.rows(
        "select pause_id, thread_id, state, reason, error from resumer.pauses"
        " where state not in ('resumed', 'waiting') order by received_at"
    ):
        because = row["reason"] or (row["error"] or "").strip().rpartition("\n")[2]
        verdict.unfinished.append(
            f"{row['pause_id']} of {row['thread_id']} is {row['state']}: {because}"
        )
    for row in await database.rows(
        "select id, status::text, args, attempts, worker_id, scheduled_at - now() as due"
        " from resumer.procrastinate_jobs where task_name = 'resume' order by id"
    ):
        verdict.jobs.append(
            f"job {row['id']} {row['args']} is {row['status']} at worker {row['worker_id']}, "
            f"attempts {row['attempts']}, due in {row['due']}"
        )
