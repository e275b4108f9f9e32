"""Procrastinate's side: the tasks, their retry policy, and a worker that keeps going."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import procrastinate
from procrastinate import BaseRetryStrategy, RetryDecision
from procrastinate.jobs import Job

from .db import Pool
from .model import Failed, Postponed
from .orphans import Orphans
from .pruning import Pruning
from .reconcile import Reconciler
from .resume import Resumption
from .steady import SteadyJobs
from .telemetry import get_logger
from .webhook import Webhook

__all__ = ["QUEUE", "Timing", "build_queue", "working"]

QUEUE = "resume"
HOOK_QUEUE = "hook"
HOOKS_AT_ONCE = 2
POLL_SECONDS = 1.0
PRUNED_AT = "23 * * * *"  # once an hour, away from where everybody's jobs are
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
    resumption: Resumption,
    reconciler: Reconciler,
    timing: Timing,
    webhook: Webhook | None = None,
    pruning: Pruning | None = None,
) -> procrastinate.App:
    """The queue and its tasks, not yet open."""
    queue = procrastinate.App(connector=procrastinate.PsycopgConnector())

    @queue.task(name="resume", queue=QUEUE, retry=KeepTrying())
    async def resume(pause_id: str) -> None:
        outcome = await resumption.run(pause_id)
        if isinstance(outcome, (Postponed, Failed)):
            raise Again(outcome.retry_in)

    if webhook is not None:
        _add_hook(queue, webhook)
    if pruning is not None:
        _add_pruning(queue, pruning)

    if timing.reconcile > 0:

        @queue.periodic(cron=_every(timing.reconcile))
        @queue.task(name="reconcile", queue=QUEUE, queueing_lock="reconcile")
        async def reconcile(timestamp: int) -> None:  # noqa: ARG001  (given by Procrastinate)
            try:
                await reconciler.sweep()
            except Exception as error:  # noqa: BLE001  (the next sweep is another chance)
                log.warning("sweep_cut_off", error=repr(error)[:300])

    return queue


def _add_hook(queue: procrastinate.App, webhook: Webhook) -> None:
    @queue.task(name="hook", queue=HOOK_QUEUE, retry=KeepTrying(), pass_context=True)
    async def hook(
        context: procrastinate.JobContext,
        message_id: str,
        event: str,
        at: str,
        facts: Mapping[str, Any],
    ) -> None:
        again = await webhook.send(message_id, event, at, facts, attempts=context.job.attempts)
        if again is not None:
            raise Again(again)


def _add_pruning(queue: procrastinate.App, pruning: Pruning) -> None:
    @queue.periodic(cron=PRUNED_AT)
    @queue.task(name="prune", queue=QUEUE, queueing_lock="prune", priority=-1)
    async def prune(timestamp: int) -> None:  # noqa: ARG001  (given by Procrastinate)
        try:
            await pruning.run()
        except Exception as error:  # noqa: BLE001  (the next run is another chance)
            log.warning("pruning_cut_off", error=repr(error)[:300])


@asynccontextmanager
async def working(
    queue: procrastinate.App, pool: Pool, *, concurrency: int, timing: Timing
) -> AsyncIterator[Callable[[], bool]]:
    """Run a worker beside the body; on leaving, finish or hand back what runs.

    Yields what says whether it gives signs of life.
    """
    jobs = SteadyJobs(queue.connector)
    queue.job_manager = jobs
    async with queue.open_async(pool):
        orphans = Orphans(queue, timing.stall)
        watch = asyncio.create_task(orphans.watch(), name="orphans")
        # What is sent has a worker of its own: a receiver that hangs must hold up no resume.
        sizes = {QUEUE: concurrency}
        if "hook" in queue.tasks:
            sizes[HOOK_QUEUE] = HOOKS_AT_ONCE
        workers = [
            asyncio.create_task(_keep_working(orphans, name, size, timing), name=f"{name} worker")
            for name, size in sizes.items()
        ]
        try:
            yield partial(jobs.is_beating, timing.stall)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers, timeout=timing.drain)
            orphans.cancel_running()
            watch.cancel()
            await asyncio.gather(*workers, watch, return_exceptions=True)


async def _keep_working(orphans: Orphans, name: str, concurrency: int, timing: Timing) -> None:
    """A worker that is started again should it ever end."""
    while True:
        try:
            await orphans.queue.run_worker_async(
                queues=[name],
                concurrency=concurrency,
                install_signal_handlers=False,
                listen_notify=name == QUEUE,
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
