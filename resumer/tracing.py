"""Traces, where OpenTelemetry is installed: one from a delivery to its outcome.

Without it nothing is imported, and a span is an object that does nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from importlib import import_module
from importlib.metadata import version
from typing import Any, Literal, Protocol

from .errors import SettingsError

__all__ = ["UNTRACED", "Span", "Tracing", "exporting", "tracing_with"]

Kind = Literal["internal", "server", "producer", "consumer"]
Fact = str | int | float | bool | None

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Span(Protocol):
    """A step of a trace, while it lasts."""

    def note(self, **facts: Fact) -> None:
        """Tell facts of it, those that are None left out."""

    def fail(self, why: str) -> None:
        """Mark it as gone wrong."""


class Tracing(Protocol):
    """Where spans come from."""

    def span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        link: str | None = None,
        **facts: Fact,
    ) -> AbstractContextManager[Span]:
        """A span around the body, within `parent` or the active one, pointing to `link`.

        Both are in the form of W3C Trace Context, which is also what `here` gives; what is not is
        left out.
        """

    def here(self) -> str | None:
        """The active span, for whoever goes on elsewhere; None if there is none."""


class _Nothing:
    def note(self, **_: Fact) -> None:
        pass

    def fail(self, _: str) -> None:
        pass


class _Untraced:
    def span(self, *_: Any, **__: Any) -> AbstractContextManager[Span]:
        return nullcontext(_NOTHING)

    def here(self) -> None:
        return None


_NOTHING = _Nothing()
UNTRACED: Tracing = _Untraced()


def tracing_with(provider: Any = None) -> Tracing:
    """Spans of this `TracerProvider`, else of the process's own; none without OpenTelemetry."""
    try:
        api = import_module("opentelemetry.trace")
    except ImportError:
        return UNTRACED
    return _Traced(api, provider)


class _Traced:
    def __init__(self, api: Any, provider: Any) -> None:
        self._api = api
        self._provider = provider
        self._tracer = api.get_tracer(
            "resumer", version("looppause-resumer"), tracer_provider=provider
        )
        w3c = import_module("opentelemetry.trace.propagation.tracecontext")
        self._propagator = w3c.TraceContextTextMapPropagator()

    def span(
        self, name: str, kind: Kind = "internal", **facts: Any
    ) -> AbstractContextManager[Span]:
        return self._span(name, kind, **facts) if self._is_seen() else nullcontext(_NOTHING)

    def _is_seen(self) -> bool:
        """Whether anybody has set a provider up by now: spans of none cost a fifth of an ack."""
        provider = self._provider or self._api.get_tracer_provider()
        return not isinstance(provider, self._api.ProxyTracerProvider)

    @contextmanager
    def _span(
        self,
        name: str,
        kind: Kind,
        *,
        parent: str | None = None,
        link: str | None = None,
        **facts: Fact,
    ) -> Iterator[Span]:
        linked = self._context_of(link)
        with self._tracer.start_as_current_span(
            name,
            context=self._within(parent),
            kind=self._api.SpanKind[kind.upper()],
            attributes=_attributes(facts),
            links=[self._api.Link(linked)] if linked else None,
            # What it would record of an exception may quote what people wrote.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            traced = _TracedSpan(self._api, span)
            try:
                yield traced
            except BaseException as error:
                traced.fail(type(error).__name__)
                raise

    def here(self) -> str | None:
        if not self._is_seen():
            return None
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")

    def _within(self, parent: str | None) -> Any:
        """The context of `parent`; None, which is the active one, if there is no such."""
        found = self._context_of(parent)
        return self._api.set_span_in_context(self._api.NonRecordingSpan(found)) if found else None

    def _context_of(self, traceparent: str | None) -> Any:
        if traceparent is None:
            return None
        empty = import_module("opentelemetry.context").Context()
        read = self._propagator.extract({"traceparent": traceparent}, empty)
        context = self._api.get_current_span(read).get_span_context()
        return context if context.is_valid else None


class _TracedSpan:
    def __init__(self, api: Any, span: Any) -> None:
        self._api = api
        self._span = span

    def note(self, **facts: Fact) -> None:
        self._span.set_attributes(_attributes(facts))

    def fail(self, why: str) -> None:
        self._span.set_status(self._api.Status(self._api.StatusCode.ERROR, why))


def _attributes(facts: dict[str, Fact]) -> dict[str, Any]:
    return {f"resumer.{name}": value for name, value in facts.items() if value is not None}


@asynccontextmanager
async def exporting() -> AsyncIterator[None]:
    """Send a process's spans to where OpenTelemetry's own variables say; nowhere without them.

    Leaves alone what has been set up before (`opentelemetry-instrument`). Raises `SettingsError`
    if the extra is missing.
    """
    provider = _provider() if any(map(os.environ.get, ENDPOINTS)) else None
    try:
        yield
    finally:
        if provider is not None:
            await asyncio.to_thread(provider.shutdown)


def _provider() -> Any:
    """A provider that exports, now that of the process; None if the process has one."""
    try:
        api = import_module("opentelemetry.trace")
        sdk = import_module("opentelemetry.sdk.trace")
        batches = import_module("opentelemetry.sdk.trace.export")
        otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError as error:
        raise SettingsError(
            [f"{ENDPOINTS[0]} needs: pip install 'looppause-resumer[otel]' ({error})"]
        ) from error
    if not isinstance(api.get_tracer_provider(), api.ProxyTracerProvider):
        return None
    os.environ.setdefault("OTEL_SERVICE_NAME", "resumer")
    provider = sdk.TracerProvider()
    provider.add_span_processor(batches.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    api.set_tracer_provider(provider)
    return provider
