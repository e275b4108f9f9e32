"""Threads of a real LangGraph server are resumed as those of our own are."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import httpx
import pytest

from looppause_sdk.testing import sign_proof
from resumer.commands.doctor.servers import check_servers
from resumer.commands.doctor.subject import subject_from
from resumer.remote.server import Server
from resumer.remote.sightings import Sightings
from resumer.serving import serving
from tests.faults.nursery import run_module
from tests.integration.conftest import until
from tests.remote.conftest import Desk
from tests.remote.server import KEY, AgentServer

# The first test installs and starts the server.
pytestmark = pytest.mark.timeout(240)
LONG = 30.0


async def test_a_proof_resumes_the_thread_on_its_server(desk: Desk) -> None:
    """One proof, one run on the server, which runs to its end; the outcome is stored."""
    receiver, (thread, pause_id) = await desk.serving(), desk.hibernating()

    assert (await desk.deliver(receiver, desk.looppause.decide(pause_id))).status_code == 202
    record = await desk.until_state(pause_id, "resumed", "parked", seconds=LONG)
    assert (record["state"], record["outcome"], record["reason"]) == ("resumed", "resumed", None)
    assert (record["agent_id"], record["thread_id"]) == ("payer", thread.thread_id)
    assert record["action"]["description"] == "pay 7"
    assert (await thread.values())["done"] == ["paid"]
    assert desk.server.lines("paid").count(pause_id) == 1


async def test_the_example_goes_from_webhook_to_refund(desk: Desk) -> None:
    """`examples/remote_agent` on the server, a receiver on a port, a signed webhook between."""
    receiver = await desk.receiver({"refunds": f"{desk.server.url}#refunds"}, remote_key=KEY)
    thread = desk.thread("refunds")
    order = {"number": 4711, "amount": 12.5, "currency": "EUR"}
    [pause_id] = await thread.ask(order=order)
    proof = desk.looppause.decide(pause_id, fields={"note": "für Müller", "share": 0.1})
    async with serving(receiver.app, lifespan="off") as address, httpx.AsyncClient() as http:
        answer = await http.post(f"{address}/webhooks/looppause", json=proof)
    assert answer.status_code == 202
    await desk.until_state(pause_id, "resumed", seconds=LONG)
    approved = "REFUNDED order 4711, approved by alice@example.com"
    assert (await thread.values())["result"] == approved


async def test_many_copies_on_many_replicas_run_once(desk: Desk) -> None:
    """Sixty deliveries over three receivers with workers: one payment, one run."""
    receivers = [await desk.serving() for _ in range(3)]
    thread, pause_id = desk.hibernating()
    proof = desk.looppause.decide(pause_id)

    answers = await asyncio.gather(
        *(desk.deliver(receivers[number % 3], proof) for number in range(60))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 59 + [202]
    await desk.until_state(pause_id, "resumed", seconds=LONG)
    assert desk.server.lines("paid").count(pause_id) == 1
    assert len(await thread.runs()) == 2


async def test_a_rejection_closes_the_gate(desk: Desk) -> None:
    """The thread runs to its end, and nothing is paid."""
    receiver, (thread, pause_id) = await desk.serving(), desk.hibernating()
    await desk.deliver(receiver, desk.looppause.decide(pause_id, "rejected"))
    await desk.until_state(pause_id, "resumed", seconds=LONG)
    assert (await thread.values())["looppause"]["halt_reason"] == "rejected"
    assert pause_id not in desk.server.lines("paid")


async def test_forged_proofs_leave_the_thread_to_the_genuine_one(desk: Desk) -> None:
    """One is refused here, one by the gate on its server; then the genuine one resumes."""
    receiver, (thread, pause_id) = await desk.serving(), desk.hibernating()
    forged = {
        "pause_id": pause_id,
        "decision": "approved",
        "authorization_type": "human",
        "human_response": True,
        "signature": "0" * 64,
    }
    assert (await desk.deliver(receiver, forged)).status_code == 401

    [interrupt] = (await thread.client.threads.get_state(thread.thread_id))["interrupts"]
    run = await thread.client.runs.create(
        thread.thread_id, "paying", command={"resume": {interrupt["id"]: forged}}
    )
    await thread.client.runs.join(thread.thread_id, run["run_id"])
    assert await thread.status() == "error"  # where the server does not list its interrupts

    await desk.deliver(receiver, desk.looppause.decide(pause_id))
    await desk.until_state(pause_id, "resumed", seconds=LONG)
    assert desk.server.lines("paid").count(pause_id) == 1


async def test_an_early_proof_waits_for_its_thread(desk: Desk) -> None:
    """A branch beside the gate still runs: its run is waited for, and nothing runs twice."""
    receiver, thread = await desk.serving("beside"), desk.thread("beside")
    desk.server.hold("beside")
    seen = {document["pause_id"] for document in desk.looppause.documents()}
    await thread.start(amount=1234, held="beside")

    async def asked() -> Any:
        return [d["pause_id"] for d in desk.looppause.documents() if d["pause_id"] not in seen]

    [pause_id] = await until(asked, seconds=LONG)
    await desk.deliver(receiver, desk.looppause.decide(pause_id))
    await desk.reason(pause_id, "early")
    desk.server.release("beside")
    await desk.until_state(pause_id, "resumed", seconds=LONG)
    assert desk.server.lines("looked_up").count("1234") == 1


async def test_two_gates_in_one_step_are_answered_one_by_one(desk: Desk) -> None:
    """Both proofs at once: each opens its own gate, and the node behind runs once."""
    receiver, thread = await desk.serving("both"), desk.thread("both")
    pauses = await thread.ask(amount=7)
    assert len(pauses) == 2
    proofs = [desk.looppause.decide(pause_id) for pause_id in pauses]
    await asyncio.gather(*(desk.deliver(receiver, proof) for proof in proofs))
    records = [await desk.until_state(pause_id, "resumed", seconds=LONG) for pause_id in pauses]
    assert {record["outcome"] for record in records} == {"resumed"}
    assert sum(desk.server.lines("paid").count(pause_id) for pause_id in pauses) == 1


async def test_a_lost_webhook_and_an_expiry_are_found_by_the_sweep(desk: Desk) -> None:
    """What LoopPause knows of threads on the server is fetched: an approval, and an expiry."""
    (approved, to_pay), (expired, to_deny) = desk.hibernating(), desk.hibernating()
    await desk.serving(reconcile_seconds=1.0, api_key="any", api_url=desk.looppause_url)
    for pause_id in (to_pay, to_deny):
        record = await desk.until_state(pause_id, "waiting", seconds=LONG)
        assert (record["agent_id"], record["action"]["type"]) == ("payer", "pay")

    desk.looppause.decide(to_pay)
    desk.looppause.expire(to_deny)

    async def resumed() -> bool:
        # A sweep that asked just before the answers were there has put the next time off.
        await desk.rows("update pauses set next_check_at = now() where state = 'waiting'")
        records = [await desk.pause(pause_id) for pause_id in (to_pay, to_deny)]
        return all(record and record["state"] == "resumed" for record in records)

    await until(resumed, seconds=LONG)
    assert [(await each.values())["done"] for each in (approved, expired)] == [["paid"], []]


async def test_a_node_that_raises_is_run_again_and_the_gate_is_not(desk: Desk) -> None:
    """The first run ends with an error, the next goes on from the failing node."""
    receiver, thread = await desk.serving(), desk.thread()
    [pause_id] = await thread.ask(amount=7, fails=1)
    await desk.deliver(receiver, desk.looppause.decide(pause_id))
    await desk.until_state(pause_id, "resumed", seconds=LONG)

    events = await desk.rows(
        "select event, detail from events where pause_id = %s order by id", pause_id
    )
    assert [row["event"] for row in events] == [
        "delivered",
        "started",
        "failed",
        "started",
        "resumed",
    ]
    assert "the bank is closed" in events[2]["detail"]["reason"]
    assert desk.server.lines("begun").count(pause_id) == 2
    assert desk.server.lines("paid").count(pause_id) == 1


async def test_a_gate_with_other_keys_refuses_and_consumes_nothing(desk: Desk) -> None:
    """The receiver takes a proof that the gate on the server does not: it is parked as refused."""
    receiver = await desk.serving(signing_secrets=["another secret", desk.looppause.secret])
    thread, pause_id = desk.hibernating()
    ours = {"pause_id": pause_id, "decision": "approved", "authorization_type": "human"}
    proof = sign_proof({**ours, "human_response": True}, secret="another secret")
    await desk.deliver(receiver, proof)
    record = await desk.until_state(pause_id, "parked", seconds=LONG)
    assert record["reason_code"] == "refused"
    assert await thread.pauses() == [pause_id]


async def test_a_run_that_somebody_cancels_is_theirs_to_decide(desk: Desk) -> None:
    """It is parked; a retry goes on from where it stopped."""
    receiver, (thread, pause_id) = await desk.serving(), desk.hibernating()
    desk.server.hold(thread.thread_id)
    await desk.deliver(receiver, desk.looppause.decide(pause_id))
    await until(lambda: _begun(desk.server, pause_id), seconds=LONG)
    run = (await thread.runs())[0]
    await thread.client.runs.cancel(thread.thread_id, run["run_id"])
    desk.server.release(thread.thread_id)

    record = await desk.until_state(pause_id, "parked", seconds=LONG)
    assert record["reason_code"] == "cancelled_there"
    assert await receiver.retry([pause_id]) == [pause_id]
    await desk.until_state(pause_id, "resumed", seconds=LONG)
    assert (await thread.values())["done"] == ["paid"]


async def test_somebody_elses_run_is_waited_for(desk: Desk) -> None:
    """A run that a person started on the thread is not run into; the thread is theirs after."""
    receiver, (thread, pause_id) = await desk.serving(), desk.hibernating()
    desk.server.hold(thread.thread_id)
    proof = desk.looppause.decide(pause_id)
    [interrupt] = (await thread.client.threads.get_state(thread.thread_id))["interrupts"]
    # Seen hibernating before their run begins, if a sweep has not just done so.
    await desk.rows(
        "insert into pauses (pause_id, state, thread_id, interrupt_id, agent_id)"
        " values (%s, 'waiting', %s, %s, 'payer') on conflict do nothing",
        *(pause_id, thread.thread_id, interrupt["id"]),
    )
    await thread.client.runs.create(
        thread.thread_id, "paying", command={"resume": {interrupt["id"]: proof}}
    )
    await until(lambda: _begun(desk.server, pause_id), seconds=LONG)
    await desk.deliver(receiver, proof)
    await desk.reason(pause_id, "busy_there")
    desk.server.release(thread.thread_id)
    record = await desk.until_state(pause_id, "resumed", seconds=LONG)
    assert record["outcome"] == "already_resumed"
    assert desk.server.lines("paid").count(pause_id) == 1


async def test_a_thread_of_another_graph_is_not_run_as_this_one(desk: Desk) -> None:
    """The address is of another graph: nothing is run, the reason names both."""
    receiver, (thread, pause_id) = await desk.serving("both"), desk.hibernating()
    await desk.deliver(receiver, desk.looppause.decide(pause_id))
    record = await desk.until_state(pause_id, "parked", seconds=LONG)
    assert record["reason_code"] == "other_graph"
    assert "'paying'" in record["reason"]
    assert "'both'" in record["reason"]
    assert await thread.pauses() == [pause_id]


@pytest.mark.parametrize(
    "graph, settings, code",
    [
        ("nobody's", {}, "no_graph"),
        ("paying", {"remote_key": "the-key-of-another"}, "server_refused"),
    ],
    ids=["no such graph", "the wrong key"],
)
async def test_a_server_that_will_not_is_asked_again(
    desk: Desk, graph: str, settings: dict[str, Any], code: str
) -> None:
    """A wrong name and a wrong key are waited out, with the reason; a key is never in it."""
    receiver, (_, pause_id) = await desk.serving(graph, **settings), desk.hibernating()
    await desk.deliver(receiver, desk.looppause.decide(pause_id))
    reason = await desk.reason(pause_id, code)
    assert desk.server.url in reason
    assert "key-of" not in reason


async def test_a_server_that_was_away_is_gone_on_with(desk: Desk) -> None:
    """A proof comes while the server is stopped; started again, it runs the thread once."""
    receiver, (thread, pause_id) = await desk.serving(), desk.hibernating()
    await asyncio.to_thread(desk.server.stop)
    try:
        await desk.deliver(receiver, desk.looppause.decide(pause_id))
        assert "does not answer" in await desk.reason(pause_id, "server_away")
    finally:
        await asyncio.to_thread(desk.server.start)
    await desk.until_state(pause_id, "resumed", seconds=LONG)
    assert (await thread.values())["done"] == ["paid"]
    assert desk.server.lines("paid").count(pause_id) == 1


async def test_a_killed_worker_finds_its_run_again(desk: Desk) -> None:
    """The worker is killed while the server runs; the next one waits for that same run."""
    thread, pause_id = desk.hibernating()
    desk.server.hold(thread.thread_id)
    web = await desk.serving(worker=False)
    worker = run_module(
        "resumer",
        ["worker"],
        {
            "RESUMER_DATABASE_URL": desk.url,
            "RESUMER_GRAPHS": f"payer={desk.server.url}#paying",
            "RESUMER_REMOTE_KEY": KEY,
            "LOOPPAUSE_SIGNING_SECRET": desk.looppause.secret,
            "RESUMER_STALL_SECONDS": "2",
        },
        desk.server.home / "worker.log",
    )
    try:
        await desk.deliver(web, desk.looppause.decide(pause_id))
        await until(lambda: _begun(desk.server, pause_id), seconds=LONG)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    await desk.serving(stall_seconds=2.0)
    await desk.reason(pause_id, "running_there")
    desk.server.release(thread.thread_id)
    record = await desk.until_state(pause_id, "resumed", "parked", seconds=LONG)
    assert (record["outcome"], record["reason"]) == ("resumed", None)
    assert desk.server.lines("paid").count(pause_id) == 1
    assert len(await thread.runs()) == 2


async def test_a_thread_that_was_deleted_is_parked(desk: Desk) -> None:
    """There is nothing to resume, and the reason says so.

    Behind all tests that stop the server: after a deletion `langgraph dev` keeps less of what it
    knows when it is stopped.
    """
    receiver, (thread, pause_id) = await desk.serving(), desk.hibernating()
    _, seen = desk.hibernating()
    await desk.deliver(receiver, desk.looppause.decide(seen))
    await desk.until_state(seen, "resumed", seconds=LONG)  # by now both were seen

    await thread.client.threads.delete(thread.thread_id)
    await desk.deliver(receiver, desk.looppause.decide(pause_id))
    record = await desk.until_state(pause_id, "parked", seconds=LONG)
    assert record["reason_code"] == "thread_gone"


async def test_a_crowd_is_read_page_by_page_and_kept_within_bounds(desk: Desk) -> None:
    """Of ten thousand hibernating threads any is found; later looks read only what is new."""
    times = [0.0]
    server = Server(desk.server.url, {"x-api-key": KEY})
    sightings = Sightings(server, most=6_000, clock=lambda: times[0])
    async with server.running(), httpx.AsyncClient(base_url=desk.server.url) as http:
        await http.post("/crowd", params={"count": 10_000})
        try:
            [place] = await sightings.find("crowd_5000")
            assert (place.agent_id, len(sightings)) == ("payer", 6_000)
            swept = {
                pause.pause_id
                async for page in sightings.swept()
                for thread in page
                for pause in thread.waiting()
            }
            assert {f"crowd_{number}" for number in range(10_000)} <= swept
        finally:
            await http.post("/crowd", params={"count": 0})

        [pause_id] = await desk.thread().ask(amount=7)
        times[0] = 1.0
        assert len(await sightings.find(pause_id)) == 1
        assert len(sightings) == 6_000  # it read no more than that one
        assert [t async for page in sightings.swept() for t in page if t.graph_id == "crowd"] == []
        times[0] = 1000.0
        assert len(await sightings.find(pause_id)) == 1
        assert await sightings.find("crowd_5000") == []  # the full look of every now and then


async def test_doctor_asks_the_servers(desk: Desk) -> None:
    """It says of each graph whether its server has it, and shows no key."""
    graphs = f"payer={desk.server.url}#paying,other={desk.server.url}#nobody"
    gone = "gone=http://127.0.0.1:9#paying"

    async def lines(graphs: str, key: str) -> list[tuple[str, str]]:
        env = {"RESUMER_GRAPHS": graphs, "RESUMER_REMOTE_KEYS": json.dumps({desk.server.url: key})}
        subject = subject_from(env, timeout=5.0)
        return [(found.status, found.found) async for found in check_servers(subject)]

    assert [status for status, _ in await lines(f"{graphs},{gone}", KEY)] == ["ok", "fail", "fail"]
    [(status, found)] = await lines(f"payer={desk.server.url}#paying", "not-the-key-of-it")
    assert status == "fail"
    assert "401" in found
    assert "not-the-key" not in found


async def _begun(server: AgentServer, pause_id: str) -> bool:
    return pause_id in server.lines("begun")
