"""Starting servers to be compared, and waiting until they answer."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Server:
    """A running server on loopback."""

    name: str
    command: tuple[str, ...]
    port: int
    pid: int


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    name: str, command: Sequence[str], log: Path, env: dict[str, str] | None = None
) -> Iterator[Server]:
    """Run `command` on a free port of 127.0.0.1 until the block ends; first it must be healthy."""
    port = free_port()
    full = (*command, "--host", "127.0.0.1", "--port", str(port))
    with log.open("w") as out:
        process = subprocess.Popen(
            full,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        try:
            wait_until_healthy(process, port, log)
            yield Server(name, full, port, process.pid)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"the server ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        if is_healthy(port):
            return
        time.sleep(0.2)
    sys.exit(f"the server did not answer within {START_TIMEOUT_S:.0f} s; see {log}")


def pannier_command(*arguments: str) -> list[str]:
    """`pannier` of this very Python."""
    return [sys.executable, "-m", "pannier", *arguments]


def stock_server() -> str:
    """llama-server of the same pin, without our patches."""
    from pannier.engine import BuildOptions, ensure_engine

    engine = ensure_engine(BuildOptions(backend="cpu", unpatched=True, tools=True))
    assert engine.tools is not None
    return str(engine.tools / "llama-server")


def is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
