"""Is this proof genuine, and does it say what the line around it claims?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from looppause_sdk.errors import ProofInvalid, ProofMalformed
from looppause_sdk.proof import DENIAL_STATUSES, Proof, verify

from .keys import VerificationKeys
from .proof_lines import Line

__all__ = ["Verdict", "judge"]

Result = Literal["genuine", "not_genuine", "malformed", "unsigned"]


@dataclass(frozen=True)
class Verdict:
    """What is known of one proof. Times are ISO 8601, as LoopPause wrote them.

    `unsigned` is a pause without an answer, or a denial nobody had to sign: it opens nothing.
    Only of a `genuine` one is anything else than `pause_id` believed, and so told.
    """

    line: int
    result: Result
    pause_id: str | None = None
    decision: str | None = None
    human_authorized: bool | None = None
    authorization_type: str | None = None
    responder: str | None = None
    responded_at: str | None = None
    channel: str | None = None
    scheme: str | None = None
    key_id: str | None = None
    reason: str | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.result in ("genuine", "unsigned")


def judge(line: Line, keys: VerificationKeys) -> Verdict:
    """Verify one proof; a claim beside it that it does not bear out makes it not genuine."""
    pause_id = line.claims.get("pause_id")
    if line.fault is not None:
        return Verdict(line.number, "malformed", pause_id, reason=line.fault)
    if line.proof is None or _is_unsigned_denial(line):
        return _unsigned(line)
    try:
        proof = verify(line.proof, secrets=keys.secrets, public_keys=keys.public_keys)
    except ProofInvalid as error:
        return Verdict(line.number, "not_genuine", pause_id, reason=str(error))
    except ProofMalformed as error:
        return Verdict(line.number, "malformed", pause_id, reason=str(error))
    said = {"pause_id": proof.pause_id, "decision": proof.decision}
    if fault := _contradiction(line.claims, said):
        return Verdict(line.number, "not_genuine", pause_id, reason=fault)
    return _genuine(line.number, proof)


def _genuine(number: int, proof: Proof) -> Verdict:
    return Verdict(
        number,
        "genuine",
        proof.pause_id,
        proof.decision,
        proof.human_authorized,
        proof.authorization_type or None,
        proof.responder or None,
        proof.responded_at or None,
        proof.channel,
        proof.scheme,
        proof.key_id,
    )


def _unsigned(line: Line) -> Verdict:
    pause_id, claimed = line.claims.get("pause_id"), line.claims.get("decision")
    if claimed in ("approved", "rejected"):
        reason = f"said to be {claimed}, with no signed proof of it"
        return Verdict(line.number, "not_genuine", pause_id, reason=reason)
    reason = "nobody has answered it" if line.proof is None else "a denial needs no signature"
    return Verdict(line.number, "unsigned", pause_id, claimed, reason=reason)


def _is_unsigned_denial(line: Line) -> bool:
    """The sweep's own note that LoopPause let a pause end unanswered, and of this very pause."""
    if "pause_id" not in line.claims or line.proof is None:
        return False
    try:
        document = json.loads(line.proof)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(document, dict)
        and set(document) == {"pause_id", "status"}
        and document["pause_id"] == line.claims["pause_id"]
        and document["status"] in DENIAL_STATUSES
    )


def _contradiction(claims: Mapping[str, str], said: Mapping[str, str]) -> str | None:
    for name, claimed in claims.items():
        if claimed != said[name]:
            return f"the line says {name} {claimed!r}, its proof {said[name]!r}"
    return None
