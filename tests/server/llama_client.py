"""llama.cpp's own server, to compare with."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from pannier.engine import Engine

TINY = Path(__file__).parents[1] / "data" / "llama" / "model-f32.gguf"


@contextlib.contextmanager
def llama_client(engine: Engine, log: Path, *flags: str) -> Iterator[httpx.Client]:
    """A client of one that runs `TINY` with these flags."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = engine.directory / "bin" / "llama-server"
    plain = ("-m", str(TINY), "--port", str(port), "-t", "1", "-np", "2")
    with log.open("wb") as output:
        process = subprocess.Popen([program, *plain, *flags], stdout=output, stderr=output)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            _wait(client, process, log)
            yield client
    finally:
        process.kill()
        process.wait()


def _wait(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    while process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/health").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"llama-server ended: {log.read_text()[-2000:]}")
