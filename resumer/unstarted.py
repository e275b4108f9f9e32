"""What is said while a receiver does not run: to whoever asks, and once, loudly, in the log."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import JSONResponse

from .http import unavailable
from .telemetry import get_logger

__all__ = ["NOT_STARTED", "Unstarted"]

NOT_STARTED = (
    "the receiver is mounted but not started: enter `resumer.lifespan` in the host application's "
    "lifespan, or wrap serving in `async with resumer.running()`"
)
STOPPED = "the receiver has been stopped: deliver it again later"

log = get_logger()


@dataclass
class Unstarted:
    """Answers for one receiver. `has_run` tells one that was stopped from one never started."""

    has_run: bool = False
    _was_told: bool = False

    def response(self) -> JSONResponse:
        """503. The log has it the first time: senders try again for days."""
        if self.has_run:
            return unavailable(STOPPED)
        if not self._was_told:
            log.error("not_started", advice=NOT_STARTED)
            self._was_told = True
        return unavailable(NOT_STARTED)
