"""Where and how the HTTP side listens."""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9931


@dataclass(frozen=True)
class HttpSettings:
    """What lies under the endpoints, under llama-server's names."""

    hosts: tuple[str, ...] = (DEFAULT_HOST,)
    """Addresses, and paths of Unix sockets that end in .sock."""
    port: int = DEFAULT_PORT
    """0 takes a free one."""
    reuse_port: bool = False
    api_prefix: str = ""
    static_path: str = ""
    """Folder whose files are served in the place of the page; empty: none."""
    ui: bool = True
    """The page at `/` is served."""
    ssl_key_file: str = ""
    ssl_cert_file: str = ""
    cors_origins: str = "*"
    cors_methods: str = "GET, POST, DELETE, OPTIONS"
    cors_headers: str = "*"
    cors_credentials: bool = True
    timeout_s: int = 3600
    """Longest pause of a client that sends a request or reads an answer."""
    header_timeout_s: float = 60.0
    """Time for the head of a request; 0: as `timeout_s`."""
    max_connections: int = 1024
    """At once; 0: any number."""
    n_threads: int = -1
    """For tokenising and templates; -1: as many as suit the machine."""

    @property
    def shows_page(self) -> bool:
        """Ours, and not somebody else's."""
        return self.ui and not self.static_path

    @property
    def is_public(self) -> bool:
        """Other machines can reach it."""
        return any(not is_local(host) for host in self.hosts)


def is_socket(host: str) -> bool:
    """A Unix socket's path, as llama-server tells it from an address."""
    return host.endswith(".sock")


def is_local(host: str) -> bool:
    """Only this machine reaches it."""
    return (
        is_socket(host)
        or host in ("localhost", "::1", "[::1]")
        or re.fullmatch(r"(::ffff:)?127\.\d+\.\d+\.\d+", host) is not None
    )
