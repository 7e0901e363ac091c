"""Pairs of servers of one model: llama-server, and pannier behind the same command line."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx

from pannier.engine import Engine, source_tree

from ...conftest import engine_environment
from .case import Case
from .known import differences
from .streams import read_events, summed_up

DATA = Path(__file__).parents[2] / "data"
EXACT = ["-t", "1", "-ctk", "f32", "-ctv", "f32", "-fa", "off"]
"""Keys and values without rounding: what is left is the order of sums."""
FOLDER = "FOLDER"
SAVING = ("--slot-save-path", FOLDER)
"""Each server gets a folder of its own."""


@dataclass(frozen=True)
class World:
    """A model and flags. `llama_only` are flags that pannier needs not or has not."""

    model: str
    flags: tuple[str, ...] = ()
    llama_only: tuple[str, ...] = ()


def template(name: str) -> tuple[str, str]:
    """The flag for a chat template of llama.cpp's tree."""
    return "--chat-template-file", f"templates/{name}.jinja"


def _found(flag: str) -> str:
    return str(source_tree() / "models" / flag) if flag.startswith("templates/") else flag


WORLDS = {
    "llama": World("llama/model-f32.gguf", ("-c", "1024", "-np", "2", "--metrics", "--props")),
    "gemma3": World("gemma3/model-f32.gguf", ("-c", "1024", "-np", "2")),
    "qwen3next": World("qwen3next/model-f32.gguf", ("-c", "1024", "-np", "2")),
    "thinks": World("llama/model-f32.gguf", ("-c", "8192", "-np", "2", *template("Qwen-QwQ-32B"))),
    "calls": World("llama/model-f32.gguf", ("-c", "8192", "-np", "2", *template("Cohere2MoE"))),
    "small": World("llama/model-f32.gguf", ("-c", "256", "-np", "1", "--no-slots")),
    "one slot": World("llama/model-f32.gguf", ("-c", "512", "-np", "1", "--metrics", *SAVING)),
    "one slot gemma3": World("gemma3/model-f32.gguf", ("-c", "512", "-np", "1", *SAVING)),
    "one slot qwen3next": World("qwen3next/model-f32.gguf", ("-c", "512", "-np", "1", *SAVING)),
}


class Peer:
    """One server."""

    def __init__(self, name: str, command: list[str], url: str, log: IO[str], engine: Engine):
        self.name = name
        self._log = log
        self._process = subprocess.Popen(
            command,
            env=engine_environment(engine),
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        self.http = httpx.Client(base_url=url, timeout=60)

    def wait(self) -> None:
        """Until it serves."""
        for _ in range(1200):
            with contextlib.suppress(httpx.TransportError):
                if self.http.get("/health").status_code == 200:
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        self._log.seek(0)
        raise AssertionError(f"{self.name} does not serve:\n{self._log.read()[-4000:]}")

    def ask(self, case: Case) -> tuple[int, Any]:
        """Status and answer, a stream summed up."""
        for path, body in case.before:
            self.http.request("GET" if body is None else "POST", path, json=body)
        body = case.body
        sent: dict[str, Any] = {"content": body} if isinstance(body, (bytes, str)) else {}
        if body is not None and not sent:
            sent = {"json": body}
        answer = self.http.request(case.verb, case.path, **sent)
        kind = answer.headers.get("content-type", "")
        if kind.startswith("text/event-stream"):
            return answer.status_code, summed_up(read_events(answer.text))
        if kind.startswith("application/json"):
            return answer.status_code, answer.json()
        return answer.status_code, answer.text

    def close(self) -> None:
        self.http.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass
class Pair:
    """Both servers of one world."""

    theirs: Peer
    ours: Peer

    def compare(self, case: Case) -> list[str]:
        """How the answers to a case differ beyond what is known."""
        their_status, theirs = self.theirs.ask(case)
        our_status, ours = self.ours.ask(case)
        lines = []
        for name, status in (("llama-server", their_status), ("pannier", our_status)):
            if status != case.status:
                lines.append(f"{name} answers with {status}, not {case.status}")
        return lines + differences(theirs, ours, case.ignore)


@contextlib.contextmanager
def temporary_file() -> Iterator[IO[str]]:
    """A file that is gone afterwards."""
    with tempfile.TemporaryFile("w+") as file:
        yield file


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Pairs:
    """Starts each world's servers once, when they are first needed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: dict[str, Pair] = {}
        self._open = contextlib.ExitStack()

    def of(self, name: str) -> Pair:
        """The pair of a world."""
        if name not in self._running:
            self._running[name] = self._start(WORLDS[name])
        return self._running[name]

    def _start(self, world: World) -> Pair:
        assert self._engine.tools is not None
        model = ["-m", str(DATA / world.model), "-a", "tiny", *map(_found, world.flags), *EXACT]
        llama = [str(self._engine.tools / "llama-server"), *model, *world.llama_only]
        llama += ["--kv-unified", "--no-warmup", "--no-webui"]
        pannier = [sys.executable, "-m", "pannier", "serve", *model, "--no-webui"]
        peers = [self._peer("llama-server", llama), self._peer("pannier", pannier)]
        for peer in peers:
            peer.wait()
        return Pair(*peers)

    def _peer(self, name: str, command: list[str]) -> Peer:
        port = _free_port()
        log = self._open.enter_context(temporary_file())
        folder = self._open.enter_context(tempfile.TemporaryDirectory())
        command = [folder if word == FOLDER else word for word in command]
        address = ["--host", "127.0.0.1", "--port", str(port)]
        peer = Peer(name, [*command, *address], f"http://127.0.0.1:{port}", log, self._engine)
        self._open.callback(peer.close)
        return peer

    def __enter__(self) -> Pairs:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()


@contextlib.contextmanager
def pairs_of(engine: Engine) -> Iterator[Pairs]:
    """All pairs, ended afterwards."""
    with Pairs(engine) as pairs:
        yield pairs
