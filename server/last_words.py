"""A child's stderr: passed on to ours line by line, its end kept."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from multiprocessing.connection import Connection

N_LINES = 40
LINE_CHARS = 1024
N_CHARS = 4096


class LastWords:
    """Reads the pipe that is a child's stderr, in a thread, until nobody can write to it."""

    def __init__(self, pipe: Connection) -> None:
        self._lines: deque[str] = deque(maxlen=N_LINES)
        self._thread = threading.Thread(
            target=self._read, args=(pipe,), name="pannier-stderr", daemon=True
        )
        self._thread.start()

    def wait(self, timeout_s: float = 1.0) -> None:
        """Until all is read of a child that has ended.

        Not longer than that: a child's own child may still hold the pipe.
        """
        self._thread.join(timeout_s)

    @property
    def text(self) -> str:
        """The end of what was read."""
        return "".join(tuple(self._lines))[-N_CHARS:].strip()

    def _read(self, pipe: Connection) -> None:
        with pipe, open(pipe.fileno(), errors="replace", closefd=False) as text:
            while line := text.readline(LINE_CHARS):
                self._lines.append(line)
                with contextlib.suppress(OSError, ValueError):  # ours may be gone
                    sys.stderr.write(line)
                    sys.stderr.flush()
