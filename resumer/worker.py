"""Procrastinate's side: the task, its retry policy, and the pick-up of stalled jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import procrastinate
from procrastinate import BaseRetryStrategy, RetryDecision
from procrastinate.jobs import Job

from .db import Pool
from .model import Failed, Postponed
from .reconcile import Reconciler
from .resume import Resumption
from .telemetry import get_logger

__all__ = ["QUEUE", "Timing", "build_queue", "working"]

QUEUE = "resume"
POLL_SECONDS = 1.0
STALLED_CRON = "* * * * * */5"
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

    @queue.task(name="resume", queue=QUEUE, retry=KeepTrying())
    async def resume(pause_id: str) -> None:
        outcome = await resumption.run(pause_id)
        if isinstance(outcome, (Postponed, Failed)):
            raise Again(outcome.retry_in)

    @queue.periodic(cron=STALLED_CRON)
    @queue.task(name="pick_up_stalled", queue=QUEUE, lock="stalled", queueing_lock="stalled")
    async def pick_up_stalled(timestamp: int) -> None:  # noqa: ARG001  (given to all periodic tasks)
        stalled = await queue.job_manager.get_stalled_jobs(seconds_since_heartbeat=timing.stall)
        for job in stalled:
            log.warning("job_of_dead_worker", task=job.task_name, job=job.task_kwargs)
            await queue.job_manager.retry_job(job)

    if timing.reconcile > 0:

        @queue.periodic(cron=_every(timing.reconcile))
        @queue.task(name="reconcile", queue=QUEUE, lock="reconcile", queueing_lock="reconcile")
        async def reconcile(timestamp: int) -> None:  # noqa: ARG001  (as above)
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
        worker = asyncio.create_task(_keep_working(queue, concurrency, timing), name="worker")
        try:
            yield
        finally:
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker


async def _keep_working(queue: procrastinate.App, concurrency: int, timing: Timing) -> None:
    """A worker that is started again when the database took it down."""
    while True:
        try:
            await queue.run_worker_async(
                queues=[QUEUE],
                concurrency=concurrency,
                install_signal_handlers=False,
                listen_notify=True,
                delete_jobs="always",
                fetch_job_polling_interval=POLL_SECONDS,
                update_heartbeat_interval=timing.stall / 6,
                stalled_worker_timeout=timing.stall,
                shutdown_graceful_timeout=timing.drain,
            )
        except Exception as error:  # noqa: BLE001  (whatever the queue raises, work goes on)
            log.error("worker_stopped", error=repr(error)[:300], again_in=AFTER_TROUBLE_SECONDS)
        await asyncio.sleep(AFTER_TROUBLE_SECONDS)


def _every(seconds: float) -> str:
    """A cron line, seconds last, for about every so many seconds."""
    if seconds < 60:
        return f"* * * * * */{max(1, round(seconds))}"
    return f"*/{min(59, round(seconds / 60))} * * * *"
