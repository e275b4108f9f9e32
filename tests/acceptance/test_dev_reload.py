"""`resumer dev` while somebody works on the graph: saved, loaded anew, nothing else restarted."""

from __future__ import annotations

import pytest

from tests.dev_machine import Dev, Machine

pytestmark = pytest.mark.timeout(150)  # a machine that has other work starts slowly

AGENT = """
from typing import TypedDict
from langgraph.graph import END, START, StateGraph
from looppause_sdk import LoopPauseClient
from looppause_sdk.langgraph import GateResult, make_interrupt_gate
from agent.words import pay

class State(TypedDict, total=False):
    amount: int
    looppause: GateResult
    result: str

builder = StateGraph(State)
builder.add_node("gate", make_interrupt_gate(
    LoopPauseClient(), agent_id="my-agent", recipients=[{"channel": "slack", "target": "#x"}],
    action_builder=lambda state: {"type": "mine", "description": f"Spend {state['amount']}"}))
builder.add_node("pay", pay)
builder.add_edge(START, "gate")
builder.add_edge("gate", "pay")
builder.add_edge("pay", END)
graph = builder.compile()
"""
PAY = """
def pay(state):
    return {"result": f"%s {state['amount']}"}
"""
ANEW = "the graph is loaded anew, and hibernating threads go on with it."
WAITS = "in a browser and click Approve or Reject"
START = ("--graph", "agent.flow:graph", "--input", '{"amount": 3}', "--port", "0")


def begin(machine: Machine, *more: str) -> tuple[Dev, str]:
    """A session whose thread waits; its pause."""
    machine.write("agent/__init__.py", "")
    machine.write("agent/flow.py", AGENT)
    machine.write("agent/words.py", PAY % "OLD")
    dev = machine.dev(*START, *more)
    dev.until(WAITS)
    return dev, dev.pauses()[0]


def test_a_hibernating_thread_goes_on_with_the_new_code(machine: Machine) -> None:
    """A module that the graph imports is saved: the thread wakes up in it, PostgreSQL as it was."""
    dev, pause_id = begin(machine)
    postgres_pid = dev.postgres_pid
    machine.write("agent/words.py", PAY % "NEW")
    dev.until(f"words.py changed: {ANEW}")
    dev.decide(pause_id, "approved")
    dev.until("● NEW 3")
    assert dev.postgres_pid == postgres_pid
    assert dev.out.count(ANEW) == 1
    assert dev.interrupt() == 0, dev.all


def test_a_mistake_is_shown_and_the_graph_from_before_stays(
    machine: Machine, fresh_url: str
) -> None:
    """File, line and message; threads go on with the old code, and the next save recovers."""
    dev, pause_id = begin(machine, "--database-url", fresh_url)
    machine.write("agent/words.py", "def pay(state:\n    return {}\n")
    dev.until("✗ agent/words.py, line 1: '(' was never closed\n    def pay(state:\n")
    dev.until("The graph from before stays in use: mend it and save.")
    dev.decide(pause_id, "approved")
    dev.until("● OLD 3")
    machine.write("agent/words.py", PAY % "NEW")
    dev.until(ANEW)
    assert "Traceback" not in dev.all
    assert dev.interrupt() == 0, dev.all


def test_what_a_module_raises_is_shown_where_it_did(machine: Machine, fresh_url: str) -> None:
    """The line in the user's own file; a module that is missing is found once it is there."""
    dev, _ = begin(machine, "--database-url", fresh_url)
    machine.write("agent/words.py", "limit = 1 / 0\n")
    dev.until("✗ agent/words.py, line 1: ZeroDivisionError: division by zero\n    limit = 1 / 0\n")
    machine.write("agent/words.py", "from agent.later import pay\n")
    dev.until("words.py, line 1: ModuleNotFoundError: No module named 'agent.later'")
    machine.write("agent/later.py", PAY % "LATER")
    dev.until(f"A file changed: {ANEW}")
    assert dev.interrupt() == 0, dev.all


def test_a_pause_that_failed_is_taken_up_again(machine: Machine, fresh_url: str) -> None:
    """A node raises after the approval; mended and saved, the thread goes on where it was."""
    dev, pause_id = begin(machine, "--database-url", fresh_url)
    machine.write("agent/words.py", "def pay(state):\n    return state['gone']\n")
    dev.until(ANEW)
    dev.decide(pause_id, "approved")
    dev.until("parked         code=raised")
    machine.write("agent/words.py", PAY % "MENDED")
    dev.until(f"Taken up again, since it had failed: {pause_id}")
    dev.until("● MENDED 3")
    assert dev.interrupt() == 0, dev.all


def test_a_graph_that_raises_before_it_asks_is_started_anew(
    machine: Machine, fresh_url: str
) -> None:
    """The session goes on, and the next save tries the same input once more."""
    machine.write("agent/__init__.py", "")
    machine.write("agent/flow.py", AGENT.replace("Spend {state['amount']}", "{state['sum']}"))
    machine.write("agent/words.py", PAY % "OLD")
    dev = machine.dev(*START, "--database-url", fresh_url)
    dev.until("✗ the graph raised before it asked: KeyError: 'sum'")
    machine.write("agent/flow.py", AGENT)
    dev.until("my-agent asks: Spend 3")
    assert dev.interrupt() == 0, dev.all


def test_without_reload_nothing_is_loaded_anew(machine: Machine, fresh_url: str) -> None:
    """`--no-reload` keeps the code that the session was started with."""
    dev, pause_id = begin(machine, "--database-url", fresh_url, "--no-reload")
    machine.write("agent/words.py", PAY % "NEW")
    dev.decide(pause_id, "approved")
    dev.until("● OLD 3")
    assert ANEW not in dev.out
    assert dev.interrupt() == 0, dev.all


def test_a_graph_may_change_between_two_sessions(machine: Machine, fresh_url: str) -> None:
    """What hibernated under the old code wakes up under the new."""
    first, pause_id = begin(machine, "--database-url", fresh_url)
    assert first.interrupt() == 0, first.all
    machine.write("agent/words.py", PAY % "NEW")
    graph_only = ("--graph", "agent.flow:graph", "--port", "0", "--database-url", fresh_url)
    second = machine.dev(*graph_only)
    second.until("Still waiting from before.")
    second.decide(pause_id, "approved")
    second.until("● NEW 3")
    assert second.interrupt() == 0, second.all
