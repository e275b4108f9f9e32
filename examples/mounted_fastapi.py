"""A web service with an agent in it, and the receiver that wakes the agent's threads mounted in.

RESUMER_DATABASE_URL=postgresql://... resumer migrate
uvicorn --app-dir examples mounted_fastapi:app
curl -X POST localhost:8000/invoices -H 'Content-Type: application/json' \
  -d '{"supplier": "ACME", "amount": 4800}'

LoopPause delivers to /looppause/webhooks/looppause. The service's pool and lifespan are its own;
the receiver uses the one and enters beside the other.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict
from uuid import uuid4

from fastapi import FastAPI, HTTPException, Request
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from looppause_sdk import AsyncLoopPauseClient
from looppause_sdk.langgraph import GateResult, make_interrupt_gate, route_on_gate
from resumer import Resumer, lifespans


class Invoice(BaseModel):
    """What the service is asked to pay."""

    supplier: str
    amount: int


class State(TypedDict, total=False):
    """What moves through the agent."""

    invoice: dict[str, Any]
    looppause: GateResult
    result: str


def describe(state: State) -> dict[str, Any]:
    """What the person is asked; they approve exactly this."""
    invoice = state["invoice"]
    description = f"Pay {invoice['amount']} EUR to {invoice['supplier']}"
    return {"type": "payment", "description": description, "details": invoice}


def pay(state: State) -> State:
    """Pay what was approved; the pause id keeps the provider from paying twice."""
    approval = state["looppause"]
    invoice = (approval["action"] or {})["details"]
    return {"result": f"PAID {invoice['amount']} EUR, approved by {approval['responder']}"}


builder = StateGraph(State)
builder.add_node(
    "gate",
    make_interrupt_gate(
        AsyncLoopPauseClient(),
        agent_id="procurement",
        action_builder=describe,
        recipients=[{"channel": "slack", "target": "#procurement-approvals"}],
    ),
)
builder.add_node("pay", pay)
builder.add_edge(START, "gate")
builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})
builder.add_edge("pay", END)

pool = AsyncConnectionPool[AsyncConnection[DictRow]](
    os.environ["RESUMER_DATABASE_URL"],
    max_size=12,
    kwargs={"autocommit": True, "row_factory": dict_row, "prepare_threshold": 0},
    open=False,
)
receiver = Resumer.from_env(graphs={"procurement": builder.compile()}, checkpoint_pool=pool)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """The service's own: it opens the pool, before the receiver uses it, and closes it after."""
    async with pool:
        yield {"agent": builder.compile(checkpointer=AsyncPostgresSaver(pool))}


app = FastAPI(lifespan=lifespans(lifespan, receiver.lifespan))
app.mount("/looppause", receiver.app)


@app.post("/invoices", status_code=202)
async def submit(invoice: Invoice, request: Request) -> dict[str, str]:
    """Start a thread, which asks for approval and hibernates."""
    thread_id = str(uuid4())
    config = {"configurable": {"thread_id": thread_id}}
    await request.state.agent.ainvoke({"invoice": invoice.model_dump()}, config)
    return {"thread_id": thread_id}


@app.get("/invoices/{thread_id}")
async def look(thread_id: str, request: Request) -> dict[str, Any]:
    """What has become of it."""
    state = await request.state.agent.aget_state({"configurable": {"thread_id": thread_id}})
    if state.created_at is None:
        raise HTTPException(404)
    return {"waits": bool(state.interrupts), "result": state.values.get("result")}
