"""The `resumer` command."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from looppause_sdk.errors import LoopPauseError

from .commands import add_pause_commands, add_trial_commands
from .commands.options import Database, FlowNames, GraphNames, Host, Port
from .commands.refusal import CommandRefused
from .errors import ResumerError
from .misspelt import warn_of_misspelt
from .node_threads import NodeThreads
from .settings import Settings
from .telemetry import log_to

__all__ = ["main"]

T = TypeVar("T")

NODE_THREADS = 64
YOUR_GRAPH = "Your graph"
ALONE = "Without a person"

app = typer.Typer(
    name="resumer",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Wakes a hibernating LangGraph thread exactly once, on a genuine signed decision.\n\n"
    "New here? Run `resumer dev`: it starts everything on this machine.",
    epilog="Settings come from the environment: RESUMER_DATABASE_URL (or DATABASE_URL), "
    "RESUMER_GRAPHS (name=module:attribute, ...), LOOPPAUSE_SIGNING_SECRET or "
    "LOOPPAUSE_PUBLIC_KEYS. The README has them all.\n\n"
    "`resumer --install-completion` completes commands, states and ids of pauses in your shell.",
)


def main() -> None:
    """Run the command; every expected failure is one line that says what to do."""
    try:
        app()
    except (ResumerError, LoopPauseError) as error:
        typer.secho(f"resumer: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"resumer {version('looppause-resumer')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def dev(
    graph: Annotated[
        str | None,
        typer.Option(
            help="Your own graph, as module:attribute or path.py:attribute; else an example's.",
            rich_help_panel=YOUR_GRAPH,
        ),
    ] = None,
    flow: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=MODULE:CLASS",
            help="Your own CrewAI flow instead; NAME is the agent_id of its gates.",
            rich_help_panel=YOUR_GRAPH,
        ),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="JSON",
            help="What to start your graph with, any JSON; without it, none is started.",
            rich_help_panel=YOUR_GRAPH,
        ),
    ] = None,
    reload: Annotated[
        bool,
        typer.Option(
            help="Load your graph anew when you save it; what hibernates goes on with it.",
            rich_help_panel=YOUR_GRAPH,
        ),
    ] = True,
    approve: Annotated[
        bool, typer.Option("--approve", help="Approve by itself, then exit.", rich_help_panel=ALONE)
    ] = False,
    reject: Annotated[
        bool, typer.Option("--reject", help="Reject by itself, then exit.", rich_help_panel=ALONE)
    ] = False,
    open_inbox: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open",
            help="Open the inbox in a browser; else only on a terminal of a desktop.",
            show_default=False,
        ),
    ] = None,
    expose: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A tunnel's public address: gates get it as webhook_url, and it is tried out. "
            "`--expose how` tells how to get one.",
        ),
    ] = None,
    data: Annotated[
        Path, typer.Option(help="Folder for PostgreSQL and the inbox; threads outlive a restart.")
    ] = Path(".resumer"),
    database_url: Annotated[
        str | None, typer.Option(help="Your own PostgreSQL instead of the embedded one.")
    ] = None,
    scheme: Annotated[
        str, typer.Option(help="How the local LoopPause signs: hmac or ed25519.")
    ] = "hmac",
    host: Host = "127.0.0.1",
    port: Port = 8777,
) -> None:
    """Start everything on this machine: PostgreSQL, a local LoopPause, the receiver, an agent.

    Open the inbox it names and decide: the thread that hibernates wakes up. There is nothing to
    set up. Ctrl-C stops it all; what waits is kept in --data, and goes on with the next start.

    An example agent asks: resumer dev

    Yours asks: resumer dev --graph agent.py:graph --input '{"amount": 5}'

    Yours runs elsewhere: resumer dev --graph agent.py:graph
    """
    from .dev import Dev

    if approve and reject:
        raise typer.BadParameter("choose --approve or --reject, not both")
    log_to(level="INFO", brief=True, json=False)
    decision = "approved" if approve else "rejected" if reject else None
    session = Dev(
        graph=graph,
        flow=flow,
        state=state,
        decision=decision,
        data=data,
        database_url=database_url,
        scheme=_scheme(scheme),
        host=host,
        port=0 if decision and port == 8777 else port,
        reload=reload,
        opens=open_inbox,
        expose=expose,
    )
    raise typer.Exit(asyncio.run(_in_a_loop_of_ours(session.run())))


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    database_url: Database = None,
    graph: GraphNames = None,
    flow: FlowNames = None,
) -> None:
    """Receive proofs and resume threads, in one process."""
    from . import processes

    _run(processes.serve(partial(_settings, database_url, graph, flow), host, port, worker=True))


@app.command()
def web(host: Host = "127.0.0.1", port: Port = 8000, database_url: Database = None) -> None:
    """Receive proofs only; `resumer worker` resumes the threads."""
    from . import processes

    _run(processes.serve(partial(_settings, database_url), host, port, worker=False))


@app.command()
def worker(
    database_url: Database = None,
    graph: GraphNames = None,
    flow: FlowNames = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve /metrics, /healthz and /readyz on this port."),
    ] = None,
    metrics_host: Annotated[
        str, typer.Option(help="Address for these; from elsewhere /metrics needs the token.")
    ] = "127.0.0.1",
) -> None:
    """Resume threads only; `resumer web` receives the proofs."""
    from . import processes

    _run(processes.work(partial(_settings, database_url, graph, flow), metrics_host, metrics_port))


@app.command()
def migrate(
    database_url: Database = None,
    checkpoint_url: Annotated[
        str | None,
        typer.Option(help="The checkpointer's database, if another; else RESUMER_CHECKPOINT_URL."),
    ] = None,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="Once no older release runs: what only that needed goes."),
    ] = False,
) -> None:
    """Create or upgrade the tables and the index. Safe to repeat, from several replicas too."""
    from .migrate import migrate as run_migrations

    urls = Settings.database_urls(database_url, checkpoint_url)
    _run(run_migrations(*urls, finish=finish))
    typer.echo("migrated")


add_pause_commands(app)


@app.command()
def emulator(
    host: Host = "127.0.0.1",
    port: Port = 8787,
    scheme: Annotated[str, typer.Option(help="How proofs are signed: hmac or ed25519.")] = "hmac",
    file: Annotated[
        Path | None, typer.Option(help="Keep pauses and keys in this file; else in memory.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(help="The only API key that is let in; else any.", envvar="LOOPPAUSE_API_KEY"),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(help="The HMAC secret; else one is made.", envvar="LOOPPAUSE_SIGNING_SECRET"),
    ] = None,
) -> None:
    """A local LoopPause to develop against: its API, an inbox page, signed webhooks."""
    from .commands.emulating import emulate
    from .emulator import PauseFileError, open_emulator

    made_up = {"key": api_key is None, "secret": secret is None}
    keys = {"scheme": _scheme(scheme), "secret": secret, "api_key": api_key}
    try:
        with open_emulator(**keys, file=file) as local:
            _run(emulate(local, host, port, made_up=made_up))
    except PauseFileError as error:
        raise CommandRefused(str(error)) from error


add_trial_commands(app)


def _scheme(text: str) -> Any:
    if text not in ("hmac", "ed25519"):
        raise typer.BadParameter("--scheme must be hmac or ed25519")
    return text


def _settings(
    database_url: str | None, graph: list[str] | None = None, flow: list[str] | None = None
) -> Settings:
    graphs = Settings.graphs_from(",".join(graph)) if graph else None
    flows = Settings.graphs_from(",".join(flow), "--flow") if flow else None
    return Settings.from_env(database_url=database_url, graphs=graphs, flows=flows)


def _run(work: Coroutine[Any, Any, T]) -> T:
    log_to(level="INFO")
    return asyncio.run(_in_a_loop_of_ours(work))


async def _in_a_loop_of_ours(work: Coroutine[Any, Any, T]) -> T:
    asyncio.get_running_loop().set_default_executor(NodeThreads(NODE_THREADS))
    warn_of_misspelt(os.environ)
    return await work
