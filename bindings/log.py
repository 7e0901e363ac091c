"""llama.cpp's log, handed to `logging` under the name `pannier.engine`."""

from __future__ import annotations

import atexit
import logging
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._ffi import Library

logger = logging.getLogger("pannier.engine")
logger.addHandler(logging.NullHandler())

_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
_CONTINUES = 5


class Lines:
    """Pieces of log text to whole lines; one per thread, since loads may overlap."""

    def __init__(self) -> None:
        self.level = logging.INFO
        self.text = ""

    def push(self, level: int, text: str) -> None:
        if level != _CONTINUES:
            self.level = _LEVELS.get(level, logging.INFO)
        self.text += text
        *lines, self.text = self.text.split("\n")
        for line in lines:
            if line.strip():
                logger.log(self.level, line.rstrip())


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.lines = Lines()


_per_thread = _PerThread()


def _on_log(level: int, text: bytes, _user: Any) -> None:
    _per_thread.lines.push(level, text.decode("utf-8", "replace"))


def connect(library: Library) -> None:
    """Send the engine's log to `logging` until the interpreter ends."""
    from ._ffi import LOG_CALLBACK

    callback = LOG_CALLBACK(_on_log)
    library.log_set(callback, None)
    # The engine may log from its own threads while the interpreter goes away.
    atexit.register(library.log_set, LOG_CALLBACK(), None)
    _keep_alive.append(callback)


_keep_alive: list[Any] = []
