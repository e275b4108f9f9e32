"""Take one delivery in: verify it, then record it and enqueue its work in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from looppause_sdk.proof import Proof, verify

from .db import is_transient
from .errors import DatabaseNotReady
from .model import Receipt
from .pauses import Pauses
from .telemetry import Seldom, get_logger

__all__ = ["Intake"]

log = get_logger()


@dataclass(frozen=True)
class Intake:
    """Where deliveries go in, and the keys that may have signed them."""

    pauses: Pauses
    secrets: Sequence[str] = field(repr=False)
    public_keys: Sequence[str] = ()
    complaints: Seldom = field(default_factory=lambda: Seldom(log), repr=False)

    def verify(self, body: bytes | str | Mapping[str, Any]) -> Proof:
        """The decision in `body` if one of our keys has signed it. Raises `ProofError`."""
        return verify(body, secrets=self.secrets, public_keys=self.public_keys)

    async def accept(self, body: bytes) -> Receipt:
        """Return what became of the delivery, once that is on disk.

        Raises `ProofMalformed` or `ProofInvalid` before any database work, and
        `DatabaseNotReady` if it could not be recorded: the sender must try again.
        """
        proof = self.verify(body)
        try:
            receipt = await self.pauses.record(proof, body)
        except Exception as error:
            if is_transient(error) or isinstance(error, psycopg.Error):
                raise DatabaseNotReady(f"the proof could not be recorded: {_why(error)}") from error
            raise
        log.info(
            "delivery",
            result=receipt.result,
            pause_id=proof.pause_id,
            decision=proof.decision,
            authorization_type=proof.authorization_type,
            key=proof.key_id,
        )
        return receipt


def _why(error: Exception) -> str:
    """The first line: the further ones may quote the row, and with it what people wrote."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
