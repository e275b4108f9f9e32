"""Ask a person through LoopPause before an agent acts, and act only on a verified approval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._current import current_approval
from .client import AsyncLoopPauseClient, LoopPauseClient, Pause
from .errors import (
    ApprovalDenied,
    GateError,
    LoopPauseConfigError,
    LoopPauseDenied,
    LoopPauseError,
    LoopPauseRequestError,
    LoopPauseUnavailable,
    NoCheckpointer,
    NotWaiting,
    PauseEnded,
    ProofError,
    ProofInvalid,
    ProofMalformed,
    ThreadNotFound,
    WaitDeadlineExceeded,
)
from .idempotency import stable_idempotency_key
from .proof import Proof, verify, verify_signature

__all__ = [
    "ApprovalDenied",
    "AsyncLoopPauseClient",
    "GateError",
    "LoopPauseClient",
    "LoopPauseConfigError",
    "LoopPauseDenied",
    "LoopPauseError",
    "LoopPauseRequestError",
    "LoopPauseUnavailable",
    "NoCheckpointer",
    "NotWaiting",
    "Pause",
    "PauseEnded",
    "Proof",
    "ProofError",
    "ProofInvalid",
    "ProofMalformed",
    "ThreadNotFound",
    "WaitDeadlineExceeded",
    "__version__",
    "current_approval",
    "stable_idempotency_key",
    "verify",
    "verify_signature",
]

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """Look the version up when it is asked for."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import version  # noqa: PLC0415 - only for whoever asks

        return version("looppause-sdk")
