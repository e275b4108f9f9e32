"""The example for agents under LangChain's review middleware is what happens."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from looppause_sdk.testing import FakeLoopPause
from resumer.emulator import Emulator
from resumer.serving import serving
from tests.agents import hibernating, on
from tests.integration.conftest import Rig

EXAMPLE = Path(__file__).parents[2] / "examples" / "review_agent.py"
START = {"messages": [{"role": "user", "content": "Refund 80 EUR for order 1007"}]}


def example() -> Any:
    """The example's graph, made anew in this test's environment."""
    spec = spec_from_file_location("review_agent", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.graph


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ({}, "REFUNDED 80 EUR for order 1007, idempotency key pause_"),
        ({"fields": {"amount": 50}}, "REFUNDED 50 EUR for order 1007, idempotency key pause_"),
        ({"decision": "rejected", "comment": "not broken"}, "with reason: not broken"),
    ],
    ids=["approved", "edited", "rejected"],
)
async def test_the_example_asks_and_does_what_the_person_says(
    database_url: str,
    looppause: FakeLoopPause,
    monkeypatch: pytest.MonkeyPatch,
    answer: dict[str, Any],
    result: str,
) -> None:
    """As it stands, with a receiver beside it: the answer comes in by HTTP, the thread goes on."""
    async with serving(Emulator(looppause, deliver=False).app, lifespan="on") as address:
        monkeypatch.setenv("LOOPPAUSE_API_URL", address)
        monkeypatch.setenv("LOOPPAUSE_API_KEY", "key")
        monkeypatch.setenv("LOOPPAUSE_SIGNING_SECRET", looppause.secret)
        graph, rig = example(), Rig(database_url, looppause)
        async with rig.stack:
            receiver = await rig.receiver({"support": graph})
            async with hibernating(graph, rig.url) as attached:
                await attached.ainvoke(START, on("t"))
            [(pause_id, document)] = looppause.pauses.items()
            assert document["request"]["action"]["description"] == "Refund 80 EUR for order 1007"
            await rig.deliver(receiver, looppause.decide(pause_id, **answer))
            await rig.until_state(pause_id, "resumed")
            said = (await rig.state(graph, "t")).values["messages"]
    assert result in said[-1].content
