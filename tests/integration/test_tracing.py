"""Traces: one from a delivery to its outcome, joined to the agent's own, and nothing without."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from looppause_sdk.gate import Asked, Question
from resumer import Resumer
from resumer.serving import serving
from resumer.tracing import UNTRACED, tracing_with
from tests import agents
from tests.integration.conftest import Rig, until

ADA = "ada@example.com"


class Spans:
    """What was traced, in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def all(self, name: str) -> list[ReadableSpan]:
        return [s for s in self.exporter.get_finished_spans() if s.name == f"resumer.{name}"]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.all(name)
        return span

    async def until(self, name: str, number: int = 1) -> None:
        async def there() -> bool:
            return len(self.all(name)) >= number

        await until(there)


@pytest.fixture(autouse=True)
def tracing_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of CrewAI switch OpenTelemetry off for the whole process they run in."""
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    yield made
    made.provider.shutdown()


async def decided(rig: Rig, resumer: Resumer, graph: Any = None) -> str:
    [pause_id] = await rig.hibernate(graph or rig.agent(), "t1")
    proof = rig.looppause.decide(pause_id, responder=ADA, comment="a private comment")
    await rig.deliver(resumer, proof)
    return pause_id


async def test_one_trace_from_delivery_to_outcome(rig: Rig, spans: Spans) -> None:
    """The worker's spans go on with the web's, though only the database is between them."""
    web_spans = Spans()
    web = Resumer(
        database_url=rig.url,
        signing_secrets=[rig.looppause.secret],
        worker=False,
        tracer_provider=web_spans.provider,
    )
    await rig.stack.enter_async_context(web.running())
    await rig.receiver(tracer_provider=spans.provider)
    pause_id = await decided(rig, web)
    await spans.until("outcome")

    receive, verify, record = map(web_spans.one, ("receive", "verify", "record"))
    resume, outcome = map(spans.one, ("resume", "outcome"))
    for span in (verify, record):
        assert span.parent is not None
        assert span.parent.span_id == receive.context.span_id
    for span in (resume, outcome):
        assert span.parent is not None
        assert span.parent.span_id == record.context.span_id
        assert span.context.trace_id == receive.context.trace_id
        assert span.attributes is not None
        assert span.attributes["resumer.pause_id"] == pause_id
        assert span.attributes["resumer.agent_id"] == "procurement"
        assert span.attributes["resumer.outcome"] == "resumed"
    assert receive.attributes == {"resumer.status": 202}
    assert receive.kind is trace.SpanKind.SERVER


async def test_nobody_is_named(rig: Rig, spans: Spans) -> None:
    """Neither who decided nor what they wrote nor the proof is in a span."""
    resumer = await rig.receiver(tracer_provider=spans.provider)
    await decided(rig, resumer)
    await spans.until("outcome")
    text = "".join(span.to_json() for span in spans.exporter.get_finished_spans())
    for private in ("ada", "private", "EUR", rig.looppause.secret):
        assert private not in text


async def test_what_the_graph_traces_is_within_the_resume(rig: Rig, spans: Spans) -> None:
    """A span of a node, as an instrumented model makes one, is a child of the attempt."""
    tracer = spans.provider.get_tracer("agent")

    async def pay(_: Any) -> dict[str, Any]:
        with tracer.start_as_current_span("resumer.pay"):
            return {"done": ["paid"]}

    graph = agents.payment_agent(rig.client(), pay)
    resumer = await rig.receiver({"procurement": graph}, tracer_provider=spans.provider)
    await decided(rig, resumer, graph=graph)
    await spans.until("outcome")
    parent = spans.one("pay").parent
    assert parent is not None
    assert parent.span_id == spans.one("resume").context.span_id


async def test_the_resume_points_to_the_agents_own_trace(rig: Rig, spans: Spans) -> None:
    """The gate hands its span on with the question; the resume links to it."""
    resumer = await rig.receiver(tracer_provider=spans.provider)
    tracer = spans.provider.get_tracer("agent")
    with tracer.start_as_current_span("resumer.agent") as asking:
        [pause_id] = await rig.hibernate(rig.agent(), "t1")
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await spans.until("outcome")

    [link] = spans.one("resume").links
    assert link.context.trace_id == asking.get_span_context().trace_id
    assert spans.one("resume").context.trace_id != asking.get_span_context().trace_id


async def test_each_attempt_is_a_span_and_the_end_says_why(rig: Rig, spans: Spans) -> None:
    """A graph that raises is three attempts of one trace, then parked: all marked as errors."""

    def pay(_: Any) -> dict[str, Any]:
        raise RuntimeError("no money for ada@example.com")

    graph = agents.payment_agent(rig.client(), pay)
    resumer = await rig.receiver({"procurement": graph}, tracer_provider=spans.provider)
    await decided(rig, resumer, graph=graph)
    await spans.until("outcome")

    attempts = spans.all("resume")
    facts = [span.attributes for span in attempts if span.attributes is not None]
    assert [fact["resumer.attempt"] for fact in facts] == [1, 2, 3]
    assert [fact["resumer.outcome"] for fact in facts] == ["failed", "failed", "parked"]
    assert {span.context.trace_id for span in attempts} == {spans.one("receive").context.trace_id}
    for span in (*attempts, spans.one("outcome")):
        assert span.status.status_code is trace.StatusCode.ERROR
        assert span.status.description == "raised"


async def test_a_copy_does_not_take_the_trace_over(rig: Rig, spans: Spans) -> None:
    """The resume belongs to the delivery that was accepted, whatever came after it."""
    web = Resumer(
        database_url=rig.url,
        signing_secrets=[rig.looppause.secret],
        worker=False,
        tracer_provider=spans.provider,
    )
    await rig.stack.enter_async_context(web.running())
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    proof = rig.looppause.decide(pause_id)
    for _ in range(3):
        await rig.deliver(web, proof)
    await rig.receiver(tracer_provider=spans.provider)
    await spans.until("outcome")
    results = {
        s.context.trace_id: (s.attributes or {})["resumer.result"] for s in spans.all("record")
    }
    assert sorted(map(str, results.values())) == ["accepted", "duplicate", "duplicate"]
    assert results[spans.one("resume").context.trace_id] == "accepted"


async def test_a_refused_delivery_is_a_trace_of_its_own(rig: Rig, spans: Spans) -> None:
    """The sender's word for a trace is not taken, and nothing of a forgery is recorded."""
    resumer = await rig.receiver(tracer_provider=spans.provider)
    await rig.deliver(resumer, {"pause_id": "p", "decision": "approved", "signature": "0" * 64})
    assert spans.one("receive").attributes == {"resumer.status": 401}
    assert spans.one("verify").status.status_code is trace.StatusCode.ERROR
    assert spans.all("record") == []


@pytest.mark.parametrize("broken", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
async def test_a_trace_that_cannot_be_read_is_left_out(spans: Spans, broken: str) -> None:
    """Whatever an interrupt's value says, a span begins."""
    tracing = tracing_with(spans.provider)
    with tracing.span("resumer.resume", parent=broken, link=broken, pause_id="p"):
        assert tracing.here() is not None
    span = spans.one("resume")
    assert span.parent is None
    assert list(span.links) == []


def test_without_a_provider_nothing_is_stored() -> None:
    """OpenTelemetry that nobody has set up gives no trace to go on with."""
    tracing = tracing_with()
    with tracing.span("resumer.record"):
        assert tracing.here() is None


def test_the_question_keeps_the_trace_that_asked(spans: Spans) -> None:
    """It stands after the pause id, and stays what it was when the node runs again elsewhere."""
    question = Question.build("procurement", {"type": "payment"})
    with spans.provider.get_tracer("agent").start_as_current_span("asking") as span:
        value = Asked.of(question, "p", None).interrupt_value()
    assert next(iter(value)) == "pause_id"
    assert value["traceparent"].split("-")[2] == f"{span.get_span_context().span_id:016x}"
    with spans.provider.get_tracer("agent").start_as_current_span("later"):
        assert Asked.from_value(value).interrupt_value() == value
    assert "traceparent" not in Asked.of(question, "p", None).interrupt_value()


WITHOUT = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
from looppause_sdk.gate import Asked, Question
from resumer import Resumer
from resumer.tracing import UNTRACED
resumer = Resumer(database_url="postgresql://db/x", signing_secrets=["s"], worker=False)
assert resumer._tracing is UNTRACED
value = Asked.of(Question.build("a", {}), "p", None).interrupt_value()
assert "traceparent" not in value
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_without_opentelemetry_nothing_is_imported() -> None:
    """Neither the receiver nor the SDK needs it, and both do without."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_the_sdk_imports_no_tracing_of_its_own() -> None:
    """Where nobody has imported OpenTelemetry, asking does not either."""
    code = (
        "import sys\nfrom looppause_sdk.gate import Asked, Question\n"
        "Asked.of(Question.build('a', {}), 'p', None)\n"
        "print(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_no_tracing_costs_nothing_to_speak_of() -> None:
    """A span that is none can be used all the same."""
    with UNTRACED.span("resumer.record", "producer", pause_id="p") as span:
        span.note(result="accepted")
        span.fail("nothing")
        assert UNTRACED.here() is None


EXPORTING = """
import asyncio, sys
from resumer.tracing import exporting, tracing_with

async def main():
    async with exporting():
        with tracing_with().span("resumer.record", pause_id="p"):
            pass

asyncio.run(main())
"""


async def exported(env: dict[str, str], code: str = EXPORTING) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode()


async def test_spans_are_sent_where_the_variables_say() -> None:
    """With the usual variables of OpenTelemetry, a process of ours exports, its last spans too."""
    came: list[tuple[str, bytes]] = []

    async def take(request: Request) -> Response:
        came.append((request.url.path, await request.body()))
        return Response(status_code=200)

    app = Starlette(routes=[Route("/{any:path}", take, methods=["POST"])])
    async with serving(app) as address:
        assert await exported({"OTEL_EXPORTER_OTLP_ENDPOINT": address}) == ""
    [(path, body)] = came
    assert path == "/v1/traces"
    assert b"resumer.record" in body
    assert b"service.name" in body


async def test_variables_without_the_extra_are_refused() -> None:
    """Who wants traces and would get none is told what to install."""
    blocked = WITHOUT.split("from looppause_sdk", maxsplit=1)[0] + EXPORTING
    out = await exported({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, blocked)
    assert "pip install 'looppause-resumer[otel]'" in out
