"""The trace that asks: handed on with the question, so that its answer's trace can point to it."""

from __future__ import annotations

import sys

__all__ = ["traceparent"]


def traceparent() -> str | None:
    """The active span in the form of W3C Trace Context; None where nothing is traced.

    OpenTelemetry is never imported for it: where nobody has, no span is active.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"
