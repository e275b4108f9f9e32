"""Which of the registered graphs a thread belongs to.

By what its gate says first: the graph's name, or the agent's id. A gate that says neither leaves it
to the thread itself, and so does one whose agent no graph is registered for, as far as the graphs
come from a langgraph.json, whose names are no agent ids. The thread is then of the graph that has
the node it waits in and every node and channel it has used, if there is only one such graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .db import Pool
from .errors import GraphAmbiguous, GraphNotLoaded
from .graphs import Graphs
from .model import Found
from .sql import statement

__all__ = ["graph_of"]

PULLED = "~__pregel_pull, "  # how LangGraph writes the path of a node's own task


async def graph_of(graphs: Graphs, pool: Pool, found: Found) -> Any:
    """The graph of the thread that hibernates here. `pool` is of the checkpointer's database.

    Raises `GraphNotLoaded` if there is none or it cannot be loaded, `GraphAmbiguous` if it could
    be one of several.
    """
    names = graphs.names_for(found.agent_id, found.graph)
    if not names:
        raise GraphNotLoaded(_unknown(found))
    loaded = {name: await graphs.load(name) for name in names}
    if graphs.name_for(found.agent_id, found.graph) is not None:
        return loaded[names[0]]
    return _only(found, loaded, await _tracks(pool, found))


@dataclass(frozen=True)
class _Tracks:
    """The nodes and channels that a thread has used, the node that it waits in among them."""

    nodes: frozenset[str]
    channels: frozenset[str]

    def lead_to(self, graph: Any) -> bool:
        """Whether the thread could be the graph's."""
        return self.nodes <= set(graph.nodes) and self.channels <= set(graph.channels)


async def _tracks(pool: Pool, found: Found) -> _Tracks:
    parameters = {"thread_id": found.thread_id, "task_id": found.task_id}
    async with pool.connection() as connection:
        cursor = await connection.execute(statement("thread_tracks"), parameters)
        rows = await cursor.fetchall()
    nodes = {name for row in rows for name in row["nodes"] if not name.startswith("__")}
    paths = (row["task_path"] or "" for row in rows)
    asking = {path.removeprefix(PULLED) for path in paths if path.startswith(PULLED)}
    nested = {found.root_task[0]} if found.checkpoint_ns else set()
    channels = {name for row in rows for name in row["channels"]}
    return _Tracks(frozenset(nodes | asking | nested), frozenset(channels))


def _only(found: Found, loaded: Mapping[str, Any], tracks: _Tracks) -> Any:
    fitting = {name: graph for name, graph in loaded.items() if tracks.lead_to(graph)}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if not fitting:
        nodes = " and ".join(sorted(tracks.nodes))
        others = " and ".join(map(repr, sorted(loaded)))
        raise GraphNotLoaded(
            f"{_unknown(found)}, and {others} cannot be meant: the thread has been in {nodes}, "
            "or uses channels, that are not theirs"
        )
    names = " and ".join(map(repr, sorted(fitting)))
    raise GraphAmbiguous(
        f"{_unknown(found)}, and the thread could be of {names}: have the gate name its graph "
        "(graph=...), or register that graph alone under the agent's id"
    )


def _unknown(found: Found) -> str:
    if found.graph is not None:
        return f"the gate names graph {found.graph!r}, which is not registered"
    if found.agent_id is None:
        return "the gate names neither agent nor graph"
    return f"no graph is registered for agent {found.agent_id!r}"
