"""Sends the engine's news from a thread of its own: while one step computes, the last one's
tokens are put into words and written."""

from __future__ import annotations

import queue
import threading
from multiprocessing.connection import Connection

from .messages import FromEngine


class Mailer:
    """Messages in order. `gone` is set when nobody reads them any more."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._queue: queue.SimpleQueue[FromEngine | None] = queue.SimpleQueue()
        self._n_queued = 0
        self._n_sent = 0
        self.gone = False
        self._thread = threading.Thread(target=self._run, name="pannier-mail", daemon=True)
        self._thread.start()

    def send(self, message: FromEngine, *, is_small: bool = False) -> None:
        """Send a message soon; a small one at once, as waking the thread would take longer.
        Raises BrokenPipeError once the other side is gone. One thread calls this."""
        if self.gone:
            raise BrokenPipeError
        if is_small and self._n_sent == self._n_queued:
            self._connection.send(message)
            return
        self._n_queued += 1
        self._queue.put(message)

    def close(self, timeout_s: float = 10.0) -> None:
        """Send what is left, and stop."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                self._connection.send(message)
            except (OSError, ValueError):
                self.gone = True
                return
            self._n_sent += 1
