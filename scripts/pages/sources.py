"""Links from pages to files of the repository, which become pages of the site."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["pages", "path_of", "relinked"]

DOCS = "docs/"
SOURCE = "source/"
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".sql": "sql", ".toml": "toml"}
PICTURES = (".png", ".svg")
_LINK = re.compile(r"\[([^\[\]]*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
_CODE = re.compile(r"(^(`{3,}).*?^\2$)", re.MULTILINE | re.DOTALL)


def pages(root: Path) -> dict[str, str]:
    """The page of each file outside docs/ that a page links to, and of those that they link to."""
    found: dict[str, str] = {}
    left = [str(page.relative_to(root)) for page in sorted((root / "docs").rglob("*.md"))]
    while left:
        path = left.pop()
        text = _page(root / path)
        if not path.startswith(DOCS):
            found[_uri_of(path)] = text
        left += [
            place
            for place in _linked(text, path)
            if _is_source(root, place) and _uri_of(place) not in found
        ]
    return found


def path_of(uri: str) -> str:
    """The file in the repository that a page of the site shows."""
    if not uri.startswith(SOURCE):
        return DOCS + uri
    path = uri.removeprefix(SOURCE)
    return path if Path(path.removesuffix(".md")).suffix == "" else path.removesuffix(".md")


def relinked(text: str, path: str, root: Path) -> str:
    """The text of the page of `path`, with links to files turned to their pages.

    A folder has no page: what was its link is plain text.
    """

    def turned(place: str, label: str, anchor: str) -> str:
        if (root / place).is_dir():
            return label
        uri = os.path.relpath(_uri_of(place), Path(_uri_of(path)).parent)
        return f"[{label}]({uri}{anchor})"

    return _each_link(text, path, turned)


def _page(file: Path) -> str:
    text = file.read_text()
    if file.suffix == ".md":
        return text
    fence = "`" * 4
    return f"# {file.name}\n\n{fence}{LANGUAGES.get(file.suffix, 'text')}\n{text}{fence}\n"


def _uri_of(path: str) -> str:
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    return SOURCE + path if path.endswith((".md", *PICTURES)) else f"{SOURCE}{path}.md"


def _is_source(root: Path, place: str) -> bool:
    is_page = not place.startswith((DOCS, "..")) and not place.endswith(PICTURES)
    return is_page and (root / place).is_file()


def _linked(text: str, path: str) -> list[str]:
    places: list[str] = []

    def noted(place: str, label: str, _anchor: str) -> str:
        places.append(place)
        return label

    _each_link(text, path, noted)
    return places


def _each_link(text: str, path: str, become: Callable[[str, str, str], str]) -> str:
    def replaced(link: re.Match[str]) -> str:
        place = os.path.normpath(Path(path).parent / link[2])
        return become(place, link[1], link[3] or "")

    prose = _CODE.split(text)  # prose, a block, its fence, prose, ...
    prose[::3] = [_LINK.sub(replaced, part) for part in prose[::3]]
    del prose[2::3]
    return "".join(prose)
