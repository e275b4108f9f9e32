"""Deliveries that come several times, at once, out of order, too early, or from a forger."""

from __future__ import annotations

import asyncio

import pytest

from .harness import World
from .looppause import forgeries

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


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_proof_before_hibernation(world: World, durability: str) -> None:
    """A decision that comes before the interrupt is stored waits for it, however it is stored."""
    await world.start("web")
    await world.start("worker")
    thread = world.new_thread("pay")
    async with world.database.hold("interrupt", thread.thread_id) as hold:
        running = asyncio.create_task(world.run(thread, durability=durability))
        pause_id = await world.next_pause(thread, after=0)
        assert (await world.insist(world.decide(thread, pause_id))).result == "accepted"
        await hold.reached()
        await asyncio.sleep(1.5)
        assert await _reason(world, pause_id) == "no thread has hibernated at this pause yet"
    await running
    await world.kept(within=5)


async def test_proof_between_the_interrupt_and_its_checkpoint(world: World) -> None:
    """With `async` durability the interrupt is visible first: resuming then would start over."""
    await world.start("web")
    await world.start("worker")
    thread = world.new_thread("pay")
    async with world.database.hold("checkpoint", thread.thread_id) as hold:
        running = asyncio.create_task(world.run(thread, durability="async"))
        pause_id = await world.next_pause(thread, after=0)
        await hold.reached()
        await world.insist(world.decide(thread, pause_id))
        await asyncio.sleep(1.5)
        assert not await world.database.rows("select 1 from faults.ledger")
        assert (await _state(world, pause_id)) == "answered"
    await running
    await world.kept(within=10)


async def test_forged_foreign_tampered_replayed_and_fallback(world: World) -> None:
    """Nothing that is not a person's approval of this very pause pays."""
    await world.start("web")
    await world.start("worker")
    kinds = ("pay", "twice", "three", "fan", "beside")
    victims = [await world.hibernate(kind) for kind in kinds]
    genuine = await world.hibernate()
    approval = world.decide(genuine)
    await world.insist(approval)
    for victim in victims:
        pause_id = world.pauses(victim)[0]
        rejection = world.decide(victim, pause_id, "rejected")
        for status, message in forgeries(pause_id, approval, rejection):
            assert (await world.deliver(message)).status == status
        assert (await world.insist(rejection)).status == 202
    fallback = await world.hibernate()
    await world.insist(world.decide(fallback, authorization_type="system_fallback"))
    replayed = await world.deliver(approval)
    assert (replayed.status, replayed.result) == (200, "duplicate")
    verdict = await world.kept()
    assert verdict.executed == 3  # one payment, its notice, and the sibling of `beside`


async def test_a_second_different_decision_is_kept_aside(world: World) -> None:
    """The first decision stands; the other is stored for people and opens nothing."""
    await world.start("web")
    await world.start("worker")
    thread = await world.hibernate()
    rejection = world.decide(thread, decision="rejected")
    unsigned = {**rejection, "decision": "approved", "responder": "bob@example.com"}
    approval = world.looppause.fake.sign(unsigned)
    assert (await world.insist(rejection)).result == "accepted"
    assert (await world.deliver(approval)).result == "conflict"
    verdict = await world.kept()
    assert verdict.executed == 0
    assert await world.database.value("select count(*) from resumer.conflicts") == 1


async def _reason(world: World, pause_id: str) -> str:
    query = "select reason from resumer.pauses where pause_id = %s"
    return str(await world.database.value(query, (pause_id,)))


async def _state(world: World, pause_id: str) -> str:
    query = "select state from resumer.pauses where pause_id = %s"
    return str(await world.database.value(query, (pause_id,)))
