"""The parts of the dashboard that need no request: layouts, charts, timelines, words."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

import resumer
from resumer.model import State
from resumer.operator.dashboard import shapes, words
from resumer.operator.dashboard.attempts import Attempts
from resumer.operator.dashboard.attention import matters
from resumer.operator.dashboard.charts import draw
from resumer.operator.dashboard.graph_layout import Edge, lay_out
from resumer.operator.dashboard.list_query import ListQuery
from resumer.operator.dashboard.timelines import timeline
from resumer.operator.views import Bucket, Detail, Event, Held, Latency, Overview, Row, Worker
from resumer.operator.wording import fault

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
ROW = Row(
    pause_id="p",
    state=State.PARKED,
    outcome="parked",
    decision="approved",
    responder="ada",
    agent_id="procurement",
    thread_id="t",
    description="Pay",
    attempts=1,
    reason_code="raised",
    reason="it raised",
    created_at=NOW - timedelta(hours=1),
    asked_at=NOW - timedelta(hours=1),
    received_at=NOW - timedelta(minutes=30),
    finished_at=None,
    next_attempt_at=None,
    expires_at=None,
)


def detail(*events: Event, **row: Any) -> Detail:
    """A pause with these events, all else as little as can be."""
    nothing: dict[str, Any] = dict.fromkeys(Detail.__dataclass_fields__)
    told: dict[str, Any] = {"next_pauses": (), "conflicts": (), "siblings": (), "deliveries": 1}
    return Detail(**{**nothing, **told, "row": replace(ROW, **row), "events": events})


def buckets(*decisions: int, minutes: int = 30) -> list[Bucket]:
    first = NOW - timedelta(minutes=minutes * (len(decisions) - 1))
    return [
        Bucket(first + timedelta(minutes=minutes * at), number, number // 2, 0)
        for at, number in enumerate(decisions)
    ]


NAMES = "abcdefgh"
EDGES = st.lists(
    st.builds(Edge, st.sampled_from(NAMES), st.sampled_from(NAMES), st.booleans()), max_size=20
)


@given(EDGES)
@settings(deadline=None)
def test_every_graph_is_laid_out_without_overlaps(edges: list[Edge]) -> None:
    """Circles, loops and islands: each node once, each edge once, no box over another or outside."""
    drawing = lay_out({name: name * 3 for name in NAMES}, edges)
    assert sorted(box.name for box in drawing.boxes) == sorted(NAMES)
    assert sorted(map(str, edges)) == sorted(str(line.edge) for line in drawing.lines)
    for box in drawing.boxes:
        assert box.x >= 0
        assert box.x + box.width <= drawing.width
        assert box.y + box.height <= drawing.height
    for one, other in combinations(drawing.boxes, 2):
        is_apart = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert is_apart or one.y != other.y


def test_edges_lead_down_unless_they_lead_back() -> None:
    """Each node stands below all that lead to it; a long row of nodes is no trouble."""
    row = [Edge(str(n), str(n + 1)) for n in range(1500)]
    drawing = lay_out({str(n): str(n) for n in range(1501)}, [*row, Edge("9", "3")])
    heights = {box.name: box.y for box in drawing.boxes}
    assert all(heights[edge.source] < heights[edge.target] for edge in row)


def test_an_empty_graph_is_drawn_as_nothing() -> None:
    """No node, no trouble; an edge to a node that is not there is left out."""
    assert lay_out({}, [Edge("a", "b")]).boxes == ()


@pytest.mark.parametrize(
    ("highest", "lines"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (4, [0, 1, 2, 3, 4]),
        (7, [0, 2, 4, 6, 8]),
        (430, [0, 100, 200, 300, 400, 500]),
    ],
)
def test_the_grid_has_round_numbers(highest: int, lines: list[int]) -> None:
    """Few lines, round values, and room for the highest column."""
    chart = draw(buckets(0, highest), NOW)
    assert [value for _, value in chart.lines] == lines


def test_many_buckets_are_joined_at_round_times() -> None:
    """49 half hours become hours, and nothing is lost by it."""
    chart = draw(buckets(*range(49)), NOW)
    assert len(chart.slots) == 25
    assert chart.totals["decisions"] == sum(range(49))
    assert {slot.bucket.start.minute for slot in chart.slots} == {0}


def test_a_single_one_among_thousands_is_seen() -> None:
    """Its column is low, and there."""
    chart = draw(buckets(5000, 1), NOW)
    assert chart.slots[1].bars[0].height >= 3
    assert (
        chart.slots[1].label == "22 Nov 18:00 to 22 Nov 18:00 UTC: 1 decisions, 0 resumes, 0 parked"
    )


def test_a_chart_of_nothing_still_has_its_grid() -> None:
    """No buckets at all: an empty chart, not an error."""
    chart = draw([], NOW)
    assert (chart.slots, chart.totals["parked"]) == ((), 0)


def test_alike_steps_are_folded_with_a_count() -> None:
    """Three deliveries of the same proof in a row are one step, from the first to the last."""
    at = [NOW + timedelta(seconds=s) for s in range(5)]
    again = {"result": "duplicate", "key_id": "k"}
    steps = timeline(
        detail(
            Event(at[0], "delivered", {"result": "accepted"}),
            *(Event(moment, "delivered", again) for moment in at[1:4]),
            Event(at[4], "started", {"attempt": 1}),
        ),
        NOW,
    )
    assert [(step.title, step.times) for step in steps] == [
        ("Asked, hibernated", 1),
        ("Delivered, verified and recorded", 1),
        ("Delivered again", 3),
        ("Resume started, attempt 1", 1),
    ]
    assert (steps[2].until, steps[3].after) == (at[3], 1.0)


def test_events_of_a_later_version_are_still_told() -> None:
    """A name that is not known here is shown as it is, with what it says."""
    [_, step] = timeline(detail(Event(NOW, "teleported_home", {"to": "x"})), NOW)
    assert (step.title, dict(step.facts)) == ("Teleported home", {"to": "x"})


def test_a_pause_from_before_there_were_events_has_a_timeline() -> None:
    """What its record says is enough for delivery and end."""
    steps = timeline(detail(state=State.RESUMED, outcome="resumed", finished_at=NOW), NOW)
    assert [step.title for step in steps] == [
        "Asked, hibernated",
        "Delivered, verified and recorded",
        "Resumed",
    ]


def test_what_comes_next_is_said() -> None:
    """The next attempt of a failed pause, the end of one that waits."""
    soon = NOW + timedelta(minutes=4)
    assert timeline(detail(state=State.FAILED, next_attempt_at=soon), NOW)[-1].is_ahead
    last = timeline(detail(state=State.WAITING, expires_at=soon), NOW)[-1]
    assert (last.title, last.at) == ("Times out, unless somebody answers", soon)


def overview(**changed: Any) -> Overview:
    quiet: dict[str, Any] = {
        "now": NOW,
        "period_hours": 24,
        "counts": dict.fromkeys(State, 0),
        "oldest_unresolved": None,
        "parked_by_reason": {},
        "series": (),
        "latency": Latency(0, None, None, None),
        "workers": (Worker("w", NOW, 0, is_alive=True),),
        "queued": 0,
        "swept_at": NOW,
        "full_sweep_at": NOW,
        "keys": (),
        "refused": {},
        "held": (),
        "agents": (),
    }
    return Overview(**{**quiet, **changed})


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({"workers": ()}, "No worker is running: nothing is resumed. Start `resumer worker`."),
        ({"held": (Held("*", NOW, "ada", None, 0),)}, "Every agent is held: nothing is resumed."),
        ({"counts": {State.PARKED: 1}}, "1 pause needs a person"),
        ({"counts": {State.PARKED: 1200}}, "1,200 pauses need a person"),
        ({"counts": {State.FAILED: 2}}, "2 graphs raised, and will be tried again"),
        ({"held": (Held("a", NOW, "ada", None, 0),)}, "1 agent is held"),
        ({"refused": {"hmac": 2, "ed25519": 1}}, "3 deliveries were not genuine, and refused"),
        ({"swept_at": None}, "The sweep has not run yet: lost webhooks are not found out"),
        ({"swept_at": NOW - timedelta(hours=1)}, "The sweep has not run for more than 10 minutes"),
    ],
)
def test_the_headline_says_what_needs_somebody(changed: dict[str, Any], first: str) -> None:
    """Each trouble by itself heads the overview; without any, nothing does."""
    assert matters(overview(**changed))[0].text == first
    assert matters(overview()) == ()


def test_a_list_is_asked_for_and_asked_for_again() -> None:
    """The query string that a page makes means the same when it comes back."""
    asked = ListQuery.of(QueryParams("state=parked&state=failed&agent=a%26b&text=x+y&age=1h"))
    assert ListQuery.of(QueryParams(asked.first()[1:])) == asked
    wanted = asked.filter(NOW)
    assert (wanted.states, wanted.agent_id, wanted.text) == (
        (State.FAILED, State.PARKED),
        "a&b",
        "x y",
    )
    assert wanted.created_after == NOW - timedelta(hours=1)
    assert asked.without("state").startswith("?agent=")


def test_the_way_back_through_the_pages_is_bounded() -> None:
    """Hundreds of pages on, the address is no longer than after twenty."""
    asked = ListQuery()
    for number in range(300):
        asked = ListQuery.of(QueryParams(asked.older(f"c{number}")[1:]))
    assert asked.trail == tuple(f"c{number}" for number in range(279, 299))
    assert ListQuery.of(QueryParams(asked.newer()[1:])).cursor == "c298"


def test_attempts_are_forgotten_in_time_and_bounded_in_number() -> None:
    """A limited address may try again later; a flood of addresses fills no memory."""
    attempts = Attempts(most=2, period=60, addresses=3)
    for _ in range(2):
        attempts.note("a", 0)
    assert attempts.wait("a", 10) == 50
    assert attempts.wait("a", 61) == 0
    for address in "bcd":
        attempts.note(address, 10)
    assert attempts.wait("a", 10) == 0
    assert len(attempts._failed) == 3


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            "Traceback:\n  File x\nacme.Refused: no\nDuring task with name 'pay' and id '1'",
            "acme.Refused: no",
        ),
        ("Traceback:\n  File x\nKeyError", "KeyError"),
        ("only this text", "only this text"),
        ("", ""),
    ],
)
def test_the_exception_is_found_in_its_traceback(error: str, line: str) -> None:
    """The line that names it, not the notes that libraries add."""
    assert fault(error) == line


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain\n\ttext é 👩🏽‍💻", "plain\n\ttext é 👩🏽‍💻"),
        ("a\u202eb\u2066c\x00d\x1be", "a[U+202E]b[U+2066]c[U+0000]d[U+001B]e"),
        ("zero\u200bwidth", "zero[U+200B]width"),
        ("half \ud800 pair", "half ? pair"),
    ],
)
def test_nothing_hides_in_a_text(text: str, seen: str) -> None:
    """Characters that turn text around or are not seen become readable, others stay."""
    assert words.readable(text) == seen


def test_sentences_are_escaped_before_they_are_marked() -> None:
    """Only what stands between backticks becomes code; markup in it stays text."""
    assert words.marked("run `<b>` & go") == "run <code>&lt;b&gt;</code> &amp; go"


def test_values_are_laid_out_short_ones_first() -> None:
    """Lists of alike are tables with their numbers on the right, nested ones come last."""
    rows = [{"eur": 1, "item": "a"}, {"eur": 2, "item": "b"}]
    assert shapes.is_tabular(rows)
    assert shapes.columns(rows) == ["item", "eur"]
    assert shapes.flat_first({"a": rows, "b": 1}) == [("b", 1), ("a", rows)]
    action = {"type": "t", "description": "d", "details": {"x": 1}}
    assert shapes.besides_heading(action) == {"x": 1}


def test_inbox_and_dashboard_have_the_same_colours() -> None:
    """Both are one product: what the dashboard names like the inbox has the same value."""
    folder = Path(resumer.__file__).parent

    def tokens(path: str) -> list[dict[str, str]]:
        css = (folder / path).read_text(encoding="utf-8")
        blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
        return [dict(re.findall(r"(--[\w-]+): (.*?);", block)) for block in blocks]

    inbox = tokens("emulator/static/inbox.css")
    ours = tokens("operator/dashboard/static/dashboard.css")
    for theirs, mine in zip(inbox, ours, strict=True):
        assert {name: mine.get(name) for name in theirs} == theirs
