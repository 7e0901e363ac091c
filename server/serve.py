"""One server from start to end: listen, load, serve, and leave nothing running."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from fastapi import FastAPI

from ..engine.progress import progress
from .app import create_app
from .client import EngineClient
from .connection import connection_of
from .link import Engine
from .listener import BACKLOG, Listener
from .logs import log
from .messages import Ready
from .settings import ServerSettings
from .state import Vocabulary

KEEP_ALIVE_S = 60
SHUTDOWN_S = 5  # for answers that are being written when the server is told to end


class HttpServer(uvicorn.Server):
    """uvicorn, with signals left to us: its own way raises them again at the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    start_engine: Callable[[], Engine],
    vocabulary: Vocabulary,
    settings: ServerSettings,
    listener: Listener,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises `ServerError` if the model cannot be loaded, or engines end one after
    the other. HTTP answers from the first moment on: 503 "Loading model" until
    it is loaded.
    """
    client = EngineClient(start_engine, hang_timeout_s=settings.hang_timeout_s)
    http = HttpServer(
        uvicorn_config(create_app(client, vocabulary, settings, listener.settings), listener)
    )
    use_threads(listener.settings.n_threads)
    stop = asyncio.Event()
    with _signals(stop):
        listening = asyncio.create_task(http.serve(list(listener.sockets)))
        running = asyncio.create_task(_run(client, settings, listener))
        try:
            await _until(stop, running, listening)
        finally:
            running.cancel()
            await client.close()  # running streams end with an error that says so
            http.should_exit = True
            await listening


def uvicorn_config(app: FastAPI, listener: Listener) -> uvicorn.Config:
    """How the application is served."""
    config = uvicorn.Config(
        app,
        http=connection_of(listener.settings),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,  # anybody could say who he is
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    config.load()
    config.ssl = listener.tls
    return config


def use_threads(n: int) -> None:
    """Tokenise and render in so many threads; -1: as many as Python finds fit."""
    if n > 0:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(n, "pannier-http"))


async def _run(client: EngineClient, settings: ServerSettings, listener: Listener) -> None:
    with progress(f"loading {settings.model_name}") as report:
        info = await client.start(lambda fraction: report(int(100 * fraction), 100))
    for line in info.notice.splitlines():
        log.warning("%s", line)
    if info.facts.get("host_memory"):
        log.info("weights in system memory: %s", info.facts["host_memory"])
    log.info("%s", banner(listener.url, settings, info, shows_page=listener.settings.shows_page))
    await client.wait_stopped()


def banner(url: str, settings: ServerSettings, info: Ready, *, shows_page: bool) -> str:
    """What is served where, a first request to try, and where to watch."""
    socket = url.removeprefix("unix://")
    where = url if socket == url else f"--unix-socket {socket} http://localhost"
    key = ' -H "Authorization: Bearer $KEY"' if settings.api_keys else ""
    path, body = first_request(settings)
    page = f"\nWatch it: {url}/" if shows_page and socket == url else ""
    return (
        f"{url} serves {settings.model_name}: {info.n_slots} slots, "
        f"up to {info.n_ctx_slot} tokens each, {info.n_ctx} in all; "
        f"loaded in {info.load_seconds:.1f} s\n"
        f"Try: curl {where}{path}{key} -d '{body}'{page}"
    )


def first_request(settings: ServerSettings) -> tuple[str, str]:
    """Path and body of a request that this server answers."""
    if settings.reranking:
        return "/v1/rerank", '{"query": "What barks?", "documents": ["a cat", "a dog"]}'
    if settings.embeddings:
        return "/v1/embeddings", '{"input": "Hello"}'
    chat = '{"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64}'
    return "/v1/chat/completions", chat


async def _until(stop: asyncio.Event, *work: asyncio.Task[None]) -> None:
    """Wait for the signal to stop, or the end of any work. Raises what ended the work."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((*work, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    for task in work:
        if task.done():
            task.result()


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set the event; a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            sys.exit(128 + number)
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
