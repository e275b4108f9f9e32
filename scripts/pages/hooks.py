"""What MkDocs calls while it builds the site: generated parts, and links into the repository."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # MkDocs loads a hook by its path

from resumer.environment import SECRETS
from scripts.pages import commands, operator_api, reasons, sources

__all__ = ["on_files", "on_page_markdown"]

ROOT = Path(__file__).resolve().parents[2]
GENERATED: dict[str, Callable[[], str]] = {
    "commands": commands.markdown,
    "operator api": operator_api.markdown,
    "reason codes": reasons.markdown,
    "secrets": lambda: ", ".join(f"`{name}`" for name in SECRETS),
}


def on_files(files: Any, config: Any) -> Any:
    """A page for each file of the repository that some page links to."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - tests use the rest without MkDocs

    for uri, text in sources.pages(ROOT).items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_rest: Any) -> str:
    """Put in what is generated, and turn links as they are in the repository to those pages."""
    for name, made in GENERATED.items():
        if (mark := f"<!-- generated: {name} -->") in markdown:
            markdown = markdown.replace(mark, made())
    return sources.relinked(markdown, sources.path_of(page.file.src_uri), ROOT)
