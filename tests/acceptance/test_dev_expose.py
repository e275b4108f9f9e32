"""`resumer dev` behind a tunnel: what it tells, what it tries out, and what it keeps inside."""

from __future__ import annotations

import os
import pty
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.dev_machine import Machine

pytestmark = pytest.mark.timeout(150)  # a machine that has other work starts slowly

PATH = "/resumer/webhooks/looppause"
BY_ITSELF = ("--graph", "own.py:graph", "--input", '{"amount": 3}')


@dataclass
class Tunnel:
    """Passes requests on to a port of this machine, and says whom they come from, as tunnels do."""

    url: str
    port: int

    def pass_on(self, method: str, path: str, body: bytes, kind: str) -> httpx.Response:
        headers = {"X-Forwarded-For": "203.0.113.7", "Content-Type": kind}
        address = f"http://127.0.0.1:{self.port}{path}"
        return httpx.request(method, address, content=body, headers=headers)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    """A tunnel to a port that nothing listens on yet."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kind = self.headers.get("Content-Type", "")
            try:
                reply = made.pass_on(self.command, self.path, body, kind)
            except httpx.HTTPError:
                self.send_error(502)
                return
            self.send_response(reply.status_code)
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, *args: Any) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Tunnel(f"http://127.0.0.1:{server.server_port}", free_port())
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_proof_comes_through_the_tunnel_and_nothing_else(
    machine: Machine, fresh_url: str, tunnel: Tunnel
) -> None:
    """Its gates get the public address, which leads here; the inbox and its API stay inside."""
    options = (*BY_ITSELF, "--database-url", fresh_url, "--port", str(tunnel.port))
    dev = machine.dev(*options, "--expose", tunnel.url)
    dev.until(f"✓ {tunnel.url} leads to this receiver.")
    dev.until(f"set webhook_url to\n  {tunnel.url}{PATH}\n")
    dev.until(f"Tell the tunnel this path only, if it can: {PATH}")
    dev.until("in a browser and click Approve or Reject")
    (pause_id,) = dev.pauses()
    for path in ("/", "/updates", f"/v1/pauses/{pause_id}", "/resumer/readyz", "/static/mark.svg"):
        reply = httpx.get(f"{tunnel.url}{path}", headers={"Authorization": "Bearer local"})
        assert (reply.status_code, reply.text) == (404, f"Only {PATH} is open to the outside.\n")
    forged = httpx.post(f"{tunnel.url}{PATH}", json={"pause_id": pause_id, "signature": "00"})
    assert forged.status_code in (400, 401)
    dev.decide(pause_id, "approved")
    dev.until("The thread finished.")
    page = httpx.get(f"{dev.inbox}/pauses/{pause_id}").text
    assert f"{tunnel.url}{PATH}" in page
    assert "202 accepted" in page
    assert dev.interrupt() == 0, dev.all


def test_a_tunnel_that_leads_elsewhere_is_said_and_tried_again(
    machine: Machine, fresh_url: str, tunnel: Tunnel
) -> None:
    """The reason at first; once it leads here, that, and the session went on all the while."""
    right, tunnel.port = tunnel.port, free_port()
    options = (*BY_ITSELF, "--database-url", fresh_url, "--port", str(right))
    dev = machine.dev(*options, "--expose", f"{tunnel.url}/")
    dev.until(
        f"! {tunnel.url} does not lead to this receiver: something else answers there (502). "
        "Is the tunnel up, and its target this address? Trying on."
    )
    dev.until("my-agent asks: Spend [3]")
    tunnel.port = right
    dev.until(f"✓ {tunnel.url} leads to this receiver.")
    assert dev.interrupt() == 0, dev.all


def test_a_tunnel_that_is_gone_loses_no_proof(
    machine: Machine, fresh_url: str, tunnel: Tunnel
) -> None:
    """Asked with a public address, answered in a session without: the proof goes here directly."""
    options = ("--database-url", fresh_url, "--port", str(tunnel.port))
    first = machine.dev(*BY_ITSELF, *options, "--expose", tunnel.url)
    first.until("in a browser and click Approve or Reject")
    (pause_id,) = first.pauses()
    assert first.interrupt() == 0, first.all
    tunnel.port = free_port()
    second = machine.dev("--graph", "own.py:graph", "--database-url", fresh_url, "--port", "0")
    second.until("Still waiting from before.")
    assert "Its proof goes to" not in second.out
    second.decide(pause_id, "approved")
    second.until("The thread finished.")
    assert second.interrupt() == 0, second.all


def test_how_to_get_a_tunnel_is_told(machine: Machine, fresh_url: str) -> None:
    """`--expose how` names two, with this session's port; none is started."""
    port = free_port()
    dev = machine.dev(*BY_ITSELF, "--database-url", fresh_url, "--port", str(port), "--expose=how")
    dev.until(f"cloudflared tunnel --url http://127.0.0.1:{port}")
    dev.until(f"ngrok http {port}")
    dev.until(f"Gates that run elsewhere set webhook_url to\n  https://…{PATH}")
    dev.until("my-agent asks: Spend [3]")
    assert dev.interrupt() == 0, dev.all


def test_what_is_no_address_is_refused(machine: Machine) -> None:
    """One line that says what would be one; nothing was started."""
    dev = machine.dev("--expose", "name.example")
    assert dev.wait() == 2
    assert "is not the address of a tunnel, as in https://name.example" in dev.err
    assert "Traceback" not in dev.all
    assert not (machine.folder / ".resumer").exists()


# -- the browser ------------------------------------------------------------------------------


def browser_of(machine: Machine) -> dict[str, str]:
    """A desktop whose browser notes what it is asked to open."""
    machine.write("browser", '#!/bin/sh\necho "$1" >> "$HOME/opened"\n')
    (machine.folder / "browser").chmod(stat.S_IRWXU)
    return {"BROWSER": f"{machine.folder}/browser %s", "DISPLAY": ":0"}


def test_on_a_desktop_terminal_the_inbox_opens(machine: Machine, fresh_url: str) -> None:
    """A person who starts it sees the page without copying an address."""
    ours, its = pty.openpty()
    env = browser_of(machine)
    dev = machine.dev("--database-url", fresh_url, "--port", "0", terminal=its, env=env)
    os.close(its)
    shown = b""
    while b"Ctrl-C stops." not in shown:
        shown += os.read(ours, 4096)
    dev.popen.terminate()
    with suppress(OSError):  # that is how a terminal ends
        while os.read(ours, 4096):
            pass
    os.close(ours)
    assert dev.popen.wait(20) == 0
    opened = (machine.folder / "opened").read_text()
    assert opened.startswith("http://127.0.0.1:")
    assert opened.strip().encode() in shown


@pytest.mark.parametrize("options, opens", [((), False), (("--open",), True)])
def test_without_a_terminal_it_opens_if_told_to(
    machine: Machine, fresh_url: str, options: tuple[str, ...], opens: bool
) -> None:
    """Output into a file is no desktop; `--open` is the person's word."""
    env = browser_of(machine)
    dev = machine.dev(*options, "--database-url", fresh_url, "--port", "0", env=env)
    dev.until("Ctrl-C stops.")
    opened = machine.folder / "opened"
    end = time.monotonic() + (10 if opens else 0.5)
    while not opened.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert opened.exists() is opens
    assert dev.interrupt() == 0, dev.all


def test_a_browser_that_cannot_be_opened_is_one_line(machine: Machine, fresh_url: str) -> None:
    """The address is said, and the session goes on."""
    env = {"BROWSER": f"{machine.folder}/nothing %s"}
    dev = machine.dev("--open", "--database-url", fresh_url, "--port", "0", env=env)
    dev.until("! No browser could be opened: open http://127.0.0.1:")
    dev.until("Ctrl-C stops.")
    assert dev.interrupt() == 0, dev.all
