"""What came back from LoopPause, judged: a usable message, or the error that says why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ._json import parse_object, plain
from .errors import LoopPauseRequestError, LoopPauseUnavailable, ProofMalformed

__all__ = [
    "FAULTS",
    "Answer",
    "Body",
    "Failure",
    "Message",
    "Reply",
    "answer_for",
    "header",
    "is_transient",
    "read_message",
]

MAX_REPLY_BYTES = 4 * 1024 * 1024
MAX_SAID = 300
MIN_HIDDEN = 8


class _BodyRefused(Exception):
    """The body is larger, or comes more slowly, than anybody should wait for."""


FAULTS = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpx.CookieConflict,
    OSError,
    ValueError,
    OverflowError,
    _BodyRefused,
)
"""All that httpx, and the sockets and codecs under it, raise when an exchange fails."""


@dataclass(frozen=True)
class Reply:
    """An HTTP response, read to its end; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Failure:
    """No whole response came back."""

    error: Exception


Answer = Reply | Failure


@dataclass(frozen=True)
class Message:
    """The JSON object of a successful reply, and the bytes it was read from."""

    members: dict[str, Any]
    body: bytes


class Body:
    """Collects a response's body, up to a size (bytes) and a time (seconds)."""

    def __init__(self, limit: float, monotonic: Callable[[], float]) -> None:
        self._chunks: list[bytes] = []
        self._room = MAX_REPLY_BYTES
        self._monotonic = monotonic
        self._end = monotonic() + limit

    def add(self, chunk: bytes) -> None:
        """Keep a chunk; raises one of `FAULTS` once there is too much, or it took too long."""
        self._chunks.append(chunk)
        self._room -= len(chunk)
        if self._room < 0:
            raise _BodyRefused(f"the reply is larger than {MAX_REPLY_BYTES} bytes")
        if self._monotonic() > self._end:
            raise _BodyRefused("the reply did not come to its end in time")

    def reply(self, response: httpx.Response) -> Reply:
        """The whole reply, once its body is in."""
        return Reply(response.status_code, dict(response.headers), b"".join(self._chunks))


def answer_for(error: Exception) -> Answer:
    """What an exchange that raised one of `FAULTS` amounts to."""
    if isinstance(error, httpx.HTTPStatusError):  # raised by a hook of the caller's client
        return Reply(error.response.status_code, dict(error.response.headers), b"")
    return Failure(error)


def is_transient(answer: Answer) -> bool:
    """Whether the same request may well succeed a little later."""
    return isinstance(answer, Failure) or answer.status == 429 or answer.status >= 500


def header(answer: Answer, name: str) -> str | None:
    """A header of the reply, if there is a reply and it has one."""
    return answer.headers.get(name) if isinstance(answer, Reply) else None


def read_message(answer: Answer, *, attempts: int = 1, hide: str = "") -> Message:
    """Return the JSON object of a 2xx reply; `hide` is a text no error may repeat.

    Raises `LoopPauseUnavailable` if there is no usable answer, `LoopPauseRequestError` if
    LoopPause refused the request or sent us elsewhere.
    """
    if isinstance(answer, Failure):
        reason = _bounded(f"{type(answer.error).__name__}: {answer.error}", hide)
        said = f"LoopPause cannot be reached{_where(answer.error)} ({reason})"
        raise _unavailable(said, attempts) from answer.error
    if is_transient(answer) or answer.status < 200:
        said = _bounded(_said(answer), hide)
        raise _unavailable(f"LoopPause answered {answer.status}{said and ': '}{said}", attempts)
    if answer.status >= 300:
        raise LoopPauseRequestError(_refusal(answer, hide), status_code=answer.status)
    try:
        return Message(plain(parse_object(answer.body)), answer.body)
    except ProofMalformed as error:
        raise _unavailable(
            f"LoopPause answered {answer.status}, but not with a JSON object ({error}): "
            "check that LOOPPAUSE_API_URL is the API's address",
            attempts,
        ) from error


def _where(error: Exception) -> str:
    """The host that was tried, if the error knows: the setting may be what is wrong."""
    try:
        return f" at {error.request.url.host}" if isinstance(error, httpx.RequestError) else ""
    except RuntimeError:  # no request is known
        return ""


def _unavailable(what: str, attempts: int) -> LoopPauseUnavailable:
    tries = f", after {attempts} attempts" if attempts > 1 else ""
    return LoopPauseUnavailable(f"{what}{tries}. No decision was made: do not act, try later")


def _refusal(reply: Reply, hide: str) -> str:
    if reply.status < 400:
        target = _bounded(reply.headers.get("location", "").partition("?")[0], hide)
        return (
            f"LoopPause answered {reply.status}, a redirect to {target or 'nowhere'!r}, which is "
            "not followed: check LOOPPAUSE_API_URL (or base_url)"
        )
    said = _bounded(_said(reply), hide) or "no reason given"
    return f"LoopPause refused the request ({reply.status}): {said}. {_advice(reply.status)}"


def _advice(status: int) -> str:
    return _ADVICE.get(status, "Mend the request before sending it again")


_ADVICE = {
    401: "Check LOOPPAUSE_API_KEY (or api_key)",
    403: "Check that this LOOPPAUSE_API_KEY may do this",
    404: "Check the pause id, and that LOOPPAUSE_API_URL and the API key are of the same account",
    409: "The idempotency_key may belong to another question: use a key of its own for each",
}


def _said(reply: Reply) -> str:
    """The server's own words about its refusal, wherever it put them."""
    try:
        members = parse_object(reply.body)
    except ProofMalformed:
        text = reply.body[: 8 * MAX_SAID].decode("utf-8", "replace")
        return "" if text.lstrip().startswith("<") else text  # a proxy's HTML page tells nothing
    error = members.get("error")
    nested = error if isinstance(error, dict) else {}
    candidates = [nested.get("message"), members.get("message"), members.get("detail"), error]
    return next((text for text in candidates if isinstance(text, str) and text), "")


def _bounded(text: str, hide: str) -> str:
    # A key shorter than this is a test's, and hiding it would tear words apart.
    shown = text.replace(hide, "[hidden]") if len(hide) >= MIN_HIDDEN else text
    readable = _UNPRINTABLE.sub(" ", shown).strip().rstrip(".")
    return readable if len(readable) <= MAX_SAID else readable[:MAX_SAID] + "…"


_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
