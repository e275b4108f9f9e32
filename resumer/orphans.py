"""Jobs that look taken and that nobody runs: their worker died, or lost the word of their end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import procrastinate
from procrastinate.jobs import Job
from procrastinate.worker import Worker

from .telemetry import get_logger

__all__ = ["Orphans"]

log = get_logger()


@dataclass
class Orphans:
    """Hands such jobs back to the queue, beside the worker rather than as a job of its own.

    As a job it could become an orphan itself, with nobody left to hand it back. `stall_seconds`
    is how long a worker may be silent, or a job of ours without a run, before it is taken away.
    """

    queue: procrastinate.App
    stall_seconds: float
    _running: set[int] = field(default_factory=set)
    _workers: set[int] = field(default_factory=set)
    _missed: dict[int, float] = field(default_factory=dict)

    async def track(
        self,
        call_next: Callable[[], Awaitable[Any]],
        context: procrastinate.JobContext,
        worker: Worker,
    ) -> Any:
        """Worker middleware: know which jobs this process really runs."""
        job_id = context.job.id or 0
        if worker.worker_id is not None:
            self._workers.add(worker.worker_id)
        self._running.add(job_id)
        try:
            return await call_next()
        finally:
            self._running.discard(job_id)

    async def watch(self) -> None:
        """Look for them, until cancelled, several times in the time that makes an orphan."""
        while True:
            await asyncio.sleep(min(5.0, self.stall_seconds / 3))
            try:
                await self.hand_back()
            except Exception as error:  # noqa: BLE001  (the database may be away)
                log.warning("orphans_not_looked_for", error=repr(error)[:300])

    async def hand_back(self) -> None:
        """Hand back the jobs of silent workers, and those we should run and do not."""
        manager = self.queue.job_manager
        silent = await manager.get_stalled_jobs(seconds_since_heartbeat=self.stall_seconds)
        for job in [*silent, *await self._forgotten()]:
            log.warning("orphan_handed_back", task=job.task_name, job=job.task_kwargs)
            try:
                await manager.retry_job_by_id_async(job.id or 0, retry_at=datetime.now(UTC))
            except procrastinate.exceptions.ConnectorException as error:
                log.debug("orphan_gone", error=repr(error))  # another worker was quicker

    async def _forgotten(self) -> list[Job]:
        """Jobs given to us that have had no run for as long as makes a worker silent.

        A connection that breaks while a job is fetched or its end is stored leaves such a job.
        """
        ours: list[Job] = []
        for worker_id in self._workers:
            ours += await self.queue.job_manager.list_jobs_async(
                status="doing", worker_id=worker_id
            )
        idle = {job.id or 0: job for job in ours if job.id not in self._running}
        now = time.monotonic()
        self._missed = {job_id: self._missed.get(job_id, now) for job_id in idle}
        return [
            idle[job_id]
            for job_id, since in self._missed.items()
            if now - since >= self.stall_seconds
        ]
