"""What each reason code means, in the words of `resumer explain`."""

from __future__ import annotations

from collections.abc import Mapping

from resumer.operator.reasons import PARKED, POSTPONED, Words

__all__ = ["markdown"]


def markdown() -> str:
    """Both kinds of reasons, a section for each code."""
    return "\n".join(
        [
            "## Looked at again by itself\n",
            *_sections(POSTPONED, ""),
            "## Parked: a person has to act\n",
            *_sections(PARKED, ", parked"),
        ]
    )


def _sections(reasons: Mapping[str, Words], more: str) -> list[str]:
    return [
        f"### `{code}`{more}\n\n**{words.headline}** {_plain(words.paragraph)}\n\n"
        f"{_plain(words.advice)}\n"
        for code, words in reasons.items()
    ]


def _plain(text: str) -> str:
    return text.replace("{agent}", "its agent")
