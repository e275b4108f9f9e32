"""What is counted, for Prometheus: one registry for each receiver, so that two never meet.

What stands in the database is not counted here but read when it is asked for: see `gauges`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from looppause_sdk.proof import Proof

from .errors import SettingsError
from .model import AlreadyResumed, Failed, Outcome, Parked, Postponed, Resumed

__all__ = ["DELIVERIES", "Metrics", "outcome_name"]

DELIVERIES = (
    "accepted",
    "duplicate",
    "conflict",
    "malformed",
    "not_genuine",
    "refused",
    "not_recorded",
)
FINDS = ("requeued", "reopened", "answered")
# A gate's resume takes milliseconds; what an agent does after it, up to minutes.
RESUME_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
WAKE_UP_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400)
LOCK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_OUTCOMES: dict[type, str] = {
    Resumed: "resumed",
    AlreadyResumed: "already_resumed",
    Failed: "failed",
    Parked: "parked",
    Postponed: "postponed",
}


def outcome_name(outcome: Outcome) -> str:
    """How metrics and traces call an outcome."""
    return _OUTCOMES[type(outcome)]


class Metrics:
    """What one receiver counts, under the names in the docs.

    Where `PROMETHEUS_MULTIPROC_DIR` is set, the counts of all processes that share that folder
    are told together. Raises `SettingsError` if that is no folder.
    """

    def __init__(self) -> None:
        _require_folder()
        self.registry = CollectorRegistry()
        self._deliveries = self._counter(
            "deliveries", "Deliveries by what became of them.", "result"
        )
        self._verified = self._counter(
            "verified", "Proofs found genuine, by the key that verified them.", "scheme", "key_id"
        )
        self._signature_failures = self._counter(
            "signature_failures", "Deliveries that no key of ours has signed.", "scheme"
        )
        self._attempts = self._counter("attempts", "Times that a resume began.")
        self._outcomes = self._counter("outcomes", "How looking at a pause ended.", "outcome")
        self._parked = self._counter("parked", "Pauses parked, by reason code.", "reason")
        self._finds = self._counter("reconcile_finds", "Pauses that a sweep had to repair.", "kind")
        self._hooks = self._counter(
            "hooks", "Calls of hooks, by what became of them.", "hook", "result"
        )
        self._resume = self._histogram(
            "resume", "Duration of a run of a graph or flow.", RESUME_BUCKETS, "outcome"
        )
        self._wake_up = self._histogram(
            "wake_up",
            "Time from the first delivery until the first resume began, and until it resumed.",
            WAKE_UP_BUCKETS,
            "until",
        )
        self._lock_wait = self._histogram(
            "lock_wait", "Time waited for the lock of a thread.", LOCK_BUCKETS, "had"
        )
        self._begin_at_zero()

    @classmethod
    def of_receiver(cls) -> Metrics:
        """Metrics of its own for each receiver; in a shared folder one for the whole process.

        There a value is kept under its name alone: two that count it would overwrite each other.
        """
        return _of_process() if SHARED_FOLDER in os.environ else cls()

    def delivered(self, result: str) -> None:
        """Count a delivery: one of `DELIVERIES`."""
        self._deliveries.labels(result).inc()

    def verified(self, proof: Proof) -> None:
        """Count a genuine proof."""
        self._verified.labels(proof.scheme, proof.key_id).inc()

    def not_genuine(self, scheme: str) -> None:
        """Count a delivery whose signature is none of ours."""
        self.delivered("not_genuine")
        self._signature_failures.labels(scheme).inc()

    def began(self, waited: float | None) -> None:
        """Count the begin of a resume; `waited` seconds if it is the first one of its pause."""
        self._attempts.inc()
        if waited is not None:
            self._wake_up.labels("began").observe(waited)

    def ran(self, seconds: float, outcome: Outcome) -> None:
        """Observe how long a graph or flow ran."""
        self._resume.labels(outcome_name(outcome)).observe(seconds)

    def ended(self, outcome: Outcome, waited: float) -> None:
        """Count an outcome, `waited` seconds after the first delivery."""
        self._outcomes.labels(outcome_name(outcome)).inc()
        if isinstance(outcome, Resumed):
            self._wake_up.labels("resumed").observe(waited)
        elif isinstance(outcome, Parked):
            self._parked.labels(outcome.code).inc()

    def locked(self, seconds: float, *, had: bool) -> None:
        """Observe how long a lock was waited for, and whether it was had."""
        self._lock_wait.labels("yes" if had else "no").observe(seconds)

    def found(self, *, requeued: int, reopened: int, answered: int) -> None:
        """Count what a sweep has repaired."""
        for kind, number in zip(FINDS, (requeued, reopened, answered), strict=True):
            self._finds.labels(kind).inc(number)

    def hooked(self, hook: str, result: str) -> None:
        """Count the call of a hook: `callback` or `webhook`; `done`, `failed` or `dropped`."""
        self._hooks.labels(hook, result).inc()

    def exposition(self, accept: str, gauges: Collector | None = None) -> tuple[bytes, str]:
        """All of it, and these gauges, as text in the form that `accept` asks for; its type."""
        registry = CollectorRegistry()
        registry.register(_Shared() if SHARED_FOLDER in os.environ else self.registry)
        if gauges is not None:
            registry.register(gauges)
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # what it raises for a version that is no number
            encode, content_type = choose_encoder("")
        return encode(registry), content_type

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(name, told, labels, namespace="resumer", registry=self.registry)

    def _histogram(
        self, name: str, told: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            name,
            told,
            labels,
            namespace="resumer",
            unit="seconds",
            registry=self.registry,
            buckets=buckets,
        )

    def _begin_at_zero(self) -> None:
        """Show what has not happened yet, too: the first time is an increase then."""
        known: list[tuple[Counter | Histogram, Iterable[str]]] = [
            (self._deliveries, DELIVERIES),
            (self._signature_failures, ("hmac", "ed25519")),
            (self._outcomes, _OUTCOMES.values()),
            (self._finds, FINDS),
            (self._wake_up, ("began", "resumed")),
            (self._lock_wait, ("yes", "no")),
        ]
        for metric, labels in known:
            for label in labels:
                metric.labels(label)


class _Shared(Collector):
    """What is ours among the counts of all processes that share the folder."""

    def collect(self) -> Iterator[Metric]:
        collector: Any = MultiProcessCollector  # which has no types
        for metric in collector(None).collect():
            if metric.name.startswith("resumer_"):
                yield metric


@cache
def _of_process() -> Metrics:
    return Metrics()


def _require_folder() -> None:
    folder = os.environ.get(SHARED_FOLDER)
    if folder is not None and not Path(folder).is_dir():
        raise SettingsError(
            [f"{SHARED_FOLDER} is no folder: make it, empty, before the process starts"]
        )
