"""What every integration shares: put a question, bind the answer to it, judge the answer."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._json import parse_object, plain
from ._recipients import named
from ._trace import traceparent
from .errors import LoopPauseConfigError, ProofInvalid, ProofMalformed
from .idempotency import stable_idempotency_key
from .proof import DENIAL_STATUSES, Proof

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:  # pydantic takes no other in state
    from typing_extensions import TypedDict

__all__ = [
    "Answer",
    "Asked",
    "Denial",
    "GateResult",
    "Question",
    "action_digest",
    "bind",
    "denied",
    "json_copy",
    "judge",
]

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1


class GateResult(TypedDict):
    """What a gate writes into the state.

    Act on `action`, the JSON form of what was shown to the person, rather than on state that may
    have moved since; hand `pause_id` to the payment provider as the idempotency key.
    `halt_reason` is None when approved, else `rejected`, `system_fallback`, `not_human`,
    `timed_out`, `expired`, `cancelled`, `deadline`, `action_changed` or, with
    `on_invalid="halt"`, `invalid_proof`.
    """

    approved: bool
    decision: str | None
    authorization_type: str | None
    responder: str | None
    responded_at: str | None
    channel: str | None
    comment: str | None
    fields: dict[str, Any] | None
    pause_id: str | None
    action: dict[str, Any] | None
    halt_reason: str | None


@dataclass(frozen=True)
class Denial:
    """The receiver's own word that a pause ended unanswered. It can only close a gate."""

    pause_id: str
    status: str


Answer = Proof | Denial


@dataclass(frozen=True)
class Question:
    """One question to a person, before LoopPause has given it a pause id.

    `graph` names the graph that asks, where its agent's id would not tell the receiver.
    """

    agent_id: str
    action: dict[str, Any]
    action_digest: str
    idempotency_key: str
    graph: str | None = None

    @classmethod
    def build(cls, agent_id: str, action: Any, *visit: Any, graph: str | None = None) -> Question:
        """Take a copy of `action` and bind the idempotency key to this visit of the gate.

        `visit` is whatever tells this question from every other, in JSON. Raises
        `LoopPauseConfigError` if the action is not a JSON object: what cannot be written down
        cannot be shown to a person, nor compared afterwards.
        """
        if not isinstance(action, Mapping):
            raise LoopPauseConfigError(
                f"action_builder must return a dict, not {type(action).__name__}"
            )
        copy = json_copy("action", action)
        digest = action_digest(copy)
        key = stable_idempotency_key("looppause-gate", agent_id, *visit, digest)
        return cls(agent_id, copy, digest, key, graph)

    def request(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What a client's `open_pause` takes; other people or another form are another question."""
        whom, what = options.get("recipients"), options.get("form")
        return {
            "agent_id": self.agent_id,
            "action": self.action,
            "idempotency_key": stable_idempotency_key(self.idempotency_key, whom, what),
            **options,
        }


@dataclass(frozen=True)
class Asked:
    """A question that LoopPause has taken: the pause, and the action a person was shown.

    `recipients` are who was asked, by channel and target, where the gate knows them; `traceparent`
    is the agent's span in which it was asked, if there was one.
    """

    pause_id: str
    agent_id: str
    action: dict[str, Any]
    action_digest: str
    expires_at: str | None
    graph: str | None = None
    recipients: Sequence[Mapping[str, str]] = ()
    traceparent: str | None = None

    @classmethod
    def of(
        cls, question: Question, pause_id: str, expires_at: str | None, recipients: Any = ()
    ) -> Asked:
        """The question, now that it has a pause; `recipients` as LoopPause takes them."""
        return cls(
            pause_id=pause_id,
            agent_id=question.agent_id,
            action=question.action,
            action_digest=question.action_digest,
            expires_at=expires_at,
            graph=question.graph,
            recipients=named(recipients),
            traceparent=traceparent(),
        )

    @classmethod
    def from_value(cls, value: Mapping[str, Any]) -> Asked:
        """Read what `interrupt_value` wrote, perhaps days ago and by another version of it."""
        return cls(
            pause_id=value["pause_id"],
            agent_id=value["agent_id"],
            action=value["action"],
            action_digest=value["action_digest"],
            expires_at=value.get("expires_at"),
            graph=value.get("graph"),
            recipients=named(value.get("recipients")),
            traceparent=value.get("traceparent"),
        )

    def interrupt_value(self) -> dict[str, Any]:
        """The value to hibernate with; `pause_id` first, since the receiver's index reads it."""
        value = {
            "pause_id": self.pause_id,
            "agent_id": self.agent_id,
            "action": self.action,
            "action_digest": self.action_digest,
            "expires_at": self.expires_at,
        }
        others = {
            "graph": self.graph,
            "recipients": [dict(recipient) for recipient in self.recipients],
            "traceparent": self.traceparent,
        }
        return {**value, **{name: other for name, other in others.items() if other}}


def action_digest(action: Mapping[str, Any]) -> str:
    """SHA-256 in hex over the action's canonical JSON."""
    text = json.dumps(action, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def bind(answer: Any, pause_id: str, verify: Callable[[Any], Proof]) -> Answer:
    """Return the genuine answer to this pause.

    Raises `ProofError` if the answer is forged, belongs to another pause, or is no proof at all.
    """
    denial = _as_denial(answer)
    found = denial if denial is not None else verify(_as_body(answer))
    if found.pause_id != pause_id:
        raise ProofInvalid(f"this answers pause {found.pause_id}, but {pause_id} was asked")
    return found


def judge(answer: Answer, asked: Asked, *, current_digest: str, require_human: bool) -> GateResult:
    """Turn a bound answer into the gate's result: approved only when nothing speaks against it."""
    if isinstance(answer, Denial):
        return denied(answer.status, asked)
    reason = _objection(answer, require_human=require_human)
    if reason is None and current_digest != asked.action_digest:
        reason = "action_changed"
    return GateResult(
        approved=reason is None,
        decision=answer.decision,
        authorization_type=answer.authorization_type or None,
        responder=answer.responder or None,
        responded_at=answer.responded_at or None,
        channel=answer.channel,
        comment=answer.comment,
        fields=answer.fields,
        pause_id=asked.pause_id,
        action=asked.action,
        halt_reason=reason,
    )


def denied(reason: str, asked: Asked) -> GateResult:
    """The result when no proof came: closed, with the reason."""
    return GateResult(
        approved=False,
        decision=reason if reason in DENIAL_STATUSES else None,
        authorization_type=None,
        responder=None,
        responded_at=None,
        channel=None,
        comment=None,
        fields=None,
        pause_id=asked.pause_id,
        action=asked.action,
        halt_reason=reason,
    )


def json_copy(name: str, value: Any) -> Any:
    """A deep copy of `value` as JSON has it. Raises `LoopPauseConfigError`, naming it `name`."""
    try:
        text = json.dumps({name: value}, allow_nan=False, ensure_ascii=False, default=_as_json)
        copy = plain(parse_object(text.encode()))[name]
        _check_integers(copy)
    except (TypeError, ValueError, RecursionError, ProofMalformed) as error:
        raise LoopPauseConfigError(
            f"the {name} must be plain JSON ({error}): give amounts and dates as text or numbers"
        ) from error
    return copy


def _objection(proof: Proof, *, require_human: bool) -> str | None:
    if proof.decision != "approved":
        return proof.decision
    if proof.human_authorized or not require_human:
        return None
    return "system_fallback" if proof.authorization_type == "system_fallback" else "not_human"


def _as_denial(answer: Any) -> Denial | None:
    if not isinstance(answer, Mapping) or set(answer) != {"pause_id", "status"}:
        return None
    pause_id, status = answer["pause_id"], answer["status"]
    if not isinstance(pause_id, str) or status not in DENIAL_STATUSES:
        return None
    return Denial(pause_id, str(status))


def _as_body(answer: Any) -> Any:
    if isinstance(answer, (Mapping, str, bytes)):
        return answer
    raise ProofMalformed(f"a gate is answered by a signed proof, not {type(answer).__name__}")


def _as_json(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _check_integers(value: Any) -> None:
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            _check_integers(item)
    elif isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
        raise ValueError("an integer has more than 64 bits, which no checkpoint can hold")
