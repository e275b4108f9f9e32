"""Procrastinate's side: the tasks, their retry policy, and a worker that keeps going."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import procrastinate
from procrastinate import BaseRetryStrategy, RetryDecision
from procrastinate.jobs import Job

from .db import Pool
from .model import Failed, Postponed
from .orphans import Orphans
from .reconcile import Reconciler
from .resume import Resumption
from .steady import SteadyJobs
from .telemetry import get_logger

__all__ = ["QUEUE", "Timing", "build_queue", "working"]

QUEUE = "resume"
POLL_SECONDS = 1.0
AFTER_TROUBLE_SECONDS = 2

log = get_logger()


class Again(Exception):
    """Run this job again in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again in {seconds:.1f} s")
        self.seconds = seconds


class KeepTrying(BaseRetryStrategy):
    """No job is ever given up by the queue: what is final is decided by the rules, and stored."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        """When to run `job` again."""
        if isinstance(exception, Again):
            return RetryDecision(retry_in={"milliseconds": int(exception.seconds * 1000)})
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_in={"seconds": 0})  # handed back on stopping
        log.warning("resume_interrupted", job=job.task_kwargs, error=repr(exception)[:300])
        return RetryDecision(retry_in={"seconds": AFTER_TROUBLE_SECONDS})


@dataclass(frozen=True)
class Timing:
    """Seconds: see `Settings` for each."""

    stall: float
    drain: float
    reconcile: float


def build_queue(
    resumption: Resumption, reconciler: Reconciler, timing: Timing
) -> procrastinate.App:
    """The queue and its tasks, not yet open."""
    queue = procrastinate.App(connector=procrastinate.PsycopgConnector())
    queue.job_manager = SteadyJobs(queue.connector)

    @queue.task(name="resume", queue=QUEUE, retry=KeepTrying())
    async def resume(pause_id: str) -> None:
        outcome = await resumption.run(pause_id)
        if isinstance(outcome, (Postponed, Failed)):
            raise Again(outcome.retry_in)

    if timing.reconcile > 0:

        @queue.periodic(cron=_every(timing.reconcile))
        @queue.task(name="reconcile", queue=QUEUE, queueing_lock="reconcile")
        async def reconcile(timestamp: int) -> None:  # noqa: ARG001  (given by Procrastinate)
            try:
                await reconciler.sweep()
            except Exception as error:  # noqa: BLE001  (the next sweep is another chance)
                log.warning("sweep_cut_off", error=repr(error)[:300])

    return queue


@asynccontextmanager
async def working(
    queue: procrastinate.App, pool: Pool, *, concurrency: int, timing: Timing
) -> AsyncIterator[None]:
    """Run a worker beside the body; on leaving, finish or hand back what runs."""
    async with queue.open_async(pool):
        orphans = Orphans(queue, timing.stall)
        watch = asyncio.create_task(orphans.watch(), name="orphans")
        worker = asyncio.create_task(_keep_working(orphans, concurrency, timing), name="worker")
        try:
            yield
        finally:
            worker.cancel()
            await asyncio.wait([worker], timeout=timing.drain)
            orphans.cancel_running()
            watch.cancel()
            await asyncio.gather(worker, watch, return_exceptions=True)


async def _keep_working(orphans: Orphans, concurrency: int, timing: Timing) -> None:
    """A worker that is started again should it ever end."""
    while True:
        try:
            await orphans.queue.run_worker_async(
                queues=[QUEUE],
                concurrency=concurrency,
                install_signal_handlers=False,
                listen_notify=True,
                delete_jobs="always",
                fetch_job_polling_interval=POLL_SECONDS,
                update_heartbeat_interval=timing.stall / 6,
                stalled_worker_timeout=timing.stall,
                # No `shutdown_graceful_timeout`: it would cut off what runs when a worker ends by
                # itself, too, and not only when we stop.
                worker_middleware=[orphans.track],
            )
        except Exception as error:  # noqa: BLE001  (whatever the queue raises, work goes on)
            log.error("worker_stopped", error=repr(error)[:300], again_in=AFTER_TROUBLE_SECONDS)
        await asyncio.sleep(AFTER_TROUBLE_SECONDS)


def _every(seconds: float) -> str:
    """A cron line, seconds last, for about every so many seconds."""
    if seconds < 60:
        return f"* * * * * */{max(1, round(seconds))}"
    return f"*/{min(59, round(seconds / 60))} * * * *"
