"""A route that makes threads by the thousand, which no API does in any time worth waiting for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from langgraph_runtime_inmem.database import (  # type: ignore[import-not-found]  # the server has it
    connect,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def fill(request: Request) -> JSONResponse:
    """Make `count` interrupted threads of graph `crowd`, a millisecond apart, or none again."""
    count = int(request.query_params["count"])
    now = datetime.now(UTC)
    async with connect() as connection:
        threads = connection.store["threads"]
        threads[:] = [each for each in threads if each["metadata"].get("graph_id") != "crowd"]
        threads += [thread(number, now - timedelta(milliseconds=number)) for number in range(count)]
    return JSONResponse({"threads": len(threads)})


def thread(number: int, moment: datetime) -> dict[str, object]:
    action = {"type": "pay", "description": f"Pay {number}", "details": {"text": "x" * 500}}
    value = {"pause_id": f"crowd_{number}", "agent_id": "payer", "action": action}
    return {
        "thread_id": uuid4(),
        "created_at": moment,
        "updated_at": moment,
        "state_updated_at": moment,
        "metadata": {"graph_id": "crowd"},
        "status": "interrupted",
        "config": {},
        "values": {"history": "y" * 2000},
        "interrupts": {str(uuid4()): [{"id": uuid4().hex, "value": value}]},
    }


app = Starlette(routes=[Route("/crowd", fill, methods=["POST"])])
