"""The documentation's pages, and the blocks of code on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, ROOT / "README.md", ROOT / "sdk" / "README.md"]


@dataclass(frozen=True)
class Block:
    """A block of code: where it begins, its language (empty without one), and its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """The page's path in the repository, for messages and ids."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[Block]:
    """The page's fenced blocks, all of them or those in one of the languages."""
    return [b for b in _blocks(page) if not languages or b.language in languages]


def indented(page: Path) -> list[int]:
    """The lines where blocks begin that are only indented: nothing says what they are."""
    tokens = MarkdownIt().parse(page.read_text())
    return [token.map[0] + 1 for token in tokens if token.type == "code_block" and token.map]


def _blocks(page: Path) -> Iterator[Block]:
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence" and token.map:
            language = token.info.split()[0].lower() if token.info.strip() else ""
            yield Block(page, token.map[0] + 1, language, token.content)
