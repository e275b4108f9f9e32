"""An agent that asks for several payments at once, in one superstep."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Send

from looppause_sdk.langgraph import GateResult


def _collected(results: list[GateResult], result: GateResult) -> list[GateResult]:
    return [*results, result]


class Results(TypedDict, total=False):
    """Every branch's result, in one list."""

    amount: int
    looppause: Annotated[list[GateResult], _collected]


def fan_out(node: Any, amounts: list[int], saver: Any) -> Any:
    """START → the node once for each amount."""
    builder: Any = StateGraph(Results)
    builder.add_node("gate", node)
    builder.add_conditional_edges(
        START, lambda _: [Send("gate", {"amount": amount}) for amount in amounts]
    )
    return builder.compile(checkpointer=saver)
