"""docs/migrating.md: its checks exist, its agent runs, and old threads fare as it says."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.checkpoint.memory import InMemorySaver

from resumer.emulator import Emulator
from resumer.serving import serving
from tests.agents import action_of
from tests.contract.sdks import CountedLoopPause, Ours, Published
from tests.integration.conftest import Rig

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "migrating.md").read_text()


@pytest.fixture
async def rig(looppause: CountedLoopPause, database_url: str) -> AsyncIterator[Rig]:
    made = Rig(database_url, looppause)
    async with made.stack:
        yield made


def old_agent(rig: Rig, published: Published, **settings: Any) -> Any:
    """START → 0.1.0's gate → pay, or the end."""
    return published.agent(rig.ledger.pay, published.gate(**settings), InMemorySaver())


def test_each_check_is_on_the_page_and_each_on_the_page_is_a_check() -> None:
    """A row without a check would be a claim without evidence."""
    checks = {name for file in HERE.rglob("test_*.py") for name in _checks_in(file)}
    rows = [line.rsplit("|", 2)[1] for line in PAGE.splitlines() if line.count("|") == 4]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == checks


def _checks_in(file: Path) -> list[str]:
    functions = [
        node
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [
        function.name
        for function in functions
        if any("CLAIMS.breaks" in ast.unparse(decorator) for decorator in function.decorator_list)
    ]


async def test_the_agent_of_the_page_serves_old_threads_and_new_ones(
    rig: Rig, published: Published, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """As it stands: one thread wakes in 0.1.0's gate, another asks at the new one."""
    [old] = await rig.hibernate(old_agent(rig, published), "old", 5)
    async with serving(Emulator(rig.looppause, deliver=False).app, lifespan="on") as address:
        monkeypatch.setenv("LOOPPAUSE_API_URL", address)
        monkeypatch.setenv("LOOPPAUSE_API_KEY", "key")
        monkeypatch.setenv("LOOPPAUSE_SIGNING_SECRET", rig.looppause.secret)
        names: dict[str, Any] = {}
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "migrating.md", "exec", dont_inherit=True), names)  # noqa: S102  (the page's)
        names["old_client"]._http = httpx.Client(transport=rig.looppause.transport)
        graph = names["graph"]
        [new] = await rig.hibernate(graph, "new", 7)
        receiver = await rig.receiver({"*": graph})
        for pause_id in (old, new):
            await rig.deliver(receiver, rig.looppause.decide(pause_id))
            await rig.until_state(pause_id, "resumed")
    said = capsys.readouterr().out
    assert f"paying: Pay 5 EUR key {old}" in said
    assert f"paying: Pay 7 EUR key {new}" in said


async def test_an_old_thread_loses_its_approval_while_looppause_is_down(
    rig: Rig, published: Published
) -> None:
    """0.1.0's gate asks once more before it takes the answer."""
    graph = old_agent(rig, published)
    [pause_id] = await rig.hibernate(graph, "t")
    proof = rig.looppause.decide(pause_id)
    rig.looppause.fail_next(times=1000)
    result = await _woken(rig, graph, pause_id, proof)
    assert result["halt_reason"].startswith("looppause_unavailable: ")
    assert rig.ledger.payments == []


async def test_an_old_thread_pays_what_was_not_shown(rig: Rig, published: Published) -> None:
    """Its action is built anew, and compared with nothing."""
    price = {"EUR": 10}
    graph = old_agent(rig, published, action_builder=lambda _: action_of({"amount": price["EUR"]}))
    [pause_id] = await rig.hibernate(graph, "t")
    price["EUR"] = 10_000
    await _woken(rig, graph, pause_id, rig.looppause.decide(pause_id))
    assert len(rig.ledger.payments) == 1


async def test_an_old_thread_takes_no_ed25519(rig: Rig, published: Published) -> None:
    """The receiver accepts the proof, and the gate inside halts."""
    graph = old_agent(rig, published)
    [pause_id] = await rig.hibernate(graph, "t")
    rig.looppause.scheme = "ed25519"
    result = await _woken(rig, graph, pause_id, rig.looppause.decide(pause_id))
    assert result["halt_reason"].startswith("denied: ")
    assert rig.ledger.payments == []


async def test_an_old_thread_ends_on_the_notice_of_a_timeout(
    rig: Rig, published: Published
) -> None:
    """The gate, which would raise on the signed notice, is given the receiver's own denial."""
    graph = old_agent(rig, published)
    [pause_id] = await rig.hibernate(graph, "t")
    receiver = await rig.receiver({"*": graph})
    await rig.deliver(receiver, rig.looppause.time_out(pause_id))
    await rig.until_state(pause_id, "resumed")
    assert ((await rig.state(graph, "t")).next, rig.ledger.payments) == ((), [])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"decision": "rejected"}, "decision=rejected,auth=human"),
        (
            {"authorization_type": "system_fallback"},
            "decision=approved,auth=system_fallback",
        ),
    ],
    ids=["rejected", "fallback"],
)
async def test_an_old_thread_says_why_in_its_own_words(
    rig: Rig, published: Published, answer: dict[str, Any], reason: str
) -> None:
    """The texts that the page has beside the new ones."""
    graph = old_agent(rig, published)
    [pause_id] = await rig.hibernate(graph, "t")
    result = await _woken(rig, graph, pause_id, rig.looppause.decide(pause_id, **answer))
    assert (result["halt_reason"], rig.ledger.payments) == (reason, [])


async def test_the_new_gate_under_the_old_name_refuses_old_answers(
    rig: Rig, published: Published, ours: Ours
) -> None:
    """Parked and not paid; with the old gate back in its place the approval still counts."""
    graph = old_agent(rig, published)
    [pause_id] = await rig.hibernate(graph, "t")
    swapped = ours.agent(rig.ledger.pay, saver=InMemorySaver())
    receiver = await rig.receiver({"*": swapped})
    await rig.deliver(receiver, rig.looppause.decide(pause_id))
    await rig.until_state(pause_id, "parked")
    assert ((await rig.state(swapped, "t")).next, rig.ledger.payments) == (("gate",), [])
    await rig.stack.aclose()
    receiver = await rig.receiver({"*": graph})
    assert await receiver.retry([pause_id]) == [pause_id]
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


async def _woken(rig: Rig, graph: Any, pause_id: str, proof: Any) -> Any:
    """The gate's result, once the receiver has resumed the thread."""
    receiver = await rig.receiver({"*": graph})
    assert (await rig.deliver(receiver, proof)).status_code == 202
    await rig.until_state(pause_id, "resumed")
    return (await rig.state(graph, "t")).values["looppause"]
