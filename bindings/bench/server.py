"""A server that a bench starts: `pannier serve` in a process of its own, on a free port."""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import PannierError, ServerError
from ..server.config import EngineConfig

POLL_S = 0.05
END_S = 20.0


class BenchServer:
    """A server that runs, and what can be asked of it."""

    def __init__(self, connection: Connection, host: str, port: int) -> None:
        self._connection = connection
        self.host = host
        self.port = port

    def get(self, path: str) -> Any:
        """The JSON of an endpoint. Raises ServerError for a status other than 200."""
        status, body = self._get(path)
        if status != 200:
            raise ServerError(f"the server answered {status} to {path}: {body[:200]!r}")
        return json.loads(body)

    def engine_pid(self) -> int:
        """The process that owns the weights and the context. Raises ServerError."""
        self._connection.send("pid")
        pid = self._receive()
        assert isinstance(pid, int)
        return pid

    def wait_until_loaded(self) -> None:
        """Raises ServerError, with the reason, if it does not get there."""
        while not self._is_loaded():
            if self._connection.poll(POLL_S):
                self._receive()

    def check_alive(self) -> None:
        """Raises ServerError if it has ended."""
        if self._connection.poll():
            self._receive()

    def _is_loaded(self) -> bool:
        try:
            return self._get("/health")[0] == 200
        except OSError:
            return False

    def _get(self, path: str) -> tuple[int, bytes]:
        with contextlib.closing(http.client.HTTPConnection(self.host, self.port, 60)) as client:
            client.request("GET", path)
            answer = client.getresponse()
            return answer.status, answer.read()

    def _receive(self) -> object:
        return receive(self._connection)


@contextlib.contextmanager
def running(config: EngineConfig) -> Iterator[BenchServer]:
    """A server with this engine, loaded; it is gone when the block ends. Raises ServerError."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=True)
    process = context.Process(target=_serve, args=(theirs, config), daemon=False)
    process.start()
    theirs.close()
    try:
        url = urlsplit(str(receive(ours)))
        server = BenchServer(ours, url.hostname or "", url.port or 0)
        server.wait_until_loaded()
        yield server
    finally:
        _end(process)
        ours.close()


def receive(connection: Connection) -> object:
    """What the child says next. Raises ServerError if it has ended, and the error that it tells."""
    try:
        news: object = connection.recv()
    except EOFError:
        raise ServerError("the server ended without a word") from None
    if isinstance(news, PannierError):
        raise news
    return news


def _end(process: multiprocessing.process.BaseProcess) -> None:
    """Ask it to end, then make it."""
    process.terminate()
    process.join(END_S)
    if process.is_alive():
        process.kill()
        process.join()


def _serve(connection: Connection, config: EngineConfig) -> None:
    """Body of the child. It ends with its parent."""
    from ..engine.store import open_engine
    from ..server.cli import run
    from ..server.http_settings import HttpSettings
    from ..server.listener import Listener
    from ..server.logs import WARNING, LogSettings, set_up
    from ..server.settings import ServerSettings

    set_up(LogSettings(verbosity=WARNING))
    lock = threading.Lock()

    def say(news: object) -> None:
        with lock, contextlib.suppress(OSError):
            connection.send(news)

    threading.Thread(target=_answer, args=(connection, say), daemon=True).start()
    try:
        with Listener(HttpSettings(port=0)) as listener:
            say(listener.url)
            assert config.engine
            engine = open_engine(Path(config.engine))
            settings = ServerSettings(model_path=config.model, build_info="pannier-bench")
            run(config, settings, engine, listener)
    except PannierError as error:
        say(error)


def _answer(connection: Connection, say: Callable[[object], None]) -> None:
    """Tell the engine's process id when asked."""
    try:
        while connection.recv():
            say(next(_engines(), 0))
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _engines() -> Iterator[int]:
    for process in multiprocessing.active_children():
        if process.name == "pannier-engine" and process.pid:
            yield process.pid
