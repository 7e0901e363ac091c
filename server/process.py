"""The engine side as a child process: what ends it there does not end the server."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from .config import EngineConfig
from .last_words import LastWords
from .logs import engine_level
from .messages import Shutdown

END_S = 5.0


@dataclass(frozen=True)
class Ending:
    """How a child ended, as in "the engine ended by SIGABRT", and the end of its stderr."""

    how: str
    last_words: str = ""

    @property
    def last_line(self) -> str:
        """The last words' last line."""
        return self.last_words.rsplit("\n", 1)[-1]


class EngineProcess:
    """A running child and this side's end of its connection."""

    def __init__(
        self, process: SpawnProcess, connection: Connection, last_words: LastWords
    ) -> None:
        self.process = process
        self.connection = connection
        self.last_words = last_words

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def bury(self) -> Ending:
        """Wait until a child whose connection has ended is gone, and free what it held here."""
        self.process.join(END_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()
        self.last_words.wait()
        return Ending(ending(self.process.exitcode), self.last_words.text)

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the child: by message, then by SIGTERM, then by SIGKILL. Idempotent."""
        with contextlib.suppress(OSError):  # it is gone, or its end of the pipe is
            self.connection.send(Shutdown())
        self.process.join(timeout_s)
        for end in (self.process.terminate, self.process.kill):
            if self.process.is_alive():
                end()
                self.process.join(timeout_s)
        self.connection.close()
        self.last_words.wait()


def ending(status: int | None) -> str:
    """An exit status in words."""
    if status is None or status >= 0:
        return f"with status {status}"
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"


class EngineStarter:
    """Starts engines of one configuration, one after the other; stops the last one.

    The first is started at once, so that it loads while the caller does other things.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._is_fresh = True
        self._engine = start_engine(config)

    def __call__(self) -> EngineProcess:
        """The next engine. The one before must have ended."""
        if not self._is_fresh:
            self._engine = start_engine(self._config)
        self._is_fresh = False
        return self._engine

    def __enter__(self) -> EngineStarter:
        return self

    def __exit__(self, *exc: object) -> None:
        self._engine.stop()


def start_engine(config: EngineConfig) -> EngineProcess:
    """Start a child that loads the model and serves; its first news come on the connection."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=True)
    stderr_out, stderr_in = context.Pipe(duplex=False)
    process = context.Process(
        target=engine_main, args=(theirs, stderr_in, config), name="pannier-engine", daemon=True
    )
    process.start()
    theirs.close()  # so that the child's death is an end of file here
    stderr_in.close()
    return EngineProcess(process, ours, LastWords(stderr_out))


def engine_main(connection: Connection, stderr: Connection, config: EngineConfig) -> None:
    """Body of the child. Ctrl-C goes to the whole group: the parent decides what it means."""
    os.dup2(stderr.fileno(), 2)
    stderr.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # ggml would have a debugger write a backtrace: seconds, and the assertion out of sight
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    logging.basicConfig(level=engine_level(config.verbosity), format="%(name)s: %(message)s")
    from .engine import run_engine

    run_engine(connection, config)
