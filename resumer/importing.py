"""Import what a setting names: `module:attribute` or `path.py:attribute`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["attribute_of"]


def attribute_of(path: str) -> Any:
    """What `module:attribute` or `path.py:attribute` names. Raises whatever importing raises."""
    location, _, attribute = path.rpartition(":")
    if not location or not attribute:
        raise ValueError(f"{path!r} is not module:attribute")
    found: Any = _from_file(Path(location)) if location.endswith(".py") else _module(location)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _module(name: str) -> ModuleType:
    # A console script does not have the working directory on its path; `python -m` does.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(name)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    file = path.resolve()
    name = _module_name(file)
    if name in sys.modules:
        return sys.modules[name]
    if str(file.parent) not in sys.path:  # last, so that it hides nothing
        sys.path.append(str(file.parent))
    return _execute(name, file)


def _module_name(file: Path) -> str:
    """One name for each file, and the same in every process: stored state refers to it."""
    name = stem = f"resumer_graph_{file.stem}"
    number = 1
    while name in sys.modules and sys.modules[name].__file__ != str(file):
        number += 1
        name = f"{stem}_{number}"
    return name


def _execute(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that types defined in it can be looked up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
