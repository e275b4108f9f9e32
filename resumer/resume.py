"""One answered pause to one outcome: locate, lock, inspect, act, confirm."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from looppause_sdk.errors import LoopPauseUnavailable, ProofError
from looppause_sdk.proof import DENIAL_STATUSES, Proof

from .db import is_transient
from .errors import GraphAmbiguous, GraphNotLoaded, RemoteAway, RemoteRefused
from .hibernation import Fault, Hibernating, Run, brief
from .hooks import HookEvent
from .locks import ThreadLocks
from .model import (
    Failed,
    Outcome,
    Parked,
    PauseRecord,
    Place,
    Postponed,
    State,
    utc_now,
)
from .node_threads import until_nodes_end
from .pauses import HELD, Pauses
from .rules import Policy, age, asked_at, early, out_of_reach, patience_for
from .witness import Witness

__all__ = ["Resumption", "brief"]


@dataclass(frozen=True)
class Resumption:
    """What it takes to resume: the records, what hibernates, the locks, the policy.

    A pause is looked for in one kind after another.
    """

    pauses: Pauses
    kinds: Sequence[Hibernating]
    locks: ThreadLocks
    policy: Policy
    verify: Callable[[Any], Proof]
    clock: Callable[[], datetime] = utc_now
    witness: Witness = field(default_factory=Witness)

    async def run(self, pause_id: str) -> Outcome | None:
        """Bring the pause to an outcome and store it; None if there is nothing left to do.

        Raises only what the database or the network being away raises: nothing is stored then,
        and the work is to be tried again.
        """
        try:
            return await self._sought(pause_id)
        except (RemoteAway, RemoteRefused) as error:
            away = error
        return await self._conclude(
            pause_id, lambda record: out_of_reach(record, away, self.clock(), self.policy)
        )

    async def _sought(self, pause_id: str) -> Outcome | None:
        for kind in self.kinds:
            places = await kind.locate(pause_id)
            if isinstance(places, Parked):
                return await self._conclude(pause_id, places)
            if places:
                return await self._located(kind, pause_id, places)
        return await self._conclude(
            pause_id, lambda record: early(record, self.clock(), self.policy)
        )

    async def _located(
        self, kind: Hibernating, pause_id: str, places: Sequence[Place]
    ) -> Outcome | None:
        place = places[0]
        if len({other.thread_id for other in places}) > 1:
            return await self._conclude(pause_id, _SHARED_PAUSE)
        lock, patience = kind.lock_of(place), self.policy.lock_seconds
        async with self.locks.hold(lock, patience=patience) as held:
            if not held:
                return await self._conclude(pause_id, _BUSY, place)
            # Not before: whoever held the lock may have done the work.
            record = await self._unfinished(pause_id)
            if record is None:
                return None
            outcome = await self._decide_and_act(kind, record, places)
            return await self._store(record, outcome, place)

    async def _conclude(
        self,
        pause_id: str,
        outcome: Outcome | Callable[[PauseRecord], Outcome],
        place: Place | None = None,
    ) -> Outcome | None:
        """Store what is known without a look at the thread; None if there is nothing left to do."""
        record = await self._unfinished(pause_id)
        if record is None:
            return None
        known = outcome(record) if callable(outcome) else outcome
        return await self._store(record, known, place)

    async def _unfinished(self, pause_id: str) -> PauseRecord | None:
        record = await self.pauses.load(pause_id)
        return None if record is None or record.state in _NOTHING_LEFT else record

    async def _decide_and_act(
        self, kind: Hibernating, record: PauseRecord, places: Sequence[Place]
    ) -> Outcome:
        try:
            loaded = await kind.load(places[0])
        except GraphNotLoaded as error:
            return self._not_loaded(kind, record, places, str(error))
        except GraphAmbiguous as error:
            return Parked("ambiguous", f"{error}, then retry")
        act = await kind.decide(record, places, loaded, self.clock(), self.policy)
        return act if isinstance(act, Outcome) else await self._act(kind, record, act)

    def _not_loaded(
        self, kind: Hibernating, record: PauseRecord, places: Sequence[Place], reason: str
    ) -> Postponed | Parked:
        return patience_for(
            "no_graph",
            reason,
            otherwise=f"{reason}: add it to {kind.setting} or mend it, then retry this pause",
            waited=age(asked_at(record, places), self.clock()),
            limit=self.policy.deploy_seconds,
            longest=30.0,
        )

    async def _act(self, kind: Hibernating, record: PauseRecord, run: Run) -> Outcome:
        if run.verb == "resuming" and (doubt := self._doubt(record)):
            return doubt
        place = run.place
        stall_seconds = self.policy.stall_seconds
        begun = await self.pauses.begin(record.pause_id, place, stall_seconds=stall_seconds)
        if begun != "begun":
            return _held(record, self.clock()) if begun == "held" else _BUSY
        with self.witness.attempt(record, place, run.verb, self.clock()) as ended:
            return ended(await self._go_on(kind, record, run))

    async def _go_on(self, kind: Hibernating, record: PauseRecord, run: Run) -> Outcome:
        try:
            async with until_nodes_end():
                await run.go_on(self._answer(record))
        except Exception as error:  # noqa: BLE001  (whatever a user's graph raises)
            return self._raised(kind, record, run, error)
        seen = await run.confirm(self.clock())
        return self._failed(kind, record, seen) if isinstance(seen, Fault) else seen

    def _doubt(self, record: PauseRecord) -> Postponed | Parked | None:
        """Why this answer opens nothing now; None if a key of now has signed it for this pause.

        It was genuine when it was received. Its key may have been taken out since, or has not
        reached this worker yet: that is waited for.
        """
        if _is_own_denial(record.body):
            return None
        try:
            if self.verify(record.body).pause_id == record.pause_id:
                return None
        except ProofError:
            pass
        return patience_for(
            "unverified",
            "none of this worker's keys has signed the answer",
            otherwise="none of the worker's keys has signed the answer: its key was taken out, or "
            "the record was changed. Put the key back and retry, or discard the pause",
            waited=age(record.received_at, self.clock()),
            limit=self.policy.deploy_seconds,
            longest=30.0,
        )

    def _answer(self, record: PauseRecord) -> Any:
        """The proof as the gate will verify it: a JSON object, or its text.

        Parsing loses how numbers were written; where a signer's notation cannot be found again
        from the parsed form, the text itself is handed over.
        """
        answer = json.loads(record.body)
        if "signature" in answer:
            try:
                self.verify(answer)
            except ProofError:
                return record.body.decode()
        return answer

    def _raised(
        self, kind: Hibernating, record: PauseRecord, run: Run, error: Exception
    ) -> Outcome:
        if _is_outage(error) and run.repeats_nothing():
            return patience_for(
                "transient",
                f"the database or the network failed: {brief(error)}",
                otherwise=f"the database or the network kept failing: {brief(error)}",
                waited=age(record.started_at or self.clock(), self.clock()),
                limit=self.policy.outage_seconds,
                longest=60.0,
            )
        if run.was_refused(error):
            return Parked(
                "refused",
                f"the gate refused the proof ({_without_notes(error)}): give the {kind.noun}'s "
                "LoopPause client the same keys as the receiver, or deploy the gate that asked, "
                "then retry",
                brief(error),
            )
        return self._failed(kind, record, Fault.of(error))

    def _failed(self, kind: Hibernating, record: PauseRecord, fault: Fault) -> Outcome:
        if record.attempts >= len(self.policy.retry_delays):
            return Parked(
                "raised",
                f"the {kind.noun} raised {record.attempts + 1} times, the last time "
                f"{fault.reason}: mend it, then retry",
                fault.trace,
            )
        delay = self.policy.retry_delays[record.attempts]
        return Failed(fault.reason, fault.trace, retry_in=delay * random.uniform(0.8, 1.2))

    async def _store(self, record: PauseRecord, outcome: Outcome, place: Place | None) -> Outcome:
        event = HookEvent.of(record, outcome, place, self.clock())
        hook = self.witness.hook(event)
        stored = await self.pauses.finish(record.pause_id, outcome, place, hook=hook)
        self.witness.ended(record, outcome, place, event if stored else None, self.clock())
        return outcome


_NOTHING_LEFT = (State.RESUMED, State.PARKED, State.DISCARDED)
_OUT_OF_REACH = (httpx.TransportError, LoopPauseUnavailable)
_BUSY = Postponed("busy", "another resume of this thread is running", retry_in=0.5)
_SHARED_PAUSE = Parked(
    "shared_pause",
    "several threads hibernate at this pause: one approval must not open two gates. "
    "Resume the right one by hand",
)


def _is_own_denial(body: bytes) -> bool:
    """Whether it is what the sweep records of a pause that nobody answered: it can only close."""
    answer = json.loads(body)
    return answer.keys() == {"pause_id", "status"} and answer["status"] in DENIAL_STATUSES


def _without_notes(error: Exception) -> str:
    """What a gate says, without what pydantic puts around it."""
    return brief(error).split(":", 1)[-1].partition(" [type=")[0].strip()


def _held(record: PauseRecord, now: datetime) -> Postponed:
    """A release wakes all that wait for it: the looks between are for one that was missed."""
    retry_in = min(max(5.0, age(record.received_at, now) / 10), 60.0)
    return Postponed(HELD, "its agent is held: release it to have it resumed", retry_in)


def _is_outage(error: BaseException) -> bool:
    return is_transient(error) or isinstance(error, _OUT_OF_REACH)
