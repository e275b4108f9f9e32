"""Threads that hibernate and are answered as planned, while one process fault follows another."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from resumer import Resumer

from .cluster import Cluster
from .harness import AGENT_CONNECTIONS, World
from .looppause import SECRET, forgeries
from .plan import Answer, ThreadPlan
from .replicas import Kind, Replica
from .verdict import Thread

__all__ = ["Load", "ProcessFaults", "retry_parked"]

NEXT_PAUSE_SECONDS = 150.0
COPIES = 5


@dataclass
class Load:
    """The agents and the people. `agents` is held whole while the database is away.

    An agent whose own database goes away would have to be started over by whoever runs it, which
    is not what is attacked here.
    """

    world: World
    counts: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    agents: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AGENT_CONNECTIONS))
    genuine: dict[str, Any] | None = None

    async def run(self, plans: list[ThreadPlan], *, seconds: float) -> None:
        """Start the threads evenly over so many seconds, and answer all their pauses."""
        async with asyncio.TaskGroup() as group:
            for plan in plans:
                group.create_task(self._live(plan))
                await asyncio.sleep(seconds / len(plans))

    async def _live(self, plan: ThreadPlan) -> None:
        thread = self.world.threads[plan.thread_id] = Thread(plan.thread_id, plan.kind)
        try:
            await self._ask_and_answer(plan, thread)
        except TimeoutError as error:
            self.surprises.append(f"{plan.thread_id} stands still: {error!r} ({plan.answers})")

    async def _ask_and_answer(self, plan: ThreadPlan, thread: Thread) -> None:
        async with self.agents:
            await self._hibernate(plan, thread)
        self.counts["gates asked in one step"] += plan.kind in ("three", "fan") and plan.at_once
        if plan.kind == "twice":
            await self._one_after_another(plan, thread)
            return
        pauses = self.world.pauses(thread)
        first = 1 if plan.early else 0
        answering = [
            self._answer(thread, pause_id, answer)
            for pause_id, answer in list(zip(pauses, plan.answers, strict=True))[first:]
        ]
        if plan.at_once:
            await asyncio.gather(*answering)
            return
        for one in answering:
            await one

    async def _hibernate(self, plan: ThreadPlan, thread: Thread) -> None:
        running = self.world.run(thread, durability=plan.durability, **plan.state)
        if not plan.early:
            await running
            return
        async with self.world.database.hold("interrupt", plan.thread_id) as hold:
            run = asyncio.create_task(running)
            pause_id = await self.world.next_pause(thread, after=0, within=NEXT_PAUSE_SECONDS)
            await hold.reached(within=NEXT_PAUSE_SECONDS)
            await self._answer(thread, pause_id, plan.answers[0])
            await asyncio.sleep(plan.early)
        self.counts["proof before hibernation"] += 1
        await run

    async def _one_after_another(self, plan: ThreadPlan, thread: Thread) -> None:
        first, second = plan.answers
        if not plan.early:
            await self._answer(thread, self.world.pauses(thread)[0], first)
        if first.how != "expired" and first.decision == "approved" and first.human:
            if plan.parks:
                return  # its second gate comes once it was retried by hand
            pause_id = await self.world.next_pause(thread, after=1, within=NEXT_PAUSE_SECONDS)
            await self._answer(thread, pause_id, second)

    async def _answer(self, thread: Thread, pause_id: str, answer: Answer) -> None:
        await asyncio.sleep(answer.delay)
        if answer.how == "expired":
            self.world.looppause.fake.expire(pause_id)
            thread.decisions[pause_id] = "expired"
            self.counts["pause expired"] += 1
            return
        kind = "human" if answer.human else "system_fallback"
        self.counts["fallback without a person"] += not answer.human
        proof = self.world.decide(thread, pause_id, answer.decision, authorization_type=kind)
        if answer.how == "lost":
            self.counts["webhook never delivered"] += 1
        elif answer.how == "five":
            await self._five_times(proof)
        else:
            await self._among_others(pause_id, proof, answer)

    async def _five_times(self, proof: Mapping[str, Any]) -> None:
        self.counts["proof delivered 5 times at once"] += 1
        copies = (self.world.deliver(proof) for _ in range(COPIES))
        for answer in await asyncio.gather(*copies):
            self._note("genuine", answer.status, answer.result)
        await self._insist(proof)

    async def _among_others(self, pause_id: str, proof: dict[str, Any], answer: Answer) -> None:
        if answer.how == "attacked" and self.genuine is not None:
            await self._attack(pause_id, proof, self.genuine)
        await self._insist(proof)
        if answer.decision == "approved" and answer.human:
            self.genuine = proof
        if answer.how == "conflict":
            other = {**proof, "decision": "approved", "responder": "bob@example.com"}
            await self._expect("conflict", 200, self.world.looppause.fake.sign(other))

    async def _attack(
        self, pause_id: str, rejection: Mapping[str, Any], other: Mapping[str, Any]
    ) -> None:
        for status, message in forgeries(pause_id, other, rejection):
            await self._expect("forged, foreign or tampered", status, message)
        await self._expect("replayed", 200, other)

    async def _expect(self, what: str, status: int, message: Any) -> None:
        """A web replica that is away, or a database, is no verdict on the message."""
        answer = await self.world.deliver(message)
        self.counts[what] += 1
        self._note(what, answer.status, answer.result)
        if answer.status not in (status, 503, None):
            self.surprises.append(f"{what} was answered {answer.status}, not {status}")

    async def _insist(self, proof: Mapping[str, Any]) -> None:
        answer = await self.world.insist(proof)
        self._note("genuine", answer.status, answer.result)

    def _note(self, what: str, status: int | None, result: str) -> None:
        self.answers[f"{what}: {status or 'no answer'} {result}".strip()] += 1


@dataclass
class ProcessFaults:
    """Does one fault after another to the replicas and the database.

    A killed replica comes back in the background; one of each kind is always left alone.
    """

    world: World
    server: Cluster
    agents: asyncio.Semaphore
    counts: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    starting: set[asyncio.Task[None]] = field(default_factory=set)

    async def strike(self, fault: str, chance: random.Random) -> None:
        """Do it, if there is something it can be done to."""
        done = await getattr(self, "_" + fault.replace(" ", "_"))(chance)
        self.counts[fault] += done

    async def settle(self) -> None:
        """Wait until every replica is back."""
        await asyncio.gather(*self.starting)

    async def _kill_worker(self, chance: random.Random) -> int:
        return await self._kill("worker", chance)

    async def _kill_web(self, chance: random.Random) -> int:
        return await self._kill("web", chance)

    async def _kill(self, kind: Kind, chance: random.Random) -> int:
        replica = self._choose(kind, chance)
        if replica is None:
            return 0
        self.away.add(replica.name)
        await self.world.kill(replica.name)
        task = asyncio.create_task(self._bring_back(replica, chance.uniform(0, 2)))
        self.starting.add(task)
        task.add_done_callback(self.starting.discard)
        return 1

    async def _bring_back(self, replica: Replica, after: float) -> None:
        await asyncio.sleep(after)
        await replica.start()
        self.away.discard(replica.name)

    async def _stall_worker(self, chance: random.Random) -> int:
        replica = self._choose("worker", chance)
        if replica is None:
            return 0
        await replica.stall()
        try:
            await asyncio.sleep(float(replica.env["RESUMER_STALL_SECONDS"]) + chance.uniform(1, 4))
        finally:
            replica.go_on()
        return 1

    async def _crash_database(self, chance: random.Random) -> int:
        for _ in range(AGENT_CONNECTIONS):
            await self.agents.acquire()
        try:
            await self.server.crash()
            self.world.cut()
            await asyncio.sleep(chance.uniform(0, 3))
            await self.server.start()
            self.world.cut()
        finally:
            for _ in range(AGENT_CONNECTIONS):
                self.agents.release()
        return 1

    async def _cut_connections(self, chance: random.Random) -> int:
        ours = {replica.name for replica in self.world.replicas}
        sessions = [one for one in await self.world.database.sessions() if one.process in ours]
        chosen = chance.sample(sessions, min(len(sessions), chance.randint(2, 6)))
        return sum([await self._cut(one.backend, one.process) for one in chosen])

    async def _cut_lock(self, chance: random.Random) -> int:
        rows = await self.world.database.rows(
            "select distinct activity.pid as backend, application_name as process from pg_locks"
            " join pg_stat_activity as activity using (pid) where locktype = 'advisory' and granted"
            " and classid = x'4C50'::bigint::oid and datname = current_database() order by 2"
        )
        if not rows:
            return 0
        return await self._cut(**chance.choice(rows))

    async def _cut(self, backend: int, process: str) -> int:
        done = await self.world.database.value("select pg_terminate_backend(%s)", (backend,))
        self.world.cut(self.world.replica(process).pid)
        return int(done)

    async def _rolling_restart(self, _chance: random.Random) -> int:
        await self.settle()
        for replica in self.world.replicas:
            code = await replica.terminate(within=60)
            if code != 0:
                self.surprises.append(f"{replica.name} left with {code}:\n{replica.tail()}")
            await replica.start()
        return 1

    def _choose(self, kind: Kind, chance: random.Random) -> Replica | None:
        here = [
            replica
            for replica in self.world.replicas
            if replica.kind == kind and replica.name not in self.away
        ]
        return chance.choice(here) if len(here) > 1 else None

    async def leave(self) -> None:
        """Start nothing any more; whatever was begun is in the world's hands."""
        for task in self.starting:
            task.cancel()
        await asyncio.gather(*self.starting, return_exceptions=True)


async def retry_parked(world: World) -> list[str]:
    """Take up by hand what was parked because its graph raised; return the pauses."""
    rows = await world.database.rows(
        "select pause_id from resumer.pauses where state = 'parked' and reason_code = 'raised'"
    )
    by_hand = Resumer(database_url=world.database.url, signing_secrets=[SECRET], worker=False)
    async with by_hand.running():
        return await by_hand.retry([row["pause_id"] for row in rows])
