"""The engine side as a child process: what ends it there does not end the server."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import signal
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from .config import EngineConfig
from .messages import Shutdown


class EngineProcess:
    """A running child and this side's end of its connection."""

    def __init__(self, process: SpawnProcess, connection: Connection) -> None:
        self.process = process
        self.connection = connection

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    @property
    def pid(self) -> int | None:
        return self.process.pid

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


def start_engine(config: EngineConfig) -> EngineProcess:
    """Start a child that loads the model and serves; its first news come on the connection."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=True)
    process = context.Process(
        target=engine_main, args=(theirs, config), name="pannier-engine", daemon=True
    )
    process.start()
    theirs.close()  # so that the child's death is an end of file here
    return EngineProcess(process, ours)


def engine_main(connection: Connection, config: EngineConfig) -> None:
    """Body of the child. Ctrl-C goes to the whole group: the parent decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")
    from .engine import run_engine

    run_engine(connection, config)
