"""Sockets: several addresses, Unix sockets, TLS, and the warnings about them."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pannier.errors import ServerError
from pannier.server.dangers import dangers
from pannier.server.http_settings import HttpSettings, is_local
from pannier.server.listener import Listener
from pannier.server.settings import ServerSettings

from .outside import outside

HTTP = HttpSettings(port=0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> HttpSettings:
    """Settings with a certificate for localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    key, cert = (tmp_path_factory.mktemp("tls") / name for name in ("key.pem", "cert.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return replace(HTTP, ssl_key_file=str(key), ssl_cert_file=str(cert))


def test_several_addresses_share_a_port_and_a_socket_is_one_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"

    async def run() -> None:
        http = replace(HTTP, hosts=(str(path), "127.0.0.1", "127.0.0.2"))
        async with outside(http) as server:
            ports = {bound.getsockname()[1] for bound in server.listener.sockets[1:]}
            assert len(ports) == 1
            for n in range(3):
                assert (await server.ask("GET", "/health", n=n)).status == 200
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert server.listener.url == f"unix://{path}"
            with pytest.raises(ServerError, match=r"cannot listen on --host .*a\.sock"):
                Listener(http)

    asyncio.run(run())
    assert not path.exists()


def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    with Listener(replace(HTTP, hosts=(str(path),))):
        assert path.exists()
    path.write_text("mine")
    with pytest.raises(ServerError, match="cannot listen"):
        Listener(replace(HTTP, hosts=(str(path),)))
    assert path.read_text() == "mine"
    with pytest.raises(ServerError, match="cannot listen on --host"):
        Listener(replace(HTTP, hosts=("x" * 200 + ".sock",)))


def test_a_port_can_be_shared_by_those_who_say_so() -> None:
    with Listener(replace(HTTP, reuse_port=True)) as first:
        first.sockets[0].listen()
        port = first.sockets[0].getsockname()[1]
        with Listener(replace(HTTP, reuse_port=True, port=port)):
            pass
        with pytest.raises(ServerError, match=f"port {port}"):
            Listener(replace(HTTP, port=port))


def test_where_a_client_finds_it() -> None:
    with Listener(replace(HTTP, hosts=("0.0.0.0",), api_prefix="/a")) as listener:
        port = listener.sockets[0].getsockname()[1]
        assert listener.url == f"http://127.0.0.1:{port}/a"
    with pytest.raises(ServerError, match="cannot resolve --host no such host"):
        Listener(replace(HTTP, hosts=("no such host",)))


def test_tls(certificate: HttpSettings) -> None:
    async def run() -> None:
        async with outside(certificate) as server:
            trusting = ssl.create_default_context(cafile=certificate.ssl_cert_file)
            answer = await server.ask("GET", "/v1/models", tls=trusting)
            assert answer.status == 200
            assert server.listener.url.startswith("https://127.0.0.1:")
            plain = await server.send(b"GET /v1/models HTTP/1.1\r\n\r\n")
            assert b"200" not in plain  # nothing is told without TLS
            assert (await server.ask("GET", "/health", tls=trusting)).status == 200

    asyncio.run(run())


def test_a_client_that_does_not_finish_its_handshake_keeps_nobody_out(
    certificate: HttpSettings,
) -> None:
    async def run() -> None:
        async with outside(certificate) as server:
            _, writer = await server.connect()
            writer.write(b"\x16\x03\x01")
            trusting = ssl.create_default_context(cafile=certificate.ssl_cert_file)
            assert (await server.ask("GET", "/health", tls=trusting)).status == 200
            writer.close()

    asyncio.run(run())


def test_what_is_no_certificate(tmp_path: Path) -> None:
    file = tmp_path / "pem"
    file.write_text("nothing")
    with pytest.raises(ServerError, match="cannot be used"):
        Listener(replace(HTTP, ssl_key_file=str(file), ssl_cert_file=str(file)))


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True),
     ("/run/a.sock", True), ("0.0.0.0", False), ("::", False), ("192.168.1.2", False),
     ("127.evil.example", False), ("", False)],
)  # fmt: skip
def test_local_addresses(host: str, local: bool) -> None:
    assert is_local(host) == local


def test_what_is_open_to_others_is_said() -> None:
    plain, keyed = ServerSettings("m"), ServerSettings("m", api_keys=("k",))
    public = replace(HTTP, hosts=("127.0.0.1", "0.0.0.0"))
    secure = replace(public, ssl_cert_file="c", ssl_key_file="k")
    assert dangers(plain, HTTP) == dangers(keyed, secure) == []
    (line,) = dangers(plain, public)
    assert "0.0.0.0" in line and "127.0.0.1," not in line and "--api-key" in line
    (line,) = dangers(keyed, public)
    assert "in the clear" in line
