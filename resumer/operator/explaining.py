"""Why is this not resumed? Facts in, plain words out: no database, no clock of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from resumer.model import State

from .facts import EVERY_AGENT, NOTHING_ELSE, Fact, Surroundings, facts_of
from .reasons import DOCTOR, PARKED, POSTPONED, SWEEP, WORK, Words
from .views import Detail
from .wording import ago, command

__all__ = [
    "Explanation",
    "Surroundings",
    "explain",
    "explain_pruned",
    "explain_thread",
    "explain_unknown",
]

SOON_SECONDS = 30.0


@dataclass(frozen=True)
class Explanation:
    """The answer in one sentence, why it is so, and what to do about it.

    `facts` are what is known of it; `commands` are what to type, ready to be pasted.
    """

    headline: str
    paragraph: str
    advice: str
    commands: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()


def explain(detail: Detail, now: datetime, around: Surroundings = NOTHING_ELSE) -> Explanation:
    """Why this pause is where it is, and what makes it move."""
    words = _words(detail, now, around)
    row = detail.row
    agent = f"agent {row.agent_id}" if row.agent_id else "an agent that gave no name"
    hold = around.hold_on(row.agent_id)
    names = {
        "{pause}": row.pause_id,
        "{held}": hold.agent_id if hold else row.agent_id or EVERY_AGENT,
    }
    return Explanation(
        words.headline,
        words.paragraph.replace("{agent}", agent),
        words.advice,
        tuple(_command(each, names) for each in words.commands),
        facts_of(detail, now, around),
    )


def explain_thread(
    thread_id: str,
    pauses: Sequence[Detail],
    now: datetime,
    around: Surroundings = NOTHING_ELSE,
) -> Explanation:
    """Why a thread is not resumed: what its first unfinished pause waits for."""
    if not pauses:
        return Explanation(
            "Nothing is known of this thread.",
            f"No pause of a thread {thread_id!r} has been answered or seen waiting. A worker's "
            "sweep sees a thread within a minute of its hibernating, and without a worker none "
            "is seen. A thread that asks nobody has no pause.",
            "See that the id is right, that the agent's process has come to its gate, and that it "
            "writes to the database that RESUMER_CHECKPOINT_URL names.",
            (_command(SWEEP), _command(DOCTOR)),
        )
    open_ones = [pause for pause in pauses if pause.row.state not in _OVER]
    if not open_ones:
        last = max(pauses, key=lambda pause: pause.row.finished_at or pause.row.created_at)
        return explain(last, now, around)
    return explain(min(open_ones, key=_urgency), now, around)


def explain_pruned(pause_id: str, pruned_on: date) -> Explanation:
    """The pause had ended, and its record was pruned."""
    return Explanation(
        "The pause had ended, and was pruned.",
        f"{pause_id!r} was resumed or discarded, and its record was pruned on {pruned_on}. Its "
        "answer is still known: should it come again, it resumes nothing.",
        "Look for it in the files in RESUMER_AUDIT_DIR, or in the one that `resumer prune` wrote.",
        (),
    )


def explain_unknown(pause_id: str) -> Explanation:
    """Nothing has been seen of this pause."""
    return Explanation(
        "Nothing is known of this pause.",
        f"No delivery for {pause_id!r} has come, and no thread has been seen that hibernates at "
        "it. Threads are seen by a worker's sweep, within a minute; deliveries come to "
        "/webhooks/looppause.",
        "See that the id is right, that the gate's webhook_url leads here, and that the sweep has "
        "LOOPPAUSE_API_KEY: then a lost delivery is fetched.",
        (_command(SWEEP), _command(DOCTOR)),
    )


_OVER = (State.RESUMED, State.DISCARDED)
_RANKS = (
    State.PARKED,
    State.FAILED,
    State.RESUMING,
    State.ANSWERED,
    State.WAITING,
)


def _urgency(pause: Detail) -> tuple[int, datetime]:
    return _RANKS.index(pause.row.state), pause.row.created_at


def _words(detail: Detail, now: datetime, around: Surroundings) -> Words:
    match detail.row.state:
        case State.WAITING:
            return _waiting(detail, now, around)
        case State.RESUMED:
            return _resumed(detail)
        case State.DISCARDED:
            return _discarded(detail)
        case State.PARKED:
            return _coded(PARKED, detail)
    return _unfinished(detail, now, around)


def _waiting(detail: Detail, now: datetime, around: Surroundings) -> Words:
    row = detail.row
    if around.nobody_works:
        return Words(
            "Nobody has answered, and no worker looks.",
            "The thread hibernates and waits for a person. Answers are still taken in, but without "
            "a worker nothing is resumed, and nobody asks LoopPause for answers that were lost.",
            "Start a worker.",
            (WORK,),
        )
    if row.expires_at is not None and row.expires_at < now:
        return Words(
            "Its time is up, and no answer has come.",
            f"The question expired {ago(row.expires_at, now)}. The sweep asks LoopPause how it "
            "ended and takes the thread up with a denial, which is never an approval."
            + _trouble(detail),
            "Nothing has to be done, if the workers have LOOPPAUSE_API_KEY: without it expiries "
            "are never found out.",
            (SWEEP, DOCTOR),
        )
    return Words(
        "Nobody has answered yet.",
        "The thread hibernates and costs nothing. It goes on when a person answers; should the "
        "delivery be lost, the sweep asks LoopPause for the answer." + _trouble(detail),
        "Remind whoever was asked. If they have answered already, see that the gate's webhook_url "
        "leads to this receiver.",
        (SWEEP, DOCTOR),
    )


def _trouble(detail: Detail) -> str:
    return f" At the last look: {detail.row.reason}." if detail.row.reason else ""


def _resumed(detail: Detail) -> Words:
    row = detail.row
    if row.outcome == "already_resumed":
        return Words(
            "It had gone on without us.",
            "When its turn came there was nothing left to do: "
            f"{row.reason or 'the thread had moved on'}. Nothing was run a second time.",
            "Nothing has to be done.",
        )
    if detail.next_pauses:
        return Words(
            "It was resumed, and its thread asks again.",
            f"The answer ({row.decision}) was handed to its gate, and the thread ran to its next: "
            f"it hibernates at {' and '.join(detail.next_pauses)}.",
            "If it seems stuck, ask about that pause.",
            tuple(("resumer", "explain", name) for name in detail.next_pauses),
        )
    return Words(
        "It was resumed, and the thread has finished.",
        f"The answer ({row.decision}) was handed to its gate, and the run came to its end. What a "
        "graph does after a denial is the graph's own affair.",
        "Nothing has to be done.",
    )


def _discarded(detail: Detail) -> Words:
    told = [event.detail for event in detail.events if event.name == "discarded"] or [{}]
    by, reason = told[-1].get("by", "Somebody"), told[-1].get("reason")
    return Words(
        "It was discarded: nothing more is done.",
        f"{by} decided that this answer is not handed on"
        + (f" ({reason})" if reason else "")
        + ". The proof is kept; the thread, if there is one, still hibernates.",
        "To have it go on after all, resume the thread by hand.",
    )


def _unfinished(detail: Detail, now: datetime, around: Surroundings) -> Words:
    """Answered, and neither resumed nor given up."""
    row = detail.row
    if around.nobody_works:
        return _NO_WORKER
    if row.state is not State.RESUMING and around.hold_on(row.agent_id):
        return POSTPONED["held"]
    if row.state is State.RESUMING and row.next_attempt_at is None:
        return _RUNNING
    if row.reason_code is not None:
        return _coded(POSTPONED, detail)
    waited = (now - row.received_at).total_seconds() if row.received_at else 0.0
    return _NEXT if waited < SOON_SECONDS else _QUEUED


def _coded(known: Mapping[str, Words], detail: Detail) -> Words:
    """The words for the code; for one of a later version, what is stored with it."""
    row = detail.row
    return known.get(row.reason_code or "") or Words(
        "It waits for a reason that this version does not know.",
        f"What is stored with it: {row.reason or row.reason_code or 'nothing'}.",
        "Use the `resumer` of the version that the workers run.",
    )


def _command(words: Sequence[str], names: Mapping[str, str] | None = None) -> str:
    return command(*((names or {}).get(word, word) for word in words))


_NO_WORKER = Words(
    "No worker lives.",
    "The answer is recorded and nothing is lost, but nobody resumes: no worker has given a sign of "
    "life lately. What a dead worker had begun goes on from its last checkpoint.",
    "Start a worker. It takes up everything that waits.",
    (WORK, DOCTOR),
)
_RUNNING = Words(
    "A worker runs it now.",
    "The answer was handed to the gate and the thread is on its way to its end or its next gate. "
    "However long that takes, no other worker begins it meanwhile; should this one die, another "
    "goes on from the last checkpoint.",
    "Nothing has to be done, unless it takes longer than the graph should: then look at what its "
    "node waits for.",
)
_NEXT = Words(
    "It is just about to be resumed.",
    "The answer is recorded, and a worker takes it up within moments.",
    "Nothing has to be done.",
)
_QUEUED = Words(
    "It waits for a worker to be free.",
    "The answer is recorded and enqueued, and the workers that live are busy with others: each "
    "resumes RESUMER_CONCURRENCY threads at a time.",
    "If the queue does not get shorter, start more workers or give them more concurrency.",
    (DOCTOR,),
)
