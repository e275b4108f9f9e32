"""Both clients against a real HTTP server that does what a script tells it to."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from looppause_sdk import (
    AsyncLoopPauseClient,
    LoopPauseClient,
    LoopPauseConfigError,
    LoopPauseError,
    LoopPauseRequestError,
    LoopPauseUnavailable,
    Pause,
    PauseEnded,
    Proof,
    ProofInvalid,
    WaitDeadlineExceeded,
)
from looppause_sdk.client import Clock
from tests.vectors import SECRET
from tests.vectors.signing import APPROVAL, hmac_hex, python_signed

API_KEY = "lp_live_key_never_to_be_shown"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
QUESTION: dict[str, Any] = {
    "agent_id": "billing",
    "action": {"type": "payment", "description": "für Müller", "details": {"amount": 12.5}},
    "recipients": [{"channel": "slack", "target": "#finance"}],
    "idempotency_key": "idem_1",
}


@dataclass(frozen=True)
class Step:
    """One scripted response; `cut` bytes of its body are promised and never sent."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    delay: float = 0.0
    drip: float = 0.0

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Script(ThreadingHTTPServer):
    """Answers with its steps in order, the last one again and again."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.steps: list[Step] = []
        self.seen: list[Seen] = []
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def next_step(self) -> Step:
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


class _Handler(BaseHTTPRequestHandler):
    server: Script

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append(Seen(self.command, self.path, headers, body))
        step = self.server.next_step()
        self.server.stopping.wait(step.delay)
        self.send_response(step.status)
        for name, value in step.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(step.content) + step.cut))
        self.end_headers()
        self._write(step)

    do_POST = do_GET

    def _write(self, step: Step) -> None:
        try:
            for byte in step.content if step.drip else ():
                self.wfile.write(bytes([byte]))
                self.server.stopping.wait(step.drip)
            self.wfile.write(b"" if step.drip else step.content)
        except OSError:
            return  # the client has given up, as the test wants

    def log_message(self, *_: object) -> None:
        return


class FakeTime:
    """A clock that jumps when somebody sleeps, and remembers how long."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.elapsed += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    @property
    def clock(self) -> Clock:
        return Clock(
            sleep=self.sleep,
            asleep=self.asleep,
            monotonic=lambda: self.elapsed,
            now=lambda: NOW + timedelta(seconds=self.elapsed),
            random=lambda: 1.0,
        )


@dataclass
class Caller:
    """One kind of client; the same calls for both."""

    kind: str
    runner: asyncio.Runner
    url: str
    time: FakeTime

    def client(self, **settings: Any) -> LoopPauseClient | AsyncLoopPauseClient:
        options = {"base_url": self.url, "env": {}, "clock": self.time.clock, **settings}
        made = LoopPauseClient if self.kind == "sync" else AsyncLoopPauseClient
        return made(API_KEY, SECRET, **options)

    def http_client(self, **options: Any) -> Any:
        return (httpx.Client if self.kind == "sync" else httpx.AsyncClient)(**options)

    def call(
        self, method: str, *args: Any, settings: dict[str, Any] | None = None, **kw: Any
    ) -> Any:
        client = self.client(**(settings or {}))
        try:
            return self.on(client, method, *args, **kw)
        finally:
            self.close(client)

    def on(self, client: Any, method: str, *args: Any, **kw: Any) -> Any:
        result = getattr(client, method)(*args, **kw)
        return result if self.kind == "sync" else self.runner.run(result)

    def close(self, client: Any) -> None:
        self.on(client, "close" if self.kind == "sync" else "aclose")


@pytest.fixture
def server() -> Iterator[Script]:
    """A scripted server on a free port."""
    script = Script()
    thread = threading.Thread(target=script.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield script
    script.stopping.set()
    script.shutdown()
    script.server_close()
    thread.join()


@pytest.fixture(params=["sync", "async"])
def api(request: pytest.FixtureRequest, server: Script) -> Iterator[Caller]:
    """Either kind of client, for the same test."""
    with asyncio.Runner() as runner:
        yield Caller(request.param, runner, server.url, FakeTime())


def _closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


# -- create ------------------------------------------------------------------------------------


def test_a_question_goes_out_as_the_wire_has_it(api: Caller, server: Script) -> None:
    """One POST with bearer, idempotency key and the question's members, and the id comes back."""
    server.steps = [Step(201, {"pause_id": "pause_1"})]
    assert api.call("create_pause", **QUESTION, metadata={"thread_id": "t1"}) == "pause_1"
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", "/v1/pauses")
    assert seen.headers["authorization"] == f"Bearer {API_KEY}"
    assert seen.headers["idempotency-key"] == "idem_1"
    assert seen.headers["content-type"] == "application/json"
    assert json.loads(seen.body) == {
        "agent_id": "billing",
        "action": QUESTION["action"],
        "recipients": QUESTION["recipients"],
        "timeout_hours": 24,
        "metadata": {"thread_id": "t1"},
    }


def test_the_webhook_of_the_environment_is_the_default(api: Caller, server: Script) -> None:
    """A question without a webhook_url takes the environment's; its own, or none, stays."""
    server.steps = [Step(201, {"pause_id": "pause_1"})]
    settings = {"env": {"LOOPPAUSE_WEBHOOK_URL": "https://agents.example/hook"}}
    api.call("create_pause", **QUESTION, settings=settings)
    api.call("create_pause", **QUESTION, webhook_url="https://mine.example", settings=settings)
    api.call("create_pause", **QUESTION, webhook_url="", settings=settings)
    sent = [json.loads(seen.body).get("webhook_url") for seen in server.seen]
    assert sent == ["https://agents.example/hook", "https://mine.example", None]


@pytest.mark.parametrize(
    "reply, expected",
    [
        (
            {"pause_id": "p", "status": "delivered", "expires_at": "2026-11-23T00:00:00Z"},
            Pause("p", "delivered", "2026-11-23T00:00:00Z"),
        ),
        (
            {"pause_id": "p", "created_at": "2026-11-22T10:00:00+01:00", "timeout_hours": 2},
            Pause("p", "pending", "2026-11-22T11:00:00Z"),
        ),
        ({"pause_id": "p", "expires_at": "soon"}, Pause("p", "pending", "2026-11-23T12:00:00Z")),
        ({"pause_id": "p"}, Pause("p", "pending", "2026-11-23T12:00:00Z")),
    ],
    ids=["as told", "from created_at", "unreadable", "reckoned"],
)
def test_open_pause_says_when_the_pause_expires(
    api: Caller, server: Script, reply: dict[str, Any], expected: Pause
) -> None:
    """The expiry is the server's own, or else reckoned from the hours asked for."""
    server.steps = [Step(201, reply)]
    assert api.call("open_pause", **QUESTION) == expected


@pytest.mark.parametrize(
    "pause_id", [None, "", 7, ["p"], "p" * 256, "a\nb"], ids=lambda value: repr(value)[:12]
)
def test_a_reply_without_a_usable_pause_id_is_no_pause(
    api: Caller, server: Script, pause_id: Any
) -> None:
    """A pause nobody can name cannot be waited for: unavailable, and the error says why."""
    server.steps = [Step(200, {"pause_id": pause_id})]
    with pytest.raises(LoopPauseUnavailable, match="usable `pause_id`"):
        api.call("create_pause", **QUESTION)


def test_what_cannot_be_sent_never_leaves(api: Caller, server: Script) -> None:
    """Bad arguments are a clear error before any request."""
    with pytest.raises(LoopPauseConfigError, match="action cannot be sent as JSON"):
        api.call("create_pause", **{**QUESTION, "action": {"amount": float("nan")}})
    assert server.seen == []


# -- trouble -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_passing_trouble_is_tried_again_with_the_same_key(
    api: Caller, server: Script, status: int
) -> None:
    """After 429 and 5xx the same request goes out again, the key unchanged, ever later."""
    server.steps = [Step(status), Step(status), Step(201, {"pause_id": "pause_1"})]
    assert api.call("create_pause", **QUESTION) == "pause_1"
    assert [seen.headers["idempotency-key"] for seen in server.seen] == ["idem_1"] * 3
    assert len({seen.body for seen in server.seen}) == 1
    assert api.time.slept == [0.5, 1.0]


def test_retry_after_is_honoured(api: Caller, server: Script) -> None:
    """The server's own pace goes before ours, in seconds or as a date, up to a minute."""
    date = (NOW + timedelta(seconds=27)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    server.steps = [
        Step(429, headers={"Retry-After": "7"}),
        Step(503, headers={"Retry-After": date}),
        Step(503, headers={"Retry-After": "86400"}),
        Step(201, {"pause_id": "pause_1"}),
    ]
    api.call("create_pause", **QUESTION)
    assert api.time.slept == [7.0, 20.0, 60.0]


def test_trouble_that_stays_ends_as_unavailable(api: Caller, server: Script) -> None:
    """Attempts are bounded; after the last one the error says what the server said."""
    server.steps = [Step(503, {"error": "down for maintenance"})]
    with pytest.raises(LoopPauseUnavailable, match=r"503: down for maintenance, after 3 attempts"):
        api.call("create_pause", **QUESTION, settings={"max_attempts": 3})
    assert len(server.seen) == 3


def test_a_refused_connection_is_tried_again_then_unavailable(api: Caller) -> None:
    """Nobody listening is unavailable, never an httpx error."""
    with pytest.raises(LoopPauseUnavailable, match="cannot be reached") as caught:
        api.call("get_pause", "p", settings={"base_url": f"http://127.0.0.1:{_closed_port()}"})
    assert len(api.time.slept) == 3
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


@pytest.mark.parametrize(
    "step",
    [
        Step(200, b"<html>Welcome to the hotel</html>", {"Content-Type": "text/html"}),
        Step(200, {"pause_id": "pause_1"}, cut=10),
        Step(200, b'{"pause_id": "pau'),
        Step(200, ["pause_1"]),
        Step(200, b"[" * 100_000),
        Step(200, b'{"pause_id": "\xff"}'),
        Step(200, b'{"a": 1e999}'),
        Step(200, b"not gzip", {"Content-Encoding": "gzip"}),
        Step(200, b" " * (4 * 1024 * 1024 + 1)),
        Step(204, b""),
        Step(599, b"\x00\x01"),
    ],
    ids=[
        "html", "cut off", "half an object", "array", "deep", "not utf-8", "too large a number",
        "not gzip", "too large", "nothing", "599",
    ],
)  # fmt: skip
def test_a_reply_nobody_can_use_is_unavailable(api: Caller, server: Script, step: Step) -> None:
    """Whatever comes back instead of a JSON object, only `LoopPauseUnavailable` leaves."""
    server.steps = [step]
    for method, args, kw in (("create_pause", (), QUESTION), ("get_pause", ("p",), {})):
        with pytest.raises(LoopPauseUnavailable, match="do not act, try later"):
            api.call(method, *args, **kw, settings={"max_attempts": 1})


def test_a_slow_server_is_unavailable(api: Caller, server: Script) -> None:
    """`request_timeout` bounds the wait for an answer."""
    server.steps = [Step(delay=30)]
    started = time.monotonic()
    with pytest.raises(LoopPauseUnavailable, match=r"Timeout.*after 2 attempts"):
        api.call("get_pause", "p", settings={"request_timeout": 0.05, "max_attempts": 2})
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "status, body, said, advice",
    [
        (401, {"error": "unknown API key"}, "unknown API key", "LOOPPAUSE_API_KEY"),
        (403, {"message": "read only"}, "read only", "LOOPPAUSE_API_KEY"),
        (404, {"error": {"message": "no such pause"}}, "no such pause", "pause id"),
        (409, {"detail": "other question"}, "other question", "idempotency_key"),
        (422, b"recipients: too many", "recipients: too many", "Mend the request"),
        (400, b"<html>nginx</html>", "no reason given", "Mend the request"),
        (418, {"error": "x" * 5000}, "x" * 300 + "…", "Mend the request"),
        (400, {"error": "a\r\nb\x1b[31m"}, r"a b \[31m", "Mend the request"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(
    api: Caller, server: Script, status: int, body: Any, said: str, advice: str
) -> None:
    """A 4xx is not tried again; the error has its status, what was said, and what to do."""
    server.steps = [Step(status, body)]
    with pytest.raises(
        LoopPauseRequestError, match=rf"\({status}\): {said}\. .*{advice}"
    ) as caught:
        api.call("create_pause", **QUESTION)
    assert caught.value.status_code == status
    assert len(str(caught.value)) < 500
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [400, 503])
def test_an_error_never_repeats_the_api_key(api: Caller, server: Script, status: int) -> None:
    """A server that echoes the key does not get it into our logs."""
    server.steps = [Step(status, {"error": f"bad key {API_KEY}"})]
    with pytest.raises(LoopPauseError, match=r"bad key \[hidden\]") as caught:
        api.call("get_pause", "p")
    assert API_KEY not in str(caught.value)


def test_a_redirect_is_not_followed(api: Caller, server: Script) -> None:
    """The key goes nowhere else, even with a client of the caller's that would follow."""
    server.steps = [Step(307, headers={"Location": f"{server.url}/elsewhere?token=1"})]
    http = api.http_client(follow_redirects=True)
    with pytest.raises(LoopPauseRequestError, match=r"redirect to '?http://.*/elsewhere.*API_URL"):
        api.call("create_pause", **QUESTION, settings={"http_client": http})
    api.close(http)
    assert len(server.seen) == 1


# -- get ---------------------------------------------------------------------------------------


def test_get_pause_returns_what_the_server_has(api: Caller, server: Script) -> None:
    """The reply's members, with ordinary numbers."""
    server.steps = [Step(200, {"status": "pending", "amount": 1.5})]
    pause = api.call("get_pause", "pause_1")
    assert pause == {"status": "pending", "amount": 1.5}
    assert type(pause["amount"]) is float
    assert (server.seen[0].method, server.seen[0].path) == ("GET", "/v1/pauses/pause_1")


@pytest.mark.parametrize(
    "pause_id, path",
    [("a/../b", "a%2F..%2Fb"), ("a?b#c", "a%3Fb%23c"), ("ü 1", "%C3%BC%201"), ("%41", "%2541")],
)
def test_a_pause_id_stays_one_segment_of_the_path(
    api: Caller, server: Script, pause_id: str, path: str
) -> None:
    """No pause id can address another resource."""
    server.steps = [Step()]
    api.call("get_pause", pause_id)
    assert server.seen[0].path == f"/v1/pauses/{path}"


def test_an_unknown_pause_is_a_refusal(api: Caller, server: Script) -> None:
    """404 comes out as `LoopPauseRequestError` with its status."""
    server.steps = [Step(404, {"error": "no such pause"})]
    with pytest.raises(LoopPauseRequestError) as caught:
        api.call("get_pause", "nobody")
    assert caught.value.status_code == 404


# -- wait --------------------------------------------------------------------------------------


def test_an_approval_comes_back_verified(api: Caller, server: Script) -> None:
    """Waiting ends with the proof; the looks come ever later."""
    answer = Step(200, python_signed(APPROVAL, SECRET))
    server.steps = [Step(200, {"status": "pending"}), Step(200, {"status": "delivered"}), answer]
    proof = api.call("wait_for_proof", "pause_1")
    assert isinstance(proof, Proof)
    assert proof.human_authorized
    assert api.time.slept == [2.0, 4.0]


def test_a_signature_over_unusual_numbers_survives(api: Caller, server: Script) -> None:
    """The proof is verified from the bytes as received, not from what parsing made of them."""
    members = {name: APPROVAL[name] for name in ("authorization_type", "decision", "pause_id")}
    text = json.dumps({**members, "rate": 0}, separators=(",", ":")).replace(":0}", ":1.50}")
    body = text.removesuffix("}") + f',"signature":"{hmac_hex(text, SECRET)}"}}'
    server.steps = [Step(200, body.encode())]
    assert api.call("wait_for_proof", "pause_1").raw["rate"] == 1.5


def test_another_pauses_proof_opens_nothing(api: Caller, server: Script) -> None:
    """A genuine approval of one pause is no answer to another."""
    server.steps = [Step(200, python_signed(APPROVAL, SECRET))]
    with pytest.raises(ProofInvalid, match=r"for pause 'pause_1' and not 'pause_2'"):
        api.call("wait_for_proof", "pause_2")


def test_an_ended_pause_ends_the_wait(api: Caller, server: Script) -> None:
    """A terminal status raises at once, without another look."""
    server.steps = [Step(200, {"status": "timed_out"})]
    with pytest.raises(PauseEnded) as caught:
        api.call("wait_for_proof", "pause_1")
    assert (caught.value.pause_id, caught.value.status) == ("pause_1", "timed_out")
    assert api.time.slept == []


def test_the_wait_remembers_when_its_own_pause_expires(api: Caller, server: Script) -> None:
    """Where LoopPause names no expiry, the hours of the question bound the wait."""
    server.steps = [Step(201, {"pause_id": "pause_1"}), Step(200, {"status": "pending"})]
    client = api.client()
    api.on(client, "create_pause", **QUESTION, timeout_hours=0.01)
    with pytest.raises(WaitDeadlineExceeded):
        api.on(client, "wait_for_proof", "pause_1")
    api.close(client)
    assert sum(api.time.slept) == pytest.approx(36.0)


def test_an_outage_does_not_end_the_wait(api: Caller, server: Script) -> None:
    """Looks that fail are followed by others, within the deadline."""
    server.steps = [Step(503), Step(200, b"<html>"), Step(200, python_signed(APPROVAL, SECRET))]
    assert api.call("wait_for_proof", "pause_1", deadline_seconds=60).decision == "approved"


@pytest.mark.parametrize(
    "step, error",
    [
        (Step(200, {"status": "pending"}), WaitDeadlineExceeded),
        (Step(200, {"status": "pending"}, delay=30), LoopPauseUnavailable),
        (Step(200, {"status": "pending"}, drip=0.5), LoopPauseUnavailable),
    ],
    ids=["no answer", "silent server", "dripping server"],
)
def test_a_short_deadline_is_kept_by_the_real_clock(
    api: Caller, server: Script, step: Step, error: type[Exception]
) -> None:
    """Neither sleeping nor a server that takes its time carries a wait far past its deadline."""
    server.steps = [replace(step)]
    started = time.monotonic()
    with pytest.raises(error):
        api.call("wait_for_proof", "p", deadline_seconds=0.2, settings={"clock": Clock()})
    assert 0.2 <= time.monotonic() - started < 3


# -- construction and closing ------------------------------------------------------------------


def test_a_callers_http_client_is_left_open(api: Caller, server: Script) -> None:
    """Closing ours leaves theirs usable, and its timeouts are the ones that count."""
    server.steps = [Step(delay=30)]
    http = api.http_client(timeout=0.05)
    with pytest.raises(LoopPauseUnavailable, match="Timeout"):
        api.call("get_pause", "p", settings={"http_client": http, "max_attempts": 1})
    assert not http.is_closed
    api.close(http)


def test_a_hook_that_raises_for_status_changes_nothing(api: Caller, server: Script) -> None:
    """A caller's client may raise by itself: the status still decides."""

    def hook(response: httpx.Response) -> None:
        response.raise_for_status()

    async def async_hook(response: httpx.Response) -> None:
        hook(response)

    server.steps = [Step(401)]
    chosen: Callable[..., Any] = hook if api.kind == "sync" else async_hook
    http = api.http_client(event_hooks={"response": [chosen]})
    with pytest.raises(LoopPauseRequestError, match="LOOPPAUSE_API_KEY"):
        api.call("get_pause", "p", settings={"http_client": http})
    api.close(http)


def test_a_closed_client_says_so(api: Caller) -> None:
    """Use after close is an SDK error that says what to do."""
    client = api.client()
    api.close(client)
    with pytest.raises(LoopPauseConfigError, match="closed: make a new one"):
        api.on(client, "get_pause", "p")


def test_the_other_kind_of_http_client_is_refused(api: Caller) -> None:
    """A sync client cannot drive an async one, nor the other way round."""
    with pytest.raises(LoopPauseConfigError, match="as http_client, not str"):
        api.client(http_client="http://localhost")


def test_proxies_httpx_cannot_use_are_a_config_error(
    api: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What httpx makes of the environment comes out as an SDK error."""
    monkeypatch.setenv("ALL_PROXY", "gopher://proxy.example")
    with pytest.raises(LoopPauseConfigError, match="httpx cannot be set up"):
        api.client()


def test_a_host_no_codec_can_write_is_unavailable(api: Caller) -> None:
    """Errors from the codecs under httpx do not escape either."""
    with pytest.raises(LoopPauseUnavailable, match="cannot be reached"):
        api.call("get_pause", "p", settings={"base_url": f"http://{'a' * 70}.example"})


def test_context_managers_close(server: Script) -> None:
    """Both clients close at the end of their block."""
    with LoopPauseClient(API_KEY, SECRET, server.url, env={}) as client:
        pass
    with pytest.raises(LoopPauseConfigError, match="closed"):
        client.get_pause("p")

    async def block() -> AsyncLoopPauseClient:
        async with AsyncLoopPauseClient(API_KEY, SECRET, server.url, env={}) as made:
            return made

    with pytest.raises(LoopPauseConfigError, match="closed"):
        asyncio.run(_get(asyncio.run(block())))


def test_an_async_client_outlives_its_event_loop(server: Script) -> None:
    """A client made once serves several `asyncio.run`, one after another."""
    server.steps = [Step(200, {"status": "pending"})]
    client = AsyncLoopPauseClient(API_KEY, SECRET, server.url, env={}, max_attempts=1)
    for _ in range(3):
        assert asyncio.run(_get(client)) == {"status": "pending"}
    asyncio.run(client.aclose())


async def _get(client: AsyncLoopPauseClient) -> dict[str, Any]:
    return await client.get_pause("p")
