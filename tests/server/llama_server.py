"""llama.cpp's own server, to compare with."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx

from pannier.engine import Engine

TINY = Path(__file__).parents[1] / "data" / "llama" / "model-f32.gguf"
START_TIMEOUT_S = 120


@contextmanager
def llama_server(engine: Engine, model: Path, *options: str) -> Iterator[int]:
    """The port of a running llama-server, until the block ends. `engine` has the tools."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = engine.directory / "bin" / "llama-server"
    command = [program, "-m", model, "--port", str(port), "-t", "1", *options]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait(process, port, log)
            yield port
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def llama_client(engine: Engine, *options: str) -> Iterator[httpx.Client]:
    """A client of one that runs `TINY` in two slots."""
    with (
        llama_server(engine, TINY, "-np", "2", *options) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
    ):
        yield client


def _wait(process: subprocess.Popen[bytes], port: int, log: IO[str]) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError):
            if call(port, "/health")[0] == 200:
                return
        time.sleep(0.05)
    log.seek(0)
    raise AssertionError(f"llama-server does not serve:\n{log.read()[-2000:]}")


def call(port: int, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON of a GET, or of a POST with a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
