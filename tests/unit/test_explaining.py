"""Why is this not resumed? Every state and reason code in words, and what to do about it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import resumer
from resumer.model import State
from resumer.operator.explaining import Explanation, explain, explain_thread, explain_unknown
from resumer.operator.facts import Surroundings
from resumer.operator.reasons import PARKED, POSTPONED
from resumer.operator.views import Conflict, Detail, Event, Held, Row, Worker

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
SOURCES = sorted(Path(resumer.__file__).parent.rglob("*.py"))


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


def detail(state: str, **changed: Any) -> Detail:
    """A pause in this state; `changed` names fields of it or of its row."""
    row = Row(
        pause_id="p1",
        state=State(state),
        outcome=None,
        decision=None if state == "waiting" else "approved",
        responder=None if state == "waiting" else "ada@example.com",
        agent_id="procurement",
        thread_id="t1",
        description="Pay 7 EUR",
        attempts=0,
        reason_code=None,
        reason=None,
        created_at=ago(hours=2),
        asked_at=ago(hours=2),
        received_at=None if state == "waiting" else ago(minutes=5),
        finished_at=None,
        next_attempt_at=None,
        expires_at=NOW + timedelta(hours=22),
    )
    of_row = {name: value for name, value in changed.items() if hasattr(row, name)}
    rest: dict[str, Any] = {name: None for name in Detail.__dataclass_fields__ if name != "row"}
    rest |= {"deliveries": 1, "next_pauses": (), "events": (), "conflicts": (), "siblings": ()}
    rest |= {name: value for name, value in changed.items() if name not in of_row}
    return Detail(row=replace(row, **of_row), **rest)


ALIVE = Worker("worker 1", ago(seconds=3), running=2, is_alive=True)
DEAD = Worker("worker 2", ago(hours=3), running=0, is_alive=False)
HOLD = Held("procurement", ago(minutes=20), "ada", "deploying", running=0)
WORKING = Surroundings((ALIVE, DEAD), (), queued=7)


def codes_in_the_code() -> Iterator[tuple[str, str]]:
    """(what it is made by, code) of every reason that the rules and their helpers can give."""
    for source in SOURCES:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        names = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if (
                not isinstance(node, ast.Call)
                or not isinstance(node.func, ast.Name)
                or not node.args
            ):
                continue
            if node.func.id in ("Parked", "Postponed", "patience_for"):
                first = node.args[0]
                code = first.value if isinstance(first, ast.Constant) else names.get(_name(first))
                if code is None and _name(first) in ("code", "HELD"):
                    continue  # handed on, or the one that is tested by name below
                assert isinstance(code, str), f"{source}: {ast.unparse(node)} gives no code to read"
                yield node.func.id, code


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def test_every_reason_of_the_code_base_has_words() -> None:
    """A code that is new in the rules is explained, or this fails."""
    found = set(codes_in_the_code())
    parked = {code for made, code in found if made in ("Parked", "patience_for")}
    postponed = {code for made, code in found if made in ("Postponed", "patience_for")}
    assert {"early", "no_node", "two_gates", "not_advanced", "no_gate"} <= parked
    assert {"early", "busy", "hidden", "unsettled", "transient"} <= postponed
    assert parked == set(PARKED)
    assert postponed | {"held", "raised"} == set(POSTPONED)


EVERY = [("parked", code) for code in PARKED] + [("answered", code) for code in POSTPONED]


@pytest.mark.parametrize(("state", "code"), EVERY)
def test_each_reason_says_what_it_is_and_what_to_do(state: str, code: str) -> None:
    """In sentences, with the stored reason and its code among the facts."""
    told = explain(detail(state, reason_code=code, reason="as stored"), NOW, WORKING)
    for text in (told.headline, told.paragraph, told.advice):
        assert re.fullmatch(r"[A-Z`].*[.]", text, re.DOTALL), text
        assert "{" not in text
        assert "  " not in text
    assert facts(told)["reason code"] == code
    assert facts(told)["reason"] == "as stored"
    assert all("p1" in command for command in told.commands if "retry" in command)
    if state == "parked":
        assert told.commands, "whoever must act is told what to type"


def facts(told: Explanation) -> dict[str, str]:
    return {fact.name: fact.text for fact in told.facts}


CASES = [
    ("waiting", {}, WORKING, "Nobody has answered yet."),
    ("waiting", {"expires_at": ago(minutes=3)}, WORKING, "Its time is up, and no answer has come."),
    ("waiting", {"expires_at": None}, Surroundings(), "Nobody has answered yet."),
    ("waiting", {}, Surroundings((DEAD,)), "Nobody has answered, and no worker looks."),
    ("answered", {}, Surroundings(()), "No worker lives."),
    ("answered", {}, Surroundings(), "It waits for a worker to be free."),
    ("answered", {}, WORKING, "It waits for a worker to be free."),
    ("answered", {"received_at": ago(seconds=2)}, WORKING, "It is just about to be resumed."),
    ("answered", {}, replace(WORKING, held=(HOLD,)), "Its agent is held."),
    ("failed", {}, replace(WORKING, held=(replace(HOLD, agent_id="*"),)), "Its agent is held."),
    ("resuming", {}, replace(WORKING, held=(HOLD,)), "A worker runs it now."),
    ("resuming", {"reason_code": "busy"}, WORKING, "A worker runs it now."),
    ("resuming", {}, Surroundings((DEAD,)), "No worker lives."),
    (
        "resuming",
        {"reason_code": "transient", "next_attempt_at": NOW},
        WORKING,
        "The database or the network failed while it ran.",
    ),
    ("failed", {"reason_code": "raised"}, WORKING, "The graph raised, and is tried again."),
    ("failed", {"reason_code": "raised"}, Surroundings((DEAD,)), "No worker lives."),
    ("parked", {"reason_code": "raised"}, Surroundings((DEAD,)), "The graph kept raising."),
    (
        "parked",
        {"reason_code": "of_a_later_version"},
        WORKING,
        "It waits for a reason that this version does not know.",
    ),
    (
        "resumed",
        {"outcome": "resumed"},
        WORKING,
        "It was resumed, and the thread has finished.",
    ),
    (
        "resumed",
        {"outcome": "resumed", "next_pauses": ("p2", "p3")},
        WORKING,
        "It was resumed, and its thread asks again.",
    ),
    ("resumed", {"outcome": "already_resumed"}, WORKING, "It had gone on without us."),
    ("discarded", {}, WORKING, "It was discarded: nothing more is done."),
]


@pytest.mark.parametrize(("state", "changed", "around", "headline"), CASES)
def test_each_state_in_a_sentence(
    state: str, changed: dict[str, Any], around: Surroundings, headline: str
) -> None:
    """What is known beside the pause decides, too: workers that live, agents that are held."""
    told = explain(detail(state, **changed), NOW, around)
    assert told.headline == headline
    assert told.paragraph.endswith(".")
    assert told.advice.endswith(".")


def test_every_state_is_among_them() -> None:
    """A state that is new has words."""
    assert {state for state, *_ in CASES} == {str(state) for state in State}


def test_the_next_pauses_can_be_asked_about() -> None:
    """An id is quoted where a shell would take it apart."""
    told = explain(detail("resumed", outcome="resumed", next_pauses=("p2", "it's 3")), NOW)
    assert told.commands == ("resumer explain p2", "resumer explain 'it'\"'\"'s 3'")
    told = explain(replace_id(detail("parked", reason_code="raised"), "a; rm"), NOW)
    assert told.commands == ("resumer retry 'a; rm'",)


def test_what_is_released_is_what_is_held() -> None:
    """The agent's own hold, or that on all of them; none known, the agent's."""
    held = detail("answered", reason_code="held")
    everything = Surroundings((ALIVE,), (replace(HOLD, agent_id="*"),))
    assert explain(held, NOW).commands == ("resumer release procurement",)
    assert explain(held, NOW, everything).commands == ("resumer release '*'",)


def replace_id(pause: Detail, pause_id: str) -> Detail:
    return replace(pause, row=replace(pause.row, pause_id=pause_id))


def test_who_discarded_it_and_why() -> None:
    """The last one, should it have been taken up between."""
    events = (
        Event(ago(hours=1), "discarded", {"by": "bob"}),
        Event(ago(minutes=1), "discarded", {"by": "ada", "reason": "paid by hand"}),
    )
    told = explain(detail("discarded", events=events), NOW)
    assert "ada decided" in told.paragraph
    assert "(paid by hand)" in told.paragraph


def test_the_agent_is_named_where_it_has_a_name() -> None:
    """Gates of 0.1.0 give none."""
    told = explain(detail("parked", reason_code="no_graph"), NOW)
    assert "The thread asked as agent procurement" in told.paragraph
    told = explain(detail("parked", reason_code="no_graph", agent_id=None), NOW)
    assert "asked as an agent that gave no name" in told.paragraph
    braces = explain(detail("parked", reason_code="no_graph", agent_id="{pause} {0}"), NOW)
    assert "agent {pause} {0}" in braces.paragraph


def test_the_facts_of_one_that_failed() -> None:
    """What an operator looks for first, in the order in which it happened."""
    pause = detail(
        "failed",
        reason_code="raised",
        reason="ValueError: 7",
        attempts=2,
        error="Traceback ...\n  at\nValueError: 7\n",
        next_attempt_at=NOW + timedelta(minutes=10),
        started_at=ago(minutes=4),
        deliveries=3,
        conflicts=(Conflict("rejected", "bob", ago(minutes=1), 1),),
    )
    told = explain(pause, NOW, replace(WORKING, held=(HOLD,)))
    assert facts(told) == {
        "pause": "p1",
        "state": "failed",
        "asked": "Pay 7 EUR",
        "agent": "procurement",
        "thread": "t1",
        "hibernates since": "2026-11-22 01:00:00 UTC, 2 h ago",
        "expires": "2026-11-23 01:00:00 UTC, in 22 h",
        "decision": "approved by ada@example.com",
        "delivered": "2026-11-22 02:55:00 UTC, 5 min ago, 3 times",
        "other answers": "1 that say something else: never applied",
        "first resumed": "2026-11-22 02:56:00 UTC, 4 min ago",
        "times it raised": "2",
        "reason code": "raised",
        "reason": "ValueError: 7",
        "looked at again": "in 10 min",
        "last error": "ValueError: 7",
        "workers alive": "1",
        "in the queue": "7",
        "held": "by ada, 20 min ago: deploying",
    }


def test_what_looppause_said_last_of_one_that_waits() -> None:
    """A question that LoopPause has no usable answer to is not just waiting."""
    told = explain(detail("waiting", reason="LoopPause has no usable answer: 404"), NOW, WORKING)
    assert "At the last look: LoopPause has no usable answer: 404." in told.paragraph
    assert facts(explain(detail("waiting", expires_at=ago(hours=1)), NOW))["expired"].endswith(
        "1 h ago"
    )


def test_a_thread_waits_for_what_is_stuck_first() -> None:
    """Of several pauses the one that a person has to see to, else the oldest."""
    waiting, parked = detail("waiting"), detail("parked", reason_code="raised")
    told = explain_thread("t1", [waiting, replace_id(parked, "p2")], NOW, WORKING)
    assert told == explain(replace_id(parked, "p2"), NOW, WORKING)
    older = detail("waiting", created_at=ago(hours=9))
    assert explain_thread("t1", [waiting, older], NOW) == explain(older, NOW)
    first = detail("resumed", outcome="resumed", finished_at=ago(hours=2))
    last = detail("resumed", outcome="resumed", finished_at=ago(hours=1), next_pauses=("p9",))
    assert explain_thread("t1", [last, first], NOW) == explain(last, NOW)


def test_what_nothing_is_known_of() -> None:
    """A pause or thread that was never seen: how it would have been, and where to look."""
    for told in (explain_unknown("p9"), explain_thread("t9", [], NOW)):
        assert told.headline.startswith("Nothing is known")
        assert "resumer doctor" in told.commands
        assert "'p9'" in told.paragraph or "'t9'" in told.paragraph
