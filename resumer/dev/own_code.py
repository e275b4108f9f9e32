"""The modules of the user's own that a graph is made of: told apart, watched, loaded anew."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import looppause_sdk

__all__ = ["OwnCode", "where_it_broke"]

INSTALLED = ("site-packages", "dist-packages")
Stamp = tuple[int, int, int] | None


@dataclass
class OwnCode:
    """What was imported since this was made from a file under one of `roots`.

    Installed packages, Python's own modules and ours are left alone, wherever they lie.
    """

    roots: tuple[Path, ...]
    _known: frozenset[str] = field(default_factory=lambda: frozenset(sys.modules), repr=False)
    _stamps: dict[Path, Stamp] = field(default_factory=dict, repr=False)
    _suspects: frozenset[Path] = frozenset()

    @classmethod
    def of(cls, graph: str) -> OwnCode:
        """The code behind `module:attribute` or `path.py:attribute`, before it is imported."""
        location = graph.rpartition(":")[0]
        here = Path.cwd().resolve()
        if location.endswith(".py"):
            return cls((here, Path(location).resolve().parent))
        return cls((here, *_homes(location.partition(".")[0])))

    def modules(self) -> dict[str, ModuleType]:
        """The user's modules by name, as they are imported now."""
        return {
            name: module
            for name, module in list(sys.modules.items())
            if name not in self._known and (file := _file_of(module)) and self._is_own(file)
        }

    def files(self) -> frozenset[Path]:
        """Their files, and those that broke the last attempt to load them."""
        loaded = {file for module in self.modules().values() if (file := _file_of(module))}
        return frozenset(loaded) | self._suspects

    def folders(self) -> frozenset[Path]:
        """The folders that their files lie in."""
        return frozenset(file.parent for file in self.files() if file.parent.is_dir())

    def note(self) -> None:
        """Take the files as they are now for what is loaded."""
        self._stamps = {file: _stamp(file) for file in self.files()}

    def changed(self) -> list[Path]:
        """The files that are not what they were when last noted.

        One that a node has imported since then is noted as it is.
        """
        now = {file: _stamp(file) for file in self.files()}
        self._stamps = {**now, **self._stamps}
        return sorted(file for file in now if now[file] != self._stamps[file])

    @contextmanager
    def afresh(self) -> Iterator[None]:
        """Forget the modules, so that the body imports them anew; if it raises, all is as before.

        Objects made from the old modules live on with the old code.
        """
        before = self.modules()
        self._forget(before)
        try:
            yield
        except BaseException as error:
            # What was tried is watched too: the mistake may be in a module that is new.
            tried = self.modules()
            seen = {file for module in tried.values() if (file := _file_of(module))}
            self._suspects = frozenset({*seen, *filter(self._is_own, _files_in(error))})
            self._forget(tried)
            sys.modules.update(before)
            raise
        else:
            self._suspects = frozenset()
        finally:
            self.note()

    def _forget(self, modules: dict[str, ModuleType]) -> None:
        for name, module in modules.items():
            del sys.modules[name]
            if file := _file_of(module):
                # It is told from the source by size and whole seconds: two saves in one second
                # would bring the old code back.
                Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
        importlib.invalidate_caches()
        linecache.checkcache()

    def _is_own(self, file: Path) -> bool:
        if file.suffix != ".py" or any(part in INSTALLED for part in file.parts):
            return False
        if any(file.is_relative_to(folder) for folder in NOT_OWN):
            return False
        return any(file.is_relative_to(root) for root in self.roots)


def where_it_broke(error: BaseException, code: OwnCode) -> str:
    """The file, the line, the message and the line's text, as far as they are known."""
    cause = error.__cause__ or error
    if isinstance(cause, SyntaxError) and cause.filename:
        return _told(cause.filename, cause.lineno, cause.msg, cause.text)
    message = f"{type(cause).__name__}: {cause}" if error.__cause__ else str(error)
    frames, files = traceback.extract_tb(cause.__traceback__), code.files()
    own = [frame for frame in frames if Path(frame.filename).resolve() in files]
    return _told(own[-1].filename, own[-1].lineno, message, own[-1].line) if own else message


def _told(file: str, line: int | None, message: str, text: str | None) -> str:
    path = Path(file)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}, line {line}: {message}" + (f"\n    {text.strip()}" if text else "")


def _files_in(error: BaseException) -> Iterator[Path]:
    """Where it went wrong, by what the error itself says."""
    cause = error.__cause__ or error
    if isinstance(cause, SyntaxError) and cause.filename:
        yield Path(cause.filename).resolve()
    for frame in traceback.extract_tb(cause.__traceback__):
        yield Path(frame.filename).resolve()


def _homes(top: str) -> Iterator[Path]:
    """The folder of a package that lies elsewhere; the folder that a single module is in."""
    spec = importlib.util.find_spec(top)
    if spec is None:
        return
    yield from map(Path, spec.submodule_search_locations or ())
    if spec.submodule_search_locations is None and spec.origin:
        yield Path(spec.origin).parent


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


def _stamp(file: Path) -> Stamp:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _installed() -> Iterator[Path]:
    paths = sysconfig.get_paths()
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(paths[name]).resolve()
    yield Path(looppause_sdk.__file__).resolve().parent
    yield Path(__file__).resolve().parents[1]


NOT_OWN = tuple(_installed())
