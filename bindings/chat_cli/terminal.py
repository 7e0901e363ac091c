"""What a person sees: replies on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from ..model import Progress

PROMPT = "> "
DIM, PLAIN = "\033[2m", "\033[0m"
VISIBLE = {code: 0xFFFD for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}
"""A model must not move the cursor, nor write to the clipboard."""


class Terminal:
    """Standard input and output, terminals or not."""

    def __init__(self) -> None:
        self._at_line_start = True
        self.replies_to_person = sys.stdout.isatty()
        self.notes_to_person = sys.stderr.isatty()
        self._styled = (
            self.notes_to_person
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM", "dumb") != "dumb"
        )
        for stream in (sys.stdin, sys.stdout):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")

    @property
    def asks_person(self) -> bool:
        """Whether somebody types."""
        return sys.stdin is not None and sys.stdin.isatty()

    def ask(self) -> str | None:
        """The next line that the user types; None at Ctrl-D and Ctrl-C."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - input() gets line editing and history from it
        prompt = PROMPT
        if not self.replies_to_person:
            _write(sys.stderr, prompt)
            prompt = ""
        try:
            return input(prompt)
        except (EOFError, KeyboardInterrupt):
            _write(sys.stderr, "\n")
            return None

    def lines(self) -> Iterator[str]:
        """The lines of a standard input that nobody types; empty ones are left out."""
        for line in sys.stdin or ():
            text = line.rstrip("\r\n")
            if text.strip():
                yield text

    def show(self, text: str) -> None:
        """A piece of a reply."""
        self._at_line_start = text.endswith("\n")
        _write(sys.stdout, text.translate(VISIBLE) if self.replies_to_person else text)

    def end_reply(self) -> None:
        """Replies end with a line break."""
        if not self._at_line_start:
            self.show("\n")

    def note(self, text: str) -> None:
        """A dim line for a person; nothing where nobody looks."""
        if self.notes_to_person:
            _write(sys.stderr, f"{DIM}{text}{PLAIN}\n" if self._styled else f"{text}\n")

    def say(self, text: str) -> None:
        """A line that matters."""
        _write(sys.stderr, f"{text}\n")

    @contextlib.contextmanager
    def loading(self, name: str) -> Iterator[Progress]:
        """A bar while a model loads, gone afterwards; nothing where nobody looks."""
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Bar

        title = TextColumn("loading {task.description}", markup=False)
        console = Console(stderr=True)
        hidden = not self.notes_to_person
        columns = (title, BarColumn(), TaskProgressColumn())
        with Bar(*columns, console=console, transient=True, disable=hidden) as bar:
            task = bar.add_task(name, total=1.0)
            yield lambda fraction: bar.update(task, completed=fraction)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()
