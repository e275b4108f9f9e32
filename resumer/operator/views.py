"""What an operator is shown of pauses, workers and agents. Times are UTC, durations seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from resumer.model import State

__all__ = [
    "AuditEntry",
    "Bucket",
    "Busy",
    "Conflict",
    "Detail",
    "Event",
    "Filter",
    "Held",
    "KeyUse",
    "Latency",
    "Overview",
    "Page",
    "Row",
    "Worker",
]


@dataclass(frozen=True)
class Filter:
    """Which pauses; what is None does not narrow. `text` is looked for in what a row shows."""

    states: tuple[State, ...] = ()
    agent_id: str | None = None
    thread_id: str | None = None
    reason_code: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    text: str | None = None


@dataclass(frozen=True)
class Row:
    """One pause in a list. `description` is what was asked, if it is known.

    `recipients` are who was asked, each with its `channel` and `target`, where the gate said so.
    """

    pause_id: str
    state: State
    outcome: str | None
    decision: str | None
    responder: str | None
    agent_id: str | None
    thread_id: str | None
    description: str | None
    attempts: int
    reason_code: str | None
    reason: str | None
    created_at: datetime
    asked_at: datetime | None
    received_at: datetime | None
    finished_at: datetime | None
    next_attempt_at: datetime | None
    expires_at: datetime | None
    recipients: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class Page:
    """A page of pauses, the newest first; `next_cursor` leads to older ones, None at the end."""

    rows: tuple[Row, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Event:
    """One thing that happened to a pause; `name` is one of the stable names in the docs."""

    at: datetime
    name: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Conflict:
    """Another genuine answer that says something else: kept, never applied."""

    decision: str
    responder: str | None
    received_at: datetime
    deliveries: int
    body: str = field(repr=False, default="")


@dataclass(frozen=True)
class Detail:
    """Everything known of one pause.

    `action` is what the person was shown. `proof` is the answer as its signer wrote it, None while
    the pause waits; `scheme` and `key_id` say what verified it. `siblings` are the other pauses of
    its thread.
    """

    row: Row
    action: Mapping[str, Any] | None
    proof: str | None = field(repr=False)
    authorization_type: str | None
    responded_at: str | None
    channel: str | None
    comment: str | None
    fields: Mapping[str, Any] | None
    scheme: str | None
    key_id: str | None
    deliveries: int
    last_delivery_at: datetime | None
    started_at: datetime | None
    interrupt_id: str | None
    checkpoint_id: str | None
    checkpoint_ns: str | None
    error: str | None
    next_pauses: tuple[str, ...]
    events: tuple[Event, ...]
    conflicts: tuple[Conflict, ...]
    siblings: tuple[Row, ...]


@dataclass(frozen=True)
class Bucket:
    """What happened between `start` and the next bucket's start."""

    start: datetime
    decisions: int
    resumes: int
    parked: int


@dataclass(frozen=True)
class Latency:
    """Seconds from delivery to the end of the resume, of those that ended in the period."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class Worker:
    """A process that resumes."""

    name: str
    last_heartbeat: datetime
    running: int
    is_alive: bool


@dataclass(frozen=True)
class KeyUse:
    """How many answers a key has verified in the period, copies not counted; named as in logs."""

    scheme: str
    key_id: str
    deliveries: int


@dataclass(frozen=True)
class Busy:
    """How many pauses of an agent are under way, and how many answered ones are due."""

    running: int = 0
    due: int = 0


@dataclass(frozen=True)
class Held:
    """An agent whose threads are not resumed until it is released; `running` are under way."""

    agent_id: str
    held_at: datetime
    held_by: str
    reason: str | None
    running: int


@dataclass(frozen=True)
class Overview:
    """The whole service at a glance.

    `counts` has every state; that of `resumed` is of the period only. `refused` counts deliveries
    that were not genuine, by scheme, in the period.
    """

    now: datetime
    period_hours: int
    counts: Mapping[State, int]
    oldest_unresolved: Row | None
    parked_by_reason: Mapping[str, int]
    series: tuple[Bucket, ...]
    latency: Latency
    workers: tuple[Worker, ...]
    queued: int
    swept_at: datetime | None
    full_sweep_at: datetime | None
    keys: tuple[KeyUse, ...]
    refused: Mapping[str, int]
    held: tuple[Held, ...]
    agents: tuple[str, ...]


@dataclass(frozen=True)
class AuditEntry:
    """Who did what to which pause, agent or filter.

    `action` is one of `retried`, `discarded`, `held`, `released`, `pruned`, `threads_pruned`.
    """

    at: datetime
    who: str
    action: str
    target: str
    detail: Mapping[str, Any] = field(default_factory=dict)
