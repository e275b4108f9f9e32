"""The `resumer` command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from psycopg_pool import PoolTimeout

from looppause_sdk.errors import LoopPauseError

from .app import Resumer
from .commands import add_commands
from .db import SCHEMA, Pool, open_pool
from .emulator import Emulator, PauseFileError, open_emulator
from .errors import DatabaseNotReady, ResumerError
from .migrate import check_migrated
from .migrate import migrate as run_migrations
from .model import State
from .node_threads import NodeThreads, end_by_force
from .pauses import Pauses
from .serving import serving, stop_signals
from .settings import Settings
from .tables import print_json, print_pauses
from .telemetry import get_logger, log_to
from .watchlist import Watchlist

__all__ = ["main"]

T = TypeVar("T")

NODE_THREADS = 64
SPARE_SECONDS = 5.0
MOST_AT_ONCE = 10_000

app = typer.Typer(
    name="resumer",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Wakes a hibernating LangGraph thread exactly once, on a genuine signed decision.\n\n"
    "New here? Run `resumer dev`: it starts everything on this machine.",
    epilog="Settings come from the environment: RESUMER_DATABASE_URL (or DATABASE_URL), "
    "RESUMER_GRAPHS (name=module:attribute, ...), LOOPPAUSE_SIGNING_SECRET or "
    "LOOPPAUSE_PUBLIC_KEYS. The README has them all.",
)

Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every interface.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.", envvar="PORT")]
Database = Annotated[
    str | None,
    typer.Option(help="PostgreSQL URL; else RESUMER_DATABASE_URL or DATABASE_URL."),
]
GraphNames = Annotated[
    list[str] | None,
    typer.Option(
        "--graph",
        help="name=module:attribute of a graph to resume, once for each; else RESUMER_GRAPHS.",
    ),
]
FlowNames = Annotated[
    list[str] | None,
    typer.Option(
        "--flow",
        help="name=module:attribute of a CrewAI flow class, once for each; else RESUMER_FLOWS.",
    ),
]


def main() -> None:
    """Run the command; every expected failure is one line that says what to do."""
    try:
        app()
    except (ResumerError, LoopPauseError, PauseFileError) as error:
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
        typer.Option(help="Your own graph, as module:attribute or path.py:attribute."),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option("--input", help="JSON to start your graph with; without it, none is started."),
    ] = None,
    approve: Annotated[
        bool, typer.Option("--approve", help="Approve by itself, then exit.")
    ] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Reject by itself, then exit.")] = False,
    data: Annotated[Path, typer.Option(help="Folder for PostgreSQL and the inbox.")] = Path(
        ".resumer"
    ),
    database_url: Annotated[
        str | None, typer.Option(help="Your own PostgreSQL instead of the embedded one.")
    ] = None,
    scheme: Annotated[
        str, typer.Option(help="How the local LoopPause signs: hmac or ed25519.")
    ] = "hmac",
    host: Host = "127.0.0.1",
    port: Port = 8777,
) -> None:
    """Start everything on this machine: PostgreSQL, a local LoopPause, the receiver, an agent."""
    from .dev import Dev

    if approve and reject:
        raise typer.BadParameter("choose --approve or --reject, not both")
    log_to(level="INFO", brief=True)
    decision = "approved" if approve else "rejected" if reject else None
    session = Dev(
        graph=graph,
        state=state,
        decision=decision,
        data=data,
        database_url=database_url,
        scheme=_scheme(scheme),
        host=host,
        port=0 if decision and port == 8777 else port,
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
    _run(_serve(_settings(database_url, graph, flow), host, port, worker=True))


@app.command()
def web(host: Host = "127.0.0.1", port: Port = 8000, database_url: Database = None) -> None:
    """Receive proofs only; `resumer worker` resumes the threads."""
    _run(_serve(_settings(database_url), host, port, worker=False))


@app.command()
def worker(database_url: Database = None, graph: GraphNames = None, flow: FlowNames = None) -> None:
    """Resume threads only; `resumer web` receives the proofs."""
    _run(_work(_settings(database_url, graph, flow)))


@app.command()
def migrate(
    database_url: Database = None,
    checkpoint_url: Annotated[
        str | None,
        typer.Option(help="The checkpointer's database, if another; else RESUMER_CHECKPOINT_URL."),
    ] = None,
) -> None:
    """Create or upgrade the tables and the index. Safe to repeat, from several replicas too."""
    urls = Settings.database_urls(database_url, checkpoint_url)
    _run(run_migrations(*urls))
    typer.echo("migrated")


@app.command()
def pauses(
    state: Annotated[
        State | None,
        typer.Option(metavar="STATE", help=f"Only those in this state: {', '.join(State)}."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the latest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    database_url: Database = None,
) -> None:
    """List pauses: where each stands, and why it is not finished."""
    rows = _run(_with_pool(database_url, lambda pool: Pauses(pool).listed(state, limit=limit)))
    (print_json if as_json else print_pauses)(rows)


@app.command()
def retry(
    pause_ids: Annotated[
        list[str] | None, typer.Argument(help="Parked or failed pauses to take up again.")
    ] = None,
    all_parked: Annotated[
        bool, typer.Option("--all-parked", help="Every pause that is parked.")
    ] = False,
    database_url: Database = None,
) -> None:
    """Take parked or failed pauses up again, from the start of their retries."""
    if bool(pause_ids) == all_parked:
        raise typer.BadParameter("give pause ids, or --all-parked")
    reopened = _run(_with_pool(database_url, lambda pool: _reopen(pool, pause_ids)))
    for pause_id in reopened:
        typer.echo(f"{pause_id} is taken up again")
    left = [pause_id for pause_id in pause_ids or () if pause_id not in reopened]
    for pause_id in left:
        typer.echo(f"{pause_id} is neither parked nor failed", err=True)
    raise typer.Exit(1 if left else 0)


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
    with open_emulator(scheme=_scheme(scheme), secret=secret, api_key=api_key, file=file) as local:
        _run(
            _emulate(local, host, port, made_up={"key": api_key is None, "secret": secret is None})
        )


add_commands(app)


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


async def _with_pool(database_url: str | None, ask: Callable[[Pool], Awaitable[T]]) -> T:
    url, _ = Settings.database_urls(database_url, None)
    async with open_pool(url, size=1, schema=SCHEMA, name="cli") as pool:
        try:
            async with pool.connection() as connection:
                await check_migrated(connection)
        except PoolTimeout as error:
            raise DatabaseNotReady("the database does not answer") from error
        return await ask(pool)


async def _reopen(pool: Pool, pause_ids: Sequence[str] | None) -> list[str]:
    if pause_ids is None:
        parked = await Pauses(pool).listed(State.PARKED, limit=MOST_AT_ONCE)
        pause_ids = [row["pause_id"] for row in parked]
    return await Watchlist(pool).reopen(pause_ids)


async def _in_a_loop_of_ours(work: Coroutine[Any, Any, T]) -> T:
    asyncio.get_running_loop().set_default_executor(NodeThreads(NODE_THREADS))
    return await work


async def _serve(settings: Settings, host: str, port: int, *, worker: bool) -> None:
    resumer = Resumer(settings=settings, worker=worker)
    with stop_signals() as stop:
        async with (
            resumer.running(),
            serving(resumer.app, host, port, drain_seconds=settings.drain_seconds) as address,
        ):
            get_logger().info("listening", webhook=f"{address}/webhooks/looppause")
            await stop.wait()
            resumer.drain()
            end_by_force(2 * settings.drain_seconds + SPARE_SECONDS)


async def _work(settings: Settings) -> None:
    with stop_signals() as stop:
        async with Resumer(settings=settings).running():
            await stop.wait()
            end_by_force(2 * settings.drain_seconds + SPARE_SECONDS)


async def _emulate(
    emulator: Emulator, host: str, port: int, *, made_up: Mapping[str, bool]
) -> None:
    with stop_signals() as stop:
        async with (
            emulator.running(),
            serving(emulator.app, host, port, drain_seconds=3.0) as address,
        ):
            typer.echo(f"Inbox and API on {address}/ (Ctrl-C stops). For your agent:")
            typer.echo(f"  LOOPPAUSE_API_URL={address}")
            if made_up["key"]:
                typer.echo("  LOOPPAUSE_API_KEY=anything")
            if emulator.fake.scheme == "ed25519":
                typer.echo(f"  LOOPPAUSE_PUBLIC_KEYS='[\"{emulator.fake.public_key}\"]'")
            elif made_up["secret"]:
                typer.echo(f"  LOOPPAUSE_SIGNING_SECRET={emulator.fake.secret}")
            await stop.wait()
