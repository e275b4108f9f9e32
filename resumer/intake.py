"""Take one delivery in: verify it, then record it and enqueue its work in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from looppause_sdk.errors import ProofInvalid, ProofMalformed
from looppause_sdk.proof import Proof, verify

from .db import is_transient
from .errors import DatabaseNotReady
from .metrics import Metrics
from .model import Receipt
from .pauses import Pauses
from .refusals import Refusals
from .telemetry import Seldom, get_logger
from .tracing import UNTRACED, Tracing

__all__ = ["Intake"]

log = get_logger()


@dataclass(frozen=True)
class Intake:
    """Where deliveries go in, and the keys that may have signed them."""

    pauses: Pauses
    secrets: Sequence[str] = field(repr=False)
    public_keys: Sequence[str] = ()
    complaints: Seldom = field(default_factory=lambda: Seldom(log), repr=False)
    metrics: Metrics = field(default_factory=Metrics, repr=False)
    refusals: Refusals = field(default_factory=Refusals, repr=False)
    tracing: Tracing = field(default=UNTRACED, repr=False)

    def verify(self, body: bytes | str | Mapping[str, Any]) -> Proof:
        """The decision in `body` if one of our keys has signed it. Raises `ProofError`."""
        return verify(body, secrets=self.secrets, public_keys=self.public_keys)

    async def accept(self, body: bytes) -> Receipt:
        """Return what became of the delivery, once that is on disk.

        Raises `ProofMalformed` or `ProofInvalid` before any database work, and
        `DatabaseNotReady` if it could not be recorded: the sender must try again.
        """
        with self.tracing.span("resumer.verify") as span:
            proof = self._genuine(body)
            span.note(scheme=proof.scheme, key_id=proof.key_id)
        with self.tracing.span("resumer.record", "producer", pause_id=proof.pause_id) as span:
            receipt = await self._record(proof, body)
            span.note(result=receipt.result, decision=proof.decision)
        log.info(
            "delivery",
            result=receipt.result,
            pause_id=proof.pause_id,
            decision=proof.decision,
            authorization_type=proof.authorization_type,
            key=proof.key_id,
        )
        return receipt

    async def _record(self, proof: Proof, body: bytes) -> Receipt:
        try:
            traceparent = self.tracing.here()
            receipt = await self.pauses.record(proof, body, traceparent=traceparent)
        except Exception as error:
            if is_transient(error) or isinstance(error, psycopg.Error):
                self.metrics.delivered("not_recorded")
                raise DatabaseNotReady(f"the proof could not be recorded: {_why(error)}") from error
            raise
        self.metrics.delivered(receipt.result)
        return receipt

    def _genuine(self, body: bytes) -> Proof:
        """As `verify`, counted."""
        try:
            proof = self.verify(body)
        except ProofInvalid:
            scheme = "ed25519" if _ED25519 in body else "hmac"
            self.metrics.not_genuine(scheme)
            self.refusals.count(scheme)
            raise
        except ProofMalformed:
            self.metrics.delivered("malformed")
            raise
        self.metrics.verified(proof)
        return proof


_ED25519 = b'"canonical_payload"'  # good enough to count by


def _why(error: Exception) -> str:
    """The first line: the further ones may quote the row, and with it what people wrote."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
