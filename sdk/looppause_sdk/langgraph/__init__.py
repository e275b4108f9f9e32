"""Gates for LangGraph: nodes that let the graph go on only after a person's approval.

`make_interrupt_gate` hibernates the thread in the checkpointer until the receiver resumes it;
`make_polling_gate` waits in the node::

    builder.add_node("gate", make_interrupt_gate(client, agent_id="procurement", ...))
    builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})

Traps: an `interrupt` or `@task` call of your own in the same node before the gate shifts
LangGraph's memory of the question, so give the gate a node of its own; a subgraph compiled with
`checkpointer=False` forgets that it asked.
"""

from __future__ import annotations

from looppause_sdk.gate import GateResult

from ._functions import requires_approval
from ._interrupting import make_interrupt_gate
from ._polling import make_polling_gate
from ._resume import aresume_thread, resume_thread
from ._routing import route_on_gate

__all__ = [
    "GateResult",
    "aresume_thread",
    "make_interrupt_gate",
    "make_polling_gate",
    "requires_approval",
    "resume_thread",
    "route_on_gate",
]
