"""What stands in the database, for Prometheus: every process says the same, so take `max`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .db import Pool, is_transient
from .model import State
from .sql import statement
from .telemetry import Seldom, get_logger

__all__ = ["Gauges"]

KEPT_SECONDS = 5.0
PATIENCE_SECONDS = 2.0
MOST = 100_000

_STATES = (State.WAITING, State.ANSWERED, State.RESUMING, State.FAILED, State.PARKED)
_PLAIN = {
    "oldest_unresolved": (
        "resumer_oldest_unresolved_seconds",
        "Age of the oldest answer whose thread has not been resumed, parked ones aside.",
    ),
    "oldest_parked": ("resumer_oldest_parked_seconds", "Age of the oldest parked answer."),
    "queued": ("resumer_jobs_queued", "Jobs that are due and that no worker has taken up."),
    "oldest_queued": (
        "resumer_oldest_queued_seconds",
        "Time that a job has been due for, of the 1,000 first in line the longest.",
    ),
    "workers": ("resumer_workers_alive", "Workers that have given a sign of life lately."),
    "held": ("resumer_agents_held", "Agents whose threads an operator holds back."),
    "swept_at": (
        "resumer_last_sweep_timestamp_seconds",
        "When the sweep was last through; 0 if it never was.",
    ),
}

log = get_logger()
complaints = Seldom(log)


class Gauges(Collector):
    """The figures of one database, read at most once in `KEPT_SECONDS`.

    Each counts up to `MOST`; `resumer_database_up` is 0, and all others missing, while it is away.
    """

    def __init__(self, pool: Pool, stall_seconds: float) -> None:
        self._pool = pool
        self._values = {
            "states": [str(state) for state in _STATES],
            "most": MOST,
            "stall_seconds": stall_seconds,
        }
        self._figures: Mapping[str, Any] | None = None
        self._read_at = -KEPT_SECONDS
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Read them anew, unless they were a moment ago."""
        async with self._reading:
            if time.monotonic() - self._read_at < KEPT_SECONDS:
                return
            try:
                self._figures = await self._read()
            except Exception as error:
                if not is_transient(error):
                    raise
                complaints.warning("gauges_not_read", error=repr(error)[:300])
                self._figures = None
            self._read_at = time.monotonic()

    def collect(self) -> Iterator[Metric]:
        """The figures as they were read last."""
        figures = self._figures
        yield _gauge(
            "resumer_database_up", "Whether the database answered the last time.", bool(figures)
        )
        if not figures:
            return
        yield _labelled(
            "resumer_pauses", "Pauses by state; ended ones aside.", "state", figures["pauses"]
        )
        yield _labelled(
            "resumer_parked_pauses", "Parked pauses by reason code.", "reason", figures["parked"]
        )
        for name, (metric, told) in _PLAIN.items():
            yield _gauge(metric, told, figures[name] or 0)

    async def _read(self) -> Mapping[str, Any] | None:
        async with (
            self._pool.connection(timeout=PATIENCE_SECONDS) as connection,
            connection.transaction(),
        ):
            await connection.execute(_LIMIT)
            cursor = await connection.execute(statement("gauges"), self._values)
            return await cursor.fetchone()


_LIMIT = b"set local statement_timeout = 2000"


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, told, value=float(value))


def _labelled(name: str, told: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, told, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
