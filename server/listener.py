"""Bound sockets: claimed before the model is loaded, so that a taken port fails early."""

from __future__ import annotations

import contextlib
import socket
import ssl
import stat
from pathlib import Path

from ..errors import ServerError
from .http_settings import HttpSettings, is_socket

BACKLOG = 2048


class Listener:
    """One socket for each of `--host`. Raises `ServerError` where one cannot be had."""

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        self.tls = tls_of(settings)
        self.sockets: list[socket.socket] = []
        try:
            for host in settings.hosts:
                self.sockets.append(self._bind(host))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; the files of Unix sockets go."""
        for bound, host in zip(self.sockets, self.settings.hosts, strict=False):
            bound.close()
            if is_socket(host):
                with contextlib.suppress(OSError):
                    Path(host).unlink()
        self.sockets = []

    @property
    def url(self) -> str:
        """How a client on this machine reaches the first of them."""
        first = self.sockets[0]
        if first.family == socket.AF_UNIX:
            return f"unix://{self.settings.hosts[0]}"
        where: tuple[str, int] = first.getsockname()[:2]
        host, port = where
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        scheme = "https" if self.tls else "http"
        prefix = self.settings.api_prefix
        return f"{scheme}://[{host}]:{port}{prefix}" if ":" in host else (
            f"{scheme}://{host}:{port}{prefix}"
        )  # fmt: skip

    @property
    def _port(self) -> int:
        """The same for all addresses, also where it was left to the system."""
        for bound in self.sockets:
            if bound.family != socket.AF_UNIX:
                return int(bound.getsockname()[1])
        return self.settings.port

    def _bind(self, host: str) -> socket.socket:
        return bind_unix(host) if is_socket(host) else self._bind_tcp(host.strip("[]"))

    def _bind_tcp(self, host: str) -> socket.socket:
        try:
            family, kind, _, _, where = socket.getaddrinfo(
                host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            bound = socket.socket(family, kind)
        except OSError as error:
            raise ServerError(f"cannot resolve --host {host}: {error.strerror}") from error
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.settings.reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and len(self.settings.hosts) > 1:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            bound.bind(where)
        except OSError as error:
            bound.close()
            raise ServerError(
                f"cannot listen on {host} port {where[1]!r}: {error.strerror}; "
                "choose another with --host and --port"
            ) from error
        return bound


def bind_unix(path: str) -> socket.socket:
    """A Unix socket that only this user may use. A socket that nobody listens on is replaced."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(Path(path))
        bound.bind(path)
        Path(path).chmod(0o600)
    except OSError as error:
        bound.close()
        raise ServerError(f"cannot listen on --host {path}: {error.strerror or error}") from error
    return bound


def _remove_stale(path: Path) -> None:
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def tls_of(settings: HttpSettings) -> ssl.SSLContext | None:
    """The certificate's context; None for plain HTTP. Raises `ServerError`."""
    if not settings.ssl_cert_file:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.ssl_cert_file, settings.ssl_key_file, lambda: b"")
    except (OSError, ValueError) as error:
        raise ServerError(
            f"--ssl-cert-file {settings.ssl_cert_file} and --ssl-key-file "
            f"{settings.ssl_key_file} cannot be used: {error}"
        ) from error
    return context
