"""Real nginx and real Caddy before a real receiver, with the very files of deploy/."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.deploy.certificates import Authority, Issued
from tests.deploy.conftest import (
    DEPLOY,
    TOKEN,
    Process,
    Receiver,
    check,
    free_port,
    program,
    running,
    until,
)

pytestmark = pytest.mark.deploy

LIMIT = 256 * 1024
# What software in between likes to change: line breaks, spaces, composed letters, escapes.
ODD = "né e\u0301\u00a0\u2028\ufeff\U0001f600 \t\r\n  \\u0041 <&>  %41 "
MAIN = """
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path bodies;
    proxy_temp_path answers;
    fastcgi_temp_path unused;
    uwsgi_temp_path unused;
    scgi_temp_path unused;
    include site.conf;
}}
"""


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs, and what its clients trust."""

    url: str
    authority: Path

    def client(self, shown: Issued | None = None) -> httpx.Client:
        """A client that verifies the proxy, and may show a certificate of its own."""
        trusted = ssl.create_default_context(cafile=str(self.authority))
        if shown:
            trusted.load_cert_chain(shown.certificate, shown.key)
        return httpx.Client(base_url=self.url, verify=trusted, trust_env=False, timeout=30)


def _site(name: str, folder: Path, authority: Authority, upstream: int, port: int) -> None:
    """The file of deploy/nginx as one would fill it in: paths, ports and nothing else.

    The first of the two processes is the receiver, the second one is down.
    """
    server = authority.issue("server")
    text = (DEPLOY / "nginx" / name).read_text()
    for written, here in {
        "/etc/nginx/tls/resumer.pem": server.certificate,
        "/etc/nginx/tls/resumer.key": server.key,
        "/etc/nginx/tls/senders.pem": folder / "senders.pem",
        "127.0.0.1:8001": f"127.0.0.1:{upstream}",
        "127.0.0.1:8002": f"127.0.0.1:{free_port()}",
        "    listen [::]:443 ssl http2;\n": "",
        "listen 443 ": f"listen 127.0.0.1:{port} ",
    }.items():
        text = text.replace(written, str(here))
    (folder / "site.conf").write_text(text)
    (folder / "snippets").symlink_to(DEPLOY / "nginx" / "snippets")
    is_root = Path("/proc/self").stat().st_uid == 0
    (folder / "nginx.conf").write_text(MAIN.format(user="user root;" if is_root else ""))


@pytest.fixture(scope="module")
def nginx(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """nginx with resumer.conf."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    authority = Authority(folder, "authority")
    _site("resumer.conf", folder, authority, receiver.port, port)
    with _nginx(folder):
        yield _listening(Proxy(f"https://127.0.0.1:{port}", authority.certificate))


def _nginx(folder: Path) -> AbstractContextManager[Process]:
    arguments = ("-p", folder, "-c", folder / "nginx.conf", "-e", "stderr")
    said = check("nginx", "-t", *arguments)
    assert "test is successful" in said
    assert "warn" not in said
    return running(folder, program("nginx"), *arguments, "-g", "daemon off;")


@pytest.fixture(scope="module")
def caddy(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Caddy with the Caddyfile, under the name it has without a public one."""
    folder, port = tmp_path_factory.mktemp("caddy"), free_port()
    env = {
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "HTTP_PORT": str(free_port()),
        "HTTPS_PORT": str(port),
        "RESUMER_PORT": str(receiver.port),
    }
    arguments = ("--config", DEPLOY / "caddy" / "Caddyfile", "--adapter", "caddyfile")
    assert "Valid configuration" in check("caddy", "validate", *arguments, HOME=str(folder), **env)
    root = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    with running(folder, program("caddy"), "run", *arguments, env=env) as process:
        process.until(root.exists)
        yield _listening(Proxy(f"https://localhost:{port}", root))


def _listening(proxy: Proxy) -> Proxy:
    """The proxy, once it takes connections."""
    with proxy.client() as client:
        until(lambda: _takes(client), lambda: f"{proxy.url} does not answer")
    return proxy


def _takes(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code in {400, 404}
    except httpx.TransportError:
        return False


@pytest.fixture(params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest) -> Proxy:
    """Each of them."""
    found: Proxy = request.getfixturevalue(request.param)
    return found


def _proof(receiver: Receiver, pause_id: str, size: int) -> bytes:
    """A proof of that many bytes in all, which verifies only as it is."""
    said = {
        "pause_id": pause_id,
        "status": "responded",
        "decision": "approved",
        "authorization_type": "human",
        "human_response": True,
        "responder": "ada@example.com",
        "responded_at": "2026-11-22T10:15:30Z",
        "comment": ODD * (size // 150),
    }
    body = json.dumps(receiver.looppause.sign(said), ensure_ascii=False, indent=3).encode()
    assert len(body) < size
    return b"\r\n " + body + b"\t\r\n".ljust(size - len(body) - 3)


def _post(client: httpx.Client, body: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return client.post("/webhooks/looppause", content=body, headers=headers)


def test_every_byte_of_a_proof_arrives(
    proxy: Proxy, receiver: Receiver, request: pytest.FixtureRequest
) -> None:
    """200 kB with odd characters verify, and what is stored is what was sent."""
    pause_id = f"odd bytes of {request.node.name}"
    body = _proof(receiver, pause_id, 200_000)
    with proxy.client() as client:
        reply = _post(client, body)
        again = _post(client, body)
    assert (reply.status_code, reply.json()["status"]) == (202, "accepted")
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    with psycopg.connect(receiver.database_url) as connection:
        query = "select body from resumer.pauses where pause_id = %s"
        row = connection.execute(query, [pause_id]).fetchone()
    assert row is not None
    assert bytes(row[0]) == body


@pytest.mark.parametrize(
    ("size", "status"), [(LIMIT, 202), (LIMIT + 1, 413), (300_000, 413)], ids=str
)
def test_the_limits_are_the_same(
    proxy: Proxy, receiver: Receiver, request: pytest.FixtureRequest, size: int, status: int
) -> None:
    """What the receiver takes the proxy lets through, to the byte, and no more."""
    with proxy.client() as client:
        reply = _post(client, _proof(receiver, f"size of {request.node.name}", size))
    assert reply.status_code == status


def test_a_body_without_a_length_is_limited_too(proxy: Proxy, receiver: Receiver) -> None:
    """Sent in chunks, it is cut off where it grows too large."""
    pieces = (b" " * 10_000 for _ in range(40))
    headers = {"Content-Type": "application/json"}
    with proxy.client() as client:
        reply = client.post("/webhooks/looppause", content=pieces, headers=headers)
    assert reply.status_code == 413


def test_a_forgery_is_refused_by_the_receiver(proxy: Proxy, receiver: Receiver) -> None:
    """The proxy adds no trust."""
    body = _proof(receiver, "forged", 50_000).replace(b"approved", b"rejected")
    with proxy.client() as client:
        assert _post(client, body).status_code in {400, 401}


@pytest.mark.parametrize("path", ["/", "/ui/login", "/metrics", "/readyz", "/healthz", "/api/v1"])
def test_what_is_inside_stays_inside(proxy: Proxy, path: str) -> None:
    """Only deliveries and waiting clients come through."""
    with proxy.client() as client:
        reply = client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
    assert (reply.status_code, "resumer" in reply.text) == (404, False)


def test_a_client_waits_through_it(proxy: Proxy, receiver: Receiver) -> None:
    """Ids are handed on as they are written, and the token with them."""
    with proxy.client() as client:
        with_token = {"Authorization": f"Bearer {TOKEN}"}
        reply = client.get("/pauses/a%2Fb%20c?wait=0.2", headers=with_token)
        assert (reply.status_code, reply.json()["pause_id"]) == (200, "a/b c")
        assert client.get("/pauses/a%2Fb%20c?wait=0.2").status_code == 401


# -- mutual TLS ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Senders:
    """nginx that asks for certificates, one that it takes, and one of somebody else."""

    proxy: Proxy
    known: Issued
    stranger: Issued


@pytest.fixture(scope="module")
def mutual(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Senders]:
    """nginx with resumer-mutual-tls.conf."""
    folder, port = tmp_path_factory.mktemp("mutual"), free_port()
    authority = Authority(folder, "authority")
    known = Authority(folder, "senders").issue("gateway")
    stranger = Authority(folder, "others").issue("stranger")
    _site("resumer-mutual-tls.conf", folder, authority, receiver.port, port)
    with _nginx(folder):
        proxy = Proxy(f"https://127.0.0.1:{port}", authority.certificate)
        yield Senders(_listening(proxy), known, stranger)


def test_a_sender_with_its_certificate_is_let_through(mutual: Senders, receiver: Receiver) -> None:
    """The proof behind it is verified all the same."""
    with mutual.proxy.client(mutual.known) as client:
        assert _post(client, _proof(receiver, "mutual", 50_000)).status_code == 202


@pytest.mark.parametrize("shown", ["nothing", "stranger"])
def test_others_are_refused(mutual: Senders, receiver: Receiver, shown: str) -> None:
    """A genuine proof does not come in without a certificate of the right authority."""
    with mutual.proxy.client(mutual.stranger if shown == "stranger" else None) as client:
        reply = _post(client, _proof(receiver, f"from {shown}", 50_000))
    assert reply.status_code == 400
    assert "SSL certificate" in reply.text
    with psycopg.connect(receiver.database_url) as connection:
        query = "select from resumer.pauses where pause_id = %s"
        assert connection.execute(query, [f"from {shown}"]).fetchone() is None


def test_the_two_variants_differ_in_that_alone() -> None:
    """What is mended in one file is mended in the other."""
    plain, mutual = (
        [line for line in _lines(DEPLOY / "nginx" / name) if "client" not in line]
        for name in ("resumer.conf", "resumer-mutual-tls.conf")
    )
    assert [line for line in mutual if not line.startswith("ssl_verify_")] == plain


def _lines(path: Path) -> list[str]:
    code = (re.sub(r"\s*#.*", "", line).strip() for line in path.read_text().splitlines())
    return [line for line in code if line]
