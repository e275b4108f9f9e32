"""A LoopPause for tests, in process and without I/O; needs no pytest.

`looppause_sdk.testing.fixtures` has the same as pytest fixtures.
"""

from __future__ import annotations

from ._fake import FakeLoopPause
from ._http import Reply
from ._signing import sign_proof
from ._transport import AsyncFakeTransport, FakeTransport

__all__ = ["AsyncFakeTransport", "FakeLoopPause", "FakeTransport", "Reply", "sign_proof"]
