"""One server from start to end: listen, load, serve, and leave nothing running."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn

from ..engine.progress import progress, say
from ..errors import ServerError
from .app import create_app
from .client import EngineClient
from .link import Engine
from .messages import Ready
from .state import ServerSettings, Vocabulary

KEEP_ALIVE_S = 60
SHUTDOWN_S = 5  # for answers that are being written when the server is told to end


@dataclass(frozen=True)
class Address:
    """Where to listen. Port 0 takes a free one."""

    host: str
    port: int


class Listener:
    """A bound socket: claimed before the model is loaded, so that a taken port fails early."""

    def __init__(self, address: Address) -> None:
        try:
            family, kind, _, _, where = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self.socket = socket.socket(family, kind)
        except OSError as error:
            raise ServerError(f"cannot resolve --host {address.host}: {error.strerror}") from error
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.bind(where)
        except OSError as error:
            self.socket.close()
            raise ServerError(
                f"cannot listen on {address.host} port {address.port}: {error.strerror}; "
                "choose another with --host and --port"
            ) from error

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    @property
    def url(self) -> str:
        """How a client on this machine reaches it."""
        host, port = self.socket.getsockname()[:2]
        if host in ("0.0.0.0", "::"):
            host = "127.0.0.1"
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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
    http = HttpServer(_uvicorn_config(client, vocabulary, settings))
    stop = asyncio.Event()
    with _signals(stop):
        listening = asyncio.create_task(http.serve([listener.socket]))
        running = asyncio.create_task(_run(client, settings, listener))
        try:
            await _until(stop, running, listening)
        finally:
            running.cancel()
            await client.close()  # running streams end with an error that says so
            http.should_exit = True
            await listening


def _uvicorn_config(
    client: EngineClient, vocabulary: Vocabulary, settings: ServerSettings
) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(client, vocabulary, settings),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


async def _run(client: EngineClient, settings: ServerSettings, listener: Listener) -> None:
    with progress(f"loading {settings.model_name}") as report:
        info = await client.start(lambda fraction: report(int(100 * fraction), 100))
    if info.notice:
        say(info.notice)
    say(banner(listener.url, settings, info))
    await client.wait_stopped()


def banner(url: str, settings: ServerSettings, info: Ready) -> str:
    """What is served where, and a first request to try."""
    key = ' -H "Authorization: Bearer $KEY"' if settings.api_keys else ""
    path, body = first_request(settings)
    return (
        f"{url} serves {settings.model_name}: {info.n_slots} slots, "
        f"up to {info.n_ctx_slot} tokens each, {info.n_ctx} in all; "
        f"loaded in {info.load_seconds:.1f} s\n"
        f"Try: curl {url}{path}{key} -d '{body}'"
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
