"""llama.cpp's own server, to compare with."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pannier.engine import Engine

START_TIMEOUT_S = 120


@contextmanager
def llama_server(engine: Engine, model: Path, *options: str) -> Iterator[int]:
    """The port of a running llama-server, until the block ends. `engine` has the tools."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = engine.directory / "bin" / "llama-server"
    command = [program, "-m", model, "--port", str(port), "-t", "1", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(process, port)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        assert process.poll() is None, f"llama-server ended with {process.returncode}"
        assert time.monotonic() < deadline, "llama-server does not answer"
        try:
            if call(port, "/health")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)


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
