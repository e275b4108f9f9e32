"""Every error the SDK raises, in one tree.

LoopPauseError
├── LoopPauseConfigError        the caller's settings are missing or wrong: mend and restart
├── LoopPauseRequestError       LoopPause refused the request (4xx): mend the request
├── LoopPauseUnavailable        no usable answer (no connection, 429, 5xx, not JSON): try later
├── GateError                   a gate or a resume was used where it cannot hold
│   ├── NoCheckpointer          the graph has nowhere to hibernate
│   ├── ThreadNotFound          the thread does not exist in the checkpointer
│   └── NotWaiting              the thread exists, but nothing in it waits for this pause
└── LoopPauseDenied             a final "no": the action must not happen
    ├── ApprovalDenied          the call was not approved; its `result` says why
    ├── PauseEnded              the pause timed out, expired or was cancelled
    ├── WaitDeadlineExceeded    nobody answered before the caller's own deadline
    └── ProofError              what came back proves nothing
        ├── ProofInvalid        not genuine
        └── ProofMalformed      no usable proof
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "ApprovalDenied",
    "GateError",
    "LoopPauseConfigError",
    "LoopPauseDenied",
    "LoopPauseError",
    "LoopPauseRequestError",
    "LoopPauseUnavailable",
    "NoCheckpointer",
    "NotWaiting",
    "PauseEnded",
    "ProofError",
    "ProofInvalid",
    "ProofMalformed",
    "ThreadNotFound",
    "WaitDeadlineExceeded",
]


class LoopPauseError(Exception):
    """Root of every error the SDK raises."""


class LoopPauseConfigError(LoopPauseError, ValueError):
    """A setting is missing or cannot be used; the message names it."""


class LoopPauseRequestError(LoopPauseError):
    """LoopPause refused the request; sending it again unchanged will not help."""

    def __init__(self, message: str, *, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code


class LoopPauseUnavailable(LoopPauseError):
    """LoopPause gave no usable answer. No decision was made: fail closed, try later."""


class GateError(LoopPauseError):
    """A gate or a resume was used where it cannot hold."""


class NoCheckpointer(GateError):
    """The graph was compiled without a checkpointer, so it cannot hibernate."""


class ThreadNotFound(GateError):
    """The thread does not exist; resuming it would start a new run."""


class NotWaiting(GateError):
    """The thread exists, but no interrupt in it waits for this pause."""


class LoopPauseDenied(LoopPauseError):
    """A final answer that is not an approval."""


class ApprovalDenied(LoopPauseDenied):
    """The call was not approved, and has not run; `result` is the gate's `GateResult`."""

    def __init__(self, message: str, *, result: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.result = result


class PauseEnded(LoopPauseDenied):
    """The pause ended without an answer; `status` says how."""

    def __init__(self, message: str, *, pause_id: str, status: str) -> None:
        super().__init__(message)
        self.pause_id = pause_id
        self.status = status


class WaitDeadlineExceeded(LoopPauseDenied):
    """Nobody answered before the caller's own deadline; the pause may still be open."""


class ProofError(LoopPauseDenied):
    """What came back proves nothing."""


class ProofInvalid(ProofError):
    """Not genuine: no configured key has signed this."""


class ProofMalformed(ProofError):
    """No usable proof: not a JSON object, or a member that must be there is not."""
