"""Deliveries that come several times, at once, out of order, too early, or from a forger."""

from __future__ import annotations

import asyncio

import pytest

from .harness import World

pytestmark = pytest.mark.faults


async def test_each_proof_five_times_at_once(world: World) -> None:
    """Five copies of each proof, shuffled over two web replicas, resume once."""
    webs = [await world.start("web"), await world.start("web")]
    await world.start("worker")
    await world.start("worker")
    threads = await world.hibernate_many(12)
    proofs = [world.decide(thread) for thread in threads] * 5
    world.random.shuffle(proofs)
    sent = [world.deliver(proof, webs[n % 2]) for n, proof in enumerate(proofs)]
    answers = await asyncio.gather(*sent)
    assert sorted(answer.status or 0 for answer in answers) == [200] * 48 + [202] * 12
    assert {answer.result for answer in answers} == {"accepted", "duplicate"}
    await world.kept()
