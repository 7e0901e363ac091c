"""The connection to one engine, from its start to its end.

One reader callback per message from the engine. Sending is left to a thread,
because a pipe that is full blocks its writer, and a long prompt fills it while
the engine is inside a step.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Protocol

from .messages import FromEngine, ToEngine
from .process import Ending


class Engine(Protocol):
    """What the HTTP side asks of an engine that was started for it."""

    @property
    def connection(self) -> Connection:
        """This side's end."""
        ...

    def kill(self) -> None:
        """End it at once. From any thread."""
        ...

    def bury(self) -> Ending:
        """Wait until it is gone, close the connection, and tell how it ended. Blocks."""
        ...


class Link:
    """Passes messages between one engine and the event loop that makes the link."""

    def __init__(self, engine: Engine, receive: Callable[[FromEngine], None]) -> None:
        self.engine = engine
        self._connection = engine.connection
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when nothing more comes."""
        self._outbox: queue.SimpleQueue[ToEngine | None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send, name="pannier-send", daemon=True)
        self._sender.start()
        self._loop.add_reader(self._connection.fileno(), self._read)
        # uvloop's readers make a descriptor non-blocking: a message that is longer than the pipe
        # would end in the middle, in both directions
        os.set_blocking(self._connection.fileno(), True)

    def send(self, message: ToEngine) -> None:
        """Queue a message. From any thread; one for an engine that is gone is dropped."""
        self._outbox.put(message)

    def close(self) -> None:
        """Stop reading and sending. Idempotent."""
        with contextlib.suppress(OSError, ValueError):
            self._loop.remove_reader(self._connection.fileno())
        self._outbox.put(None)
        if not self.ended.done():
            self.ended.set_result(None)

    def bury(self) -> Ending:
        """Free what is left of an engine that ended; tell how. Blocks."""
        self._sender.join(1.0)
        return self.engine.bury()

    def _send(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                self._connection.send(message)
            except (OSError, ValueError):
                return  # the reader sees the end of the connection

    def _read(self) -> None:
        try:
            message: FromEngine = self._connection.recv()
        except (EOFError, OSError):
            self.close()
            return
        self._receive(message)
