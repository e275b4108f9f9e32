"""A queue whose worker outlives the database's absence.

Procrastinate's worker stops at the first statement that fails, and then waits for, or cancels,
what runs. A cut connection is no reason for either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import psycopg
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from procrastinate.manager import JobManager

from .telemetry import get_logger

__all__ = ["SteadyJobs"]

PAUSE_SECONDS = 1.0

log = get_logger()


class SteadyJobs(JobManager):
    """Procrastinate's own, where what the worker does over and over may fail and is done again."""

    _beat_at = float("-inf")

    def is_beating(self, seconds: float) -> bool:
        """Whether a worker of this process has stored a sign of life within so many seconds."""
        return time.monotonic() - self._beat_at < seconds

    async def register_worker(self) -> int:
        """Enter a worker, which is its first sign of life."""
        worker_id = await super().register_worker()
        self._beat_at = time.monotonic()
        return worker_id

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """The next job; none while the database is away."""
        try:
            return await super().fetch_job(queues, worker_id)
        except ConnectorException as error:
            if isinstance(error.__cause__, psycopg.errors.ForeignKeyViolation):
                raise  # taken for dead and struck off: only a new worker gets jobs again
            log.warning("queue_away", error=_reason(error))
            await asyncio.sleep(PAUSE_SECONDS)
            return None

    async def update_heartbeat(self, worker_id: int) -> None:
        """Say that the worker lives; the next beat makes up for one that is lost."""
        try:
            await super().update_heartbeat(worker_id)
        except ConnectorException as error:
            log.debug("heartbeat_lost", error=_reason(error))
        else:
            self._beat_at = time.monotonic()

    async def listen_for_jobs(self, **arguments: Any) -> None:
        """Listen for new jobs, again and again; the worker's polling covers the time between."""
        while True:
            try:
                return await super().listen_for_jobs(**arguments)
            except ConnectorException as error:
                log.debug("listening_lost", error=_reason(error))
            await asyncio.sleep(PAUSE_SECONDS)

    async def defer_periodic_job(
        self, job: Job, periodic_id: str, defer_timestamp: int
    ) -> int | None:
        """Enqueue the run of a periodic task; the next one makes up for one that is lost."""
        try:
            return await super().defer_periodic_job(job, periodic_id, defer_timestamp)
        except ConnectorException as error:
            log.debug("periodic_run_lost", error=_reason(error))
            return None


def _reason(error: ConnectorException) -> str:
    return repr(error.__cause__ or error)[:300]
