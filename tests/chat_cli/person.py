"""Somebody at a terminal: types, looks, presses Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
from collections.abc import Mapping

TIMEOUT_S = 60
SHELL = (
    "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);from pannier.cli import run; run()"
)
"""A shell would make the terminal the process's own, so that Ctrl-C in it is a signal."""

CTRL_C, CTRL_D = "\x03", "\x04"


class Person(contextlib.AbstractContextManager["Person"]):
    """`pannier chat ARGUMENTS` on a terminal of its own. `seen` is all that was printed."""

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        self._screen, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHELL, "chat", *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**environment, "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(terminal)
        self._data = b""
        self._n_read = 0

    @property
    def seen(self) -> str:
        return self._data.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        """Without the Enter, unless `text` has it."""
        os.write(self._screen, text.encode())

    def read(self, text: str) -> str:
        """Wait until `text` is printed; all up to it that was not read yet."""
        wanted, begin = text.encode(), self._n_read
        while (found := self._data.find(wanted, begin)) < 0:
            assert self._more(), f"{text!r} is not printed: {self.seen!r}"
        self._n_read = found + len(wanted)
        return self._data[begin : self._n_read].decode("utf-8", "replace")

    def wait(self) -> None:
        """Until something is printed that was not read yet."""
        while len(self._data) == self._n_read:
            assert self._more(), f"nothing more is printed: {self.seen!r}"

    def leave(self) -> int:
        """Wait for the end; the exit status."""
        while self._more():
            pass
        return self.process.wait(TIMEOUT_S)

    def _more(self) -> bool:
        ready, _, _ = select.select([self._screen], [], [], TIMEOUT_S)
        assert ready, f"nothing is printed any more: {self.seen!r}"
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # how Linux says that the other side is gone
            return False
        self._data += data
        return bool(data)

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(TIMEOUT_S)
        os.close(self._screen)
