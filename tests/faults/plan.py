"""What the long run does, chosen from a seed before anything starts."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["FAULTS", "Answer", "ThreadPlan", "faults", "threads"]

How = Literal["once", "five", "lost", "expired", "attacked", "conflict"]
Fault = Literal[
    "kill worker", "kill web", "stall worker", "crash database", "cut connections", "cut lock",
    "rolling restart",
]  # fmt: skip

GATES = {"pay": 1, "twice": 2, "three": 3, "fan": 3, "beside": 1}
KINDS = ("pay", "pay", "pay", "pay", "twice", "twice", "three", "fan", "fan", "beside")
DURABILITIES = ("sync", "async", "exit")
ENOUGH_TO_PARK = 6

# One block of process faults; each block is shuffled, so that every fault comes soon and often.
FAULTS: tuple[Fault, ...] = (
    *("kill worker",) * 4,
    *("cut connections",) * 4,
    *("kill web",) * 2,
    *("stall worker",) * 2,
    *("cut lock",) * 2,
    "crash database",
    "rolling restart",
)


@dataclass(frozen=True)
class Answer:
    """What a person says about one pause, and how it travels. `delay` is seconds."""

    decision: Literal["approved", "rejected"] = "approved"
    human: bool = True
    how: How = "once"
    delay: float = 0.0


@dataclass(frozen=True)
class ThreadPlan:
    """One thread: what its agent is given and what becomes of each of its pauses.

    `early` is how long before hibernation the first answer comes, in seconds, 0 for after it;
    `at_once` whether all its pauses are answered in the same moment.
    """

    thread_id: str
    kind: str
    durability: str
    answers: tuple[Answer, ...]
    state: dict[str, Any] = field(default_factory=dict)
    early: float = 0.0
    at_once: bool = True

    @property
    def parks(self) -> bool:
        """Whether its graph raises more often than the policy bears."""
        return bool(self.state.get("raises", 0) >= ENOUGH_TO_PARK)


def threads(seed: int, count: int) -> list[ThreadPlan]:
    """The threads of this seed."""
    chance = random.Random(f"threads {seed}")
    return [_thread(chance) for _ in range(count)]


def faults(seed: int) -> Iterator[tuple[Fault, random.Random]]:
    """The process faults of this seed, without end; each with the chance it is to use."""
    chance = random.Random(f"faults {seed}")
    while True:
        for fault in chance.sample(FAULTS, len(FAULTS)):
            yield fault, random.Random(chance.random())


def _thread(chance: random.Random) -> ThreadPlan:
    kind = chance.choice(KINDS)
    early = chance.uniform(0.2, 3.0) if kind != "beside" and chance.random() < 0.1 else 0.0
    answers = tuple(_answer(chance) for _ in range(GATES[kind]))
    if early:
        answers = (Answer(how=chance.choice(("once", "five"))), *answers[1:])
    return ThreadPlan(
        thread_id=f"{kind}-{uuid.UUID(int=chance.getrandbits(128)).hex[:12]}",
        kind=kind,
        durability=chance.choice(DURABILITIES),
        answers=answers,
        state=_state(chance, kind),
        early=early,
        at_once=chance.random() < 0.7,
    )


def _state(chance: random.Random, kind: str) -> dict[str, Any]:
    state: dict[str, Any] = {"slow": round(chance.choice((0.0, 0.05, 0.2, 0.6)), 2)}
    state["asking"] = chance.choice((0.0, 0.0, 0.05))
    if kind == "beside":
        state["beside"] = round(chance.uniform(0.3, 2.0), 2)
    if kind in ("pay", "twice") and chance.random() < 0.15:
        state["raises"] = chance.choice((1, 1, 2, 2, ENOUGH_TO_PARK))
    return state


def _answer(chance: random.Random) -> Answer:
    how: How = chance.choices(
        ("once", "five", "lost", "expired", "attacked", "conflict"), (20, 35, 20, 7, 10, 8)
    )[0]
    rejected = how in ("attacked", "conflict") or chance.random() < 0.1
    return Answer(
        decision="rejected" if rejected else "approved",
        human=rejected or chance.random() > 0.05,
        how=how,
        delay=round(chance.choice((0.0, 0.0, 0.3, 1.5)), 2),
    )
