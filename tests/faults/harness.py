"""The attacked system as a whole: replicas, agents, LoopPause, and the judgement at the end."""

from __future__ import annotations

import asyncio
import copy
import itertools
import random
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from .agents import KINDS, Agents
from .agents import World as Acting
from .holds import OURS, Database
from .looppause import Brain, Delivered, brain
from .nursery import Spawn, execute
from .replicas import Kind, Replica, free_port, until
from .verdict import EVERY_PROCESS, Cut, Thread, Verdict, executions, judge_ledger, look

__all__ = ["World", "attacked"]

AGENT_CONNECTIONS = 8
QUICK = {
    "RESUMER_SETTLE_SECONDS": "20",
    "RESUMER_DRAIN_SECONDS": "5",
    "RESUMER_STALL_SECONDS": "3",
    "RESUMER_RETRY_DELAYS": "[0.2,0.4,0.8]",
}

Pool = AsyncConnectionPool[psycopg.AsyncConnection[dict[str, Any]]]


@dataclass
class World:
    """Everything a fault needs. Replicas are ended when the world is left."""

    database: Database
    looppause: Brain
    folder: Path
    settings: Mapping[str, str]
    random: random.Random
    pool: Pool
    spawn: Spawn
    replicas: list[Replica] = field(default_factory=list)
    threads: dict[str, Thread] = field(default_factory=dict)
    cuts: list[Cut] = field(default_factory=list)
    graphs: dict[str, Any] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    # -- replicas --------------------------------------------------------------------------

    async def start(self, kind: Kind, **settings: str) -> Replica:
        """One more replica, up and running."""
        name = f"{kind}-{next(self._numbers)}"
        graphs = ",".join(f"{agent}=tests.faults.agents:{agent}" for agent in KINDS)
        env = {
            "RESUMER_DATABASE_URL": self.database.url,
            "RESUMER_GRAPHS": graphs,
            **self.looppause.env,
            **self.settings,
            **settings,
        }
        port = free_port() if kind == "web" else 0
        replica = Replica(kind, name, env, self.folder / f"{name}.log", self.spawn, port)
        self.replicas.append(replica)
        await replica.start()
        return replica

    def replica(self, name: str) -> Replica:
        """The replica of this name."""
        return next(replica for replica in self.replicas if replica.name == name)

    @property
    def webs(self) -> list[str]:
        """The addresses of all web replicas, up or down."""
        return [replica.url for replica in self.replicas if replica.kind == "web"]

    async def kill(self, name: str) -> Replica:
        """kill -9 a replica: what it ran is cut off now."""
        replica = self.replica(name)
        await replica.kill()
        self.cut(replica.pid)
        return replica

    def cut(self, pid: int = EVERY_PROCESS) -> None:
        """Note that what this process ran (or all of them) was cut off now."""
        self.cuts.append(Cut(datetime.now(UTC), pid))

    # -- threads ---------------------------------------------------------------------------

    async def hibernate(
        self, kind: str = "pay", *, durability: str = "sync", **state: Any
    ) -> Thread:
        """Run a new thread in the agent's process (this one) until it hibernates."""
        thread = self.new_thread(kind)
        await self.run(thread, durability=durability, **state)
        return thread

    async def hibernate_many(self, count: int, kind: str = "pay", **state: Any) -> list[Thread]:
        """Several, a few at a time."""
        slots = asyncio.Semaphore(AGENT_CONNECTIONS)

        async def one() -> Thread:
            async with slots:
                return await self.hibernate(kind, **state)

        return list(await asyncio.gather(*(one() for _ in range(count))))

    def new_thread(self, kind: str) -> Thread:
        """A thread that has not begun."""
        thread = Thread(f"{kind}-{uuid.UUID(int=self.random.getrandbits(128)).hex[:12]}", kind)
        self.threads[thread.thread_id] = thread
        return thread

    async def run(self, thread: Thread, *, durability: str = "sync", **state: Any) -> None:
        """Run a thread from its start; `state` goes into the agent's."""
        graph = self.attach(thread.kind)
        config = {"configurable": {"thread_id": thread.thread_id}}
        await graph.ainvoke({"amount": 100, **state}, config, durability=durability)

    def attach(self, kind: str, saver: AsyncPostgresSaver | None = None) -> Any:
        """The graph over the agent's own saver."""
        attached = copy.copy(self.graphs[kind])
        attached.checkpointer = saver or AsyncPostgresSaver(self.pool)
        return attached

    def pauses(self, thread: Thread) -> list[str]:
        """Its pauses, the oldest first."""
        return self.looppause.pauses_of(thread.thread_id)

    async def next_pause(self, thread: Thread, *, after: int, within: float = 20.0) -> str:
        """The pause that comes once the thread has asked `after` times."""
        await until(lambda: len(self.pauses(thread)) > after, within=within)
        return self.pauses(thread)[after]

    # -- decisions -------------------------------------------------------------------------

    def decide(
        self, thread: Thread, pause_id: str | None = None, decision: str = "approved", **how: Any
    ) -> dict[str, Any]:
        """A person's genuine answer, signed, not yet delivered; its first pause if none is given."""
        chosen = pause_id or self.pauses(thread)[0]
        proof = self.looppause.fake.decide(chosen, decision, **how)
        human = how.get("authorization_type", "human") == "human"
        thread.decisions[chosen] = decision if human else "system_fallback"
        return proof

    async def deliver(self, proof: Any, to: Replica | None = None) -> Delivered:
        """Deliver once."""
        address = to.url if to else self.random.choice(self.webs)
        return await self.looppause.post(address, proof)

    async def insist(self, proof: Mapping[str, Any]) -> Delivered:
        """Deliver until it is taken."""
        return await self.looppause.insist(self.webs, proof)

    async def approve(self, threads: Iterable[Thread]) -> None:
        """Approve the first pause of each and deliver it until it is taken."""
        await asyncio.gather(*(self.insist(self.decide(thread)) for thread in threads))

    # -- the end ---------------------------------------------------------------------------

    async def quiet(self, *, within: float = 30.0) -> bool:
        """Wait until every decision is finished and no job is left; False if that never comes."""
        deadline = asyncio.get_running_loop().time() + within
        while asyncio.get_running_loop().time() < deadline:
            try:
                if not await self._unfinished():
                    return True
            except psycopg.OperationalError:
                await asyncio.sleep(0.2)
            await asyncio.sleep(0.1)
        return False

    async def _unfinished(self) -> int:
        decided = [name for thread in self.threads.values() for name in thread.decisions]
        left: int = await self.database.value(
            "select (select count(*) from resumer.procrastinate_jobs where task_name = 'resume')"
            " + (select count(*) from unnest(%s::text[]) as decided(pause_id)"
            " left join resumer.pauses using (pause_id)"
            " where coalesce(state not in ('resumed', 'parked'), true))",
            (decided,),
        )
        return left

    async def verdict(self, *, within: float = 30.0) -> Verdict:
        """Wait for quiet, then judge."""
        await self.quiet(within=within)
        rows = await executions(self.database)
        verdict = judge_ledger(self.threads.values(), rows, self.cuts)
        await look(self.database, verdict)
        # A connection of its own: after a crash the pool waits long before it tries again.
        async with await self.database.connect() as connection:
            saver = AsyncPostgresSaver(connection)
            for thread in self.threads.values():
                verdict.stalled += await self._left_over(thread, saver)
        verdict.lost += await self._unrecorded()
        return verdict

    async def kept(self, *, within: float = 30.0) -> Verdict:
        """Assert that the promise was kept; return what was counted."""
        verdict = await self.verdict(within=within)
        assert verdict.kept, "\n".join([*verdict.breaks, *self.log_tails()])
        return verdict

    async def _left_over(self, thread: Thread, saver: AsyncPostgresSaver) -> list[str]:
        config = {"configurable": {"thread_id": thread.thread_id}}
        snapshot = await self.attach(thread.kind, saver).aget_state(config)
        waiting = {found.value["pause_id"] for found in snapshot.interrupts}
        # Not `next`: a task whose writes are stored is no longer named there, its step still open.
        if snapshot.tasks and not waiting - set(thread.decisions):
            names = [task.name for task in snapshot.tasks]
            return [f"{thread.kind} {thread.thread_id} has work left: {names}, {snapshot.next}"]
        return []

    async def _unrecorded(self) -> list[str]:
        decided = [name for thread in self.threads.values() for name in thread.decisions]
        rows = await self.database.rows("select pause_id from resumer.pauses")
        recorded = {row["pause_id"] for row in rows}
        return [
            f"{name} was decided, and nothing is recorded"
            for name in decided
            if name not in recorded
        ]

    def log_tails(self) -> list[str]:
        """The ends of all logs, for a failed assertion."""
        return [f"--- {replica.name}\n{replica.tail()}" for replica in self.replicas]


@asynccontextmanager
async def attacked(
    url: str, folder: Path, *, seed: int = 7, spawn: Spawn = execute, **settings: str
) -> AsyncIterator[World]:
    """A world over a migrated database; `settings` are environment variables of the replicas."""
    # LangGraph's sync nodes wait for one another in these threads; the default is a handful.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(64))
    database = Database(url)
    await database.rows(Path(__file__).with_name("world.sql").read_text(encoding="utf-8"))
    async with AsyncExitStack() as stack:
        looppause = await stack.enter_async_context(brain())
        pool = await stack.enter_async_context(_agents_pool(url))
        world = World(
            database,
            looppause,
            folder,
            {**QUICK, **settings},
            random.Random(seed),
            pool,
            spawn,
        )
        agents = Agents(looppause.client(), Acting(url))
        world.graphs = {kind: agents.build(kind) for kind in KINDS}
        try:
            yield world
        finally:
            for replica in world.replicas:
                await replica.close()


@asynccontextmanager
async def _agents_pool(url: str) -> AsyncIterator[Pool]:
    pool: Pool = AsyncConnectionPool(
        url,
        min_size=1,
        max_size=AGENT_CONNECTIONS,
        kwargs={
            "autocommit": True,
            "row_factory": dict_row,
            "prepare_threshold": 0,
            "application_name": OURS,
        },
        open=False,
        check=AsyncConnectionPool.check_connection,
    )
    async with pool:
        yield pool
