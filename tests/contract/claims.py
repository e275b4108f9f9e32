"""What looppause 0.1.0 gets wrong, as checks: each holds with our SDK and breaks with that one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

__all__ = ["NOT_RAISED", "Claim", "Claims"]

# What `pytest.raises` raises when nothing was raised.
NOT_RAISED: type[BaseException] = pytest.fail.Exception

Check = Callable[..., Any]


@dataclass(frozen=True)
class Claim:
    """One behaviour, and how 0.1.0 fails it: with which error, and what that says."""

    name: str
    check: Check
    breaks: type[BaseException]
    saying: str | None

    def run(self, sdk: Any) -> None:
        """Raise if the behaviour is wrong."""
        result = self.check(sdk)
        if inspect.isawaitable(result):
            asyncio.run(_awaited(result))


class Claims(list[Claim]):
    """The claims of one subject, in the order they are written down."""

    def breaks(
        self,
        error: type[BaseException] = AssertionError,
        saying: str | None = None,
        cases: Mapping[str, Any] | None = None,
    ) -> Callable[[Check], Check]:
        """Add a check that 0.1.0 fails with `error`; once for each of `cases`, if given.

        A case is handed to the check after the SDK. Where cases fail in different ways, each is a
        pair of what is handed over and its error.
        """

        def add(check: Check) -> Check:
            for case, value in (cases or {}).items():
                given, how = value if isinstance(value, tuple) else (value, error)
                name = f"{check.__name__}-{case}"
                self.append(Claim(name, partial(_with, check, given), how, saying))
            if cases is None:
                self.append(Claim(check.__name__, check, error, saying))
            return check

        return add

    def tests(self) -> tuple[Callable[..., None], Callable[..., None]]:
        """Two tests over all claims: our SDK holds, the published one breaks as it says here."""
        table = pytest.mark.parametrize("claim", self, ids=[claim.name for claim in self])

        @table
        def test_we_hold(claim: Claim, ours: Any) -> None:
            """Our SDK behaves as the check says."""
            claim.run(ours)

        @table
        def test_published_breaks(claim: Claim, published: Any) -> None:
            """The same check fails on looppause 0.1.0, in the way the claim says."""
            with pytest.raises(claim.breaks, match=claim.saying):
                claim.run(published)

        return test_we_hold, test_published_breaks


def _with(check: Check, case: Any, sdk: Any) -> Any:
    return check(sdk, case)


async def _awaited(result: Any) -> None:
    await result
