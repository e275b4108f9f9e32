"""Jobs that look taken and that nobody runs: their worker died, or lost the word of their end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import procrastinate
from procrastinate.jobs import Job, Status
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
    _running: dict[int, asyncio.Task[Any]] = field(default_factory=dict)
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
        if task := asyncio.current_task():
            self._running[job_id] = task
        try:
            return await call_next()
        finally:
            self._running.pop(job_id, None)

    def cancel_running(self) -> None:
        """Stop what still runs; its jobs go back to the queue."""
        for job_id, task in self._running.items():
            log.warning("handed_back_unfinished", job=job_id)
            task.cancel()

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
        # Our own heartbeat, too, is old after an outage: what runs here is no orphan.
        orphans = [job for job in silent if job.id not in self._running]
        for job in [*orphans, *await self._forgotten()]:
            try:
                await self._release(job)
            except procrastinate.exceptions.ConnectorException as error:
                log.debug("orphan_gone", error=repr(error))  # another worker was quicker
            else:
                log.warning("orphan_handed_back", task=job.task_name, job=job.task_kwargs)

    async def _release(self, job: Job) -> None:
        manager, job_id = self.queue.job_manager, job.id or 0
        if job.queueing_lock is None:
            await manager.retry_job_by_id_async(job_id, retry_at=datetime.now(UTC))
        else:  # periodic: its next run may wait already, and two cannot
            await manager.finish_job_by_id_async(job_id, Status.FAILED, delete_job=True)

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
