"""`resumer dev --flow`: a flow of the user's own asks, a person decides, it goes on."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.dev_machine import ROOT, Machine

QUIET = ("CREWAI_DISABLE_TELEMETRY", "CREWAI_DISABLE_TRACKING", "OTEL_SDK_DISABLED")


@pytest.fixture
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="resumer-dev-") as folder:
        made = Machine(Path(folder))
        yield made
        made.close()


@pytest.mark.timeout(180)
def test_a_flow_is_started_and_goes_on(machine: Machine, postgres_server: postgres.Server) -> None:
    """One command: it hibernates, is approved, pays, and its end is told."""
    machine.write("own_flow.py", (ROOT / "examples" / "flow_refund.py").read_text())
    dev = machine.dev(
        *("--flow", "refunds=own_flow.py:RefundFlow", "--input", '{"amount": 33}', "--approve"),
        *("--database-url", url := postgres_server.database()),
        env={name: os.environ[name] for name in QUIET},
    )
    assert dev.popen.wait(timeout=160) == 0, dev.all
    assert "refunds asks: Refund 33 EUR to Beta Ltd" in dev.out
    assert re.search(r"Its flow [0-9a-f-]{36} hibernates in PostgreSQL", dev.out)
    assert "PAID 33 EUR to Beta Ltd, approved by you@localhost" in dev.out
    assert "The flow finished." in dev.out
    postgres_server.drop(url)
