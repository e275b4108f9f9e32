"""Load the user's graph anew when a file of it is saved; nothing else is restarted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from resumer.errors import GraphNotLoaded
from resumer.graphs import Graphs

from .own_code import OwnCode, where_it_broke

__all__ = ["Reloading"]

STEP_MS = 50  # a save is over when nothing more happens for so long
LONGEST_SAVE_MS = 500
LOOK_ANYWAY_MS = 1000  # for folders whose system tells of no changes: network and shared ones
NOT_WATCHED = "[bold yellow]![/] Changes of the graph are not watched"
INSTALL = "pip install 'looppause-resumer[embedded]'"


@dataclass
class Reloading:
    """Watches `code`, and hands every graph that could be loaded to `use`."""

    code: OwnCode
    graphs: Graphs
    name: str
    use: Callable[[Any], Awaitable[None]]
    say: Console
    noun: str = "graph"
    _broken: bool = False

    async def run(self) -> None:
        """Until cancelled. What cannot be loaded is told, and the graph from before is kept."""
        try:
            import watchfiles  # noqa: PLC0415  (comes with an extra that need not be installed)
        except ImportError:
            self.say.print(f"{NOT_WATCHED}: " + escape(INSTALL))
            return
        while True:
            folders = self.code.folders()
            try:
                async for saved in watchfiles.awatch(
                    *folders,
                    watch_filter=_is_python,
                    recursive=False,
                    step=STEP_MS,
                    debounce=LONGEST_SAVE_MS,
                    rust_timeout=LOOK_ANYWAY_MS,
                    yield_on_timeout=True,
                ):
                    await self._look(something=bool(saved))
                    if self.code.folders() != folders:
                        break
            except OSError as error:
                self.say.print(f"{NOT_WATCHED}: {escape(str(error))}")
                return

    async def _look(self, *, something: bool) -> None:
        """Load anew if need be; what could not be loaded may have missed a file just made."""
        changed = self.code.changed()
        if changed or (self._broken and something):
            await self._load(", ".join(path.name for path in changed) or "A file")

    async def _load(self, changed: str) -> None:
        try:
            with self.code.afresh():
                graph = await self.graphs.reload(self.name)
        except GraphNotLoaded as error:
            self._broken = True
            why = escape(where_it_broke(error, self.code))
            self.say.print(f"[bold red]✗[/] {why}")
            self.say.print(f"  The {self.noun} from before stays in use: mend it and save.\n")
            return
        self._broken = False
        self.say.print(
            f"[bold cyan]↻[/] {escape(changed)} changed: the {self.noun} is loaded anew, and "
            f"hibernating {'threads' if self.noun == 'graph' else 'flows'} go on with it.\n"
        )
        await self.use(graph)


def _is_python(_change: object, path: str) -> bool:
    return Path(path).suffix == ".py"
