"""A server from start to end, over real sockets and signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import pytest

from pannier.engine import Engine
from pannier.errors import ServerError
from pannier.server.http_settings import HttpSettings
from pannier.server.listener import Listener
from pannier.server.messages import Failed, Loading, Ready
from pannier.server.process import Ending
from pannier.server.serve import banner, serve
from pannier.server.settings import ServerSettings

from ..conftest import engine_environment
from .conftest import FakeEngine, FakeEngines, FakeVocabulary, endless, events

SETTINGS = ServerSettings(model_path="m.gguf")
READY = Ready(n_ctx=256, n_ctx_slot=64, n_slots=4, n_batch=32, load_seconds=1.0)
TINY = Path(__file__).parents[1] / "data" / "qwen35moe-rollback.gguf"


@dataclass
class Child:
    """An engine of which the test is the other end."""

    connection: Connection
    ending: Ending

    def kill(self) -> None:
        raise AssertionError("nothing hangs here")

    def bury(self) -> Ending:
        self.connection.close()
        return self.ending


@contextmanager
def listening(ending: str = "by SIGKILL") -> Iterator[tuple[Listener, Child, Connection]]:
    ours, theirs = Pipe(duplex=True)
    with Listener(HttpSettings(port=0)) as listener, ours, theirs:
        yield listener, Child(ours, Ending(ending, "last\nwords")), theirs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_streams_and_server(number: signal.Signals) -> None:
    async def visit(url: str) -> Any:
        async with httpx.AsyncClient(base_url=url) as http:
            while (await http.get("/health")).status_code != 200:
                await asyncio.sleep(0.01)
            body = {"prompt": "a", "stream": True}
            async with http.stream("POST", "/completion", json=body) as answer:
                parts = []
                async for part in answer.aiter_bytes():
                    if not parts:
                        os.kill(os.getpid(), number)
                    parts.append(part)
        return events(b"".join(parts))[-1]

    async def run() -> None:
        with listening() as (listener, child, theirs):
            engine = FakeEngine(theirs, endless)
            visiting = asyncio.create_task(visit(listener.url))
            await serve(lambda: child, FakeVocabulary(), SETTINGS, listener)
            assert (await visiting)["error"]["message"] == "the server is shutting down"
            child.bury()
            engine.end()

    asyncio.run(run())


def test_loading_is_told_and_can_be_ended(capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        with listening() as (listener, child, theirs):
            serving = asyncio.create_task(
                serve(lambda: child, FakeVocabulary(), SETTINGS, listener)
            )
            theirs.send(Loading(0.5))
            async with httpx.AsyncClient(base_url=listener.url) as http:
                for path in ("/health", "/v1/models"):
                    answer = await http.get(path)
                    assert answer.status_code == 503
                    assert answer.json()["error"]["message"] == "Loading model"
                answer = await http.post("/completion", json={"prompt": "a"})
                assert answer.status_code == 503
                assert (await http.post("/tokenize", json={"content": "a"})).status_code == 200
            os.kill(os.getpid(), signal.SIGINT)
            await serving

    asyncio.run(run())
    assert "serves" not in capsys.readouterr().err


def test_a_signal_ends_a_server_that_waits_for_an_engine() -> None:
    async def visit(url: str, engines: FakeEngines) -> Any:
        async with httpx.AsyncClient(base_url=url) as http:
            while (await http.get("/health")).status_code != 200:
                await asyncio.sleep(0.01)
            engines.may_load.clear()
            await asyncio.to_thread(engines.started[0].end)
            while (await http.get("/health")).status_code == 200:
                await asyncio.sleep(0.01)
            body = {"prompt": "a", "stream": True, "sse_ping_interval": 1}
            async with http.stream("POST", "/completion", json=body) as answer:
                parts = answer.aiter_bytes()
                assert await anext(parts) == b":\n\n"  # it waits, and is pinged
                os.kill(os.getpid(), signal.SIGTERM)
                return events(b"".join([part async for part in parts]))[-1]

    async def run() -> None:
        engines = FakeEngines(endless)
        engines.may_load.set()
        with Listener(HttpSettings(port=0)) as listener:
            visiting = asyncio.create_task(visit(listener.url, engines))
            await serve(engines, FakeVocabulary(), SETTINGS, listener)
            assert (await visiting)["error"]["message"] == "the server is shutting down"
        engines.may_load.set()
        engines.close()

    asyncio.run(run())


def test_a_failed_load_ends_the_server() -> None:
    async def run() -> None:
        with listening() as (listener, child, theirs):
            theirs.send(Failed("m.gguf is not a GGUF file"))
            theirs.close()
            with pytest.raises(ServerError, match=r"m\.gguf is not a GGUF file"):
                await serve(lambda: child, FakeVocabulary(), SETTINGS, listener)

    asyncio.run(run())


def test_an_engine_that_dies_while_it_loads_ends_the_server_with_its_last_words() -> None:
    async def run() -> None:
        with listening("by SIGABRT") as (listener, child, theirs):
            theirs.send(Loading(0.5))
            theirs.close()
            message = r"the engine ended by SIGABRT while it loaded the model.*\nlast\nwords$"
            with pytest.raises(ServerError, match=message):
                await serve(lambda: child, FakeVocabulary(), SETTINGS, listener)

    asyncio.run(run())


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServerError, match=rf"127\.0\.0\.1 port {port}.*--port"):
            Listener(HttpSettings(port=port))


def test_banner() -> None:
    text = banner("http://127.0.0.1:9931", SETTINGS, READY, shows_page=True)
    first, second, third = text.splitlines()
    assert first.startswith("http://127.0.0.1:9931 serves m.gguf: 4 slots, up to 64 tokens each")
    assert "curl http://127.0.0.1:9931/v1/chat/completions" in second
    assert third == "Watch it: http://127.0.0.1:9931/"
    for url, shows_page in (("http://127.0.0.1:9931", False), ("unix:///tmp/a.sock", True)):
        assert "Watch" not in banner(url, SETTINGS, READY, shows_page=shows_page)


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command(number: signal.Signals, cpu_engine: Engine) -> None:
    """The real thing: answers, ends with status 0, says nothing bad, leaves no child."""
    command = [sys.executable, "-m", "pannier", "serve", str(TINY), "-c", "512", "--port", "0"]
    server = subprocess.Popen(
        command,
        env=engine_environment(cpu_engine),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert server.stderr is not None
    killer = threading.Timer(120, server.kill)
    killer.start()
    try:
        said = ""
        while " serves " not in said:
            line = server.stderr.readline()
            assert line, said
            said += line
        url = next(word for word in said.split() if word.startswith("http://"))
        with httpx.Client(base_url=url, timeout=60) as http:
            body = {"prompt": "a", "n_predict": 4, "temperature": 0, "ignore_eos": True}
            assert http.post("/completion", json=body).json()["tokens_predicted"] == 4
            child = http.get("/props").json()["engine"]["pid"]
            with http.stream("POST", "/completion", json={"prompt": "a", "stream": True}) as answer:
                next(answer.iter_bytes())
                os.killpg(server.pid, number)  # as a terminal does it
        said += server.stderr.read()
        assert server.wait() == 0, said
    finally:
        killer.cancel()
        server.kill()
        server.wait()
        server.stderr.close()
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
