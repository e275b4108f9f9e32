"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from resumer.model import State

from .completing import agent_ids, pause_ids, thread_ids, unfinished_ids

__all__ = [
    "Agent",
    "AsJson",
    "By",
    "Database",
    "FlowNames",
    "GraphNames",
    "Host",
    "Newer",
    "Older",
    "OpenPause",
    "OpenPauses",
    "PauseOrThread",
    "Port",
    "Reason",
    "States",
    "TextIn",
    "Thread",
    "Yes",
]

Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every interface.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.", envvar="PORT")]
GraphNames = Annotated[
    list[str] | None,
    typer.Option(
        "--graph",
        help="name=module:attribute of a graph to resume, once for each, or the path of a "
        "langgraph.json; else RESUMER_GRAPHS.",
    ),
]
FlowNames = Annotated[
    list[str] | None,
    typer.Option(
        "--flow",
        help="name=module:attribute of a CrewAI flow class, once for each; else RESUMER_FLOWS.",
    ),
]
Database = Annotated[
    str | None,
    typer.Option(help="PostgreSQL URL; else RESUMER_DATABASE_URL or DATABASE_URL."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
By = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Who acts, for the audit; else the user of this system."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without being asked again.")]

States = Annotated[
    list[State] | None,
    typer.Option(
        "--state", metavar="STATE", help=f"Only in this state, once for each: {', '.join(State)}."
    ),
]
Agent = Annotated[
    str | None,
    typer.Option(metavar="AGENT", help="Only of this agent.", autocompletion=agent_ids),
]
Thread = Annotated[
    str | None,
    typer.Option(metavar="THREAD", help="Only of this thread.", autocompletion=thread_ids),
]
Reason = Annotated[
    str | None,
    typer.Option(metavar="CODE", help="Only with this reason code: raised, early, no_graph, ..."),
]
Older = Annotated[
    str | None,
    typer.Option(metavar="AGE", help="Only first seen before: 30m, 2h, 3d, or a time (UTC)."),
]
Newer = Annotated[
    str | None,
    typer.Option(metavar="AGE", help="Only first seen since: 30m, 2h, 3d, or a time (UTC)."),
]
TextIn = Annotated[
    str | None,
    typer.Option(
        "--text", metavar="TEXT", help="Only with this in its ids, question, answer or reason."
    ),
]

PauseOrThread = Annotated[
    str,
    typer.Argument(
        metavar="PAUSE|THREAD", help="The id of a pause or a thread.", autocompletion=pause_ids
    ),
]
OpenPause = Annotated[
    str,
    typer.Argument(
        metavar="PAUSE", help="A parked or failed pause.", autocompletion=unfinished_ids
    ),
]
OpenPauses = Annotated[
    list[str] | None,
    typer.Argument(metavar="PAUSE", help="Parked or failed pauses.", autocompletion=unfinished_ids),
]
