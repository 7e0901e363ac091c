"""Progress of long work: a bar on a terminal, plain lines elsewhere. All on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PLAIN_INTERVAL_S = 10.0
"""Without a terminal, a line at most this often."""


class Report(Protocol):
    """Takes how much is done, of how much, and what is being done now."""

    def __call__(self, done: int, total: int, now: str = "") -> None: ...


@contextmanager
def progress(title: str, unit: str = "") -> Iterator[Report]:
    """Show the progress of one piece of work; yields the function to call.

    `unit` "bytes" shows sizes, anything else plain counts.
    """
    if sys.stderr.isatty():
        with _bar(unit) as bar:
            yield _BarReport(bar, bar.add_task(title, total=None, now=""))
    else:
        say(title)
        yield _LineReport(title, unit)


def say(message: str) -> None:
    """One line of chatter."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


class _BarReport:
    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def __call__(self, done: int, total: int, now: str = "") -> None:
        self._bar.update(self._task, completed=done, total=total, now=now)


class _LineReport:
    def __init__(self, title: str, unit: str) -> None:
        self._title = title
        self._unit = unit
        self._last = time.monotonic()
        self._ended = False

    def __call__(self, done: int, total: int, now: str = "") -> None:
        ends = done >= total and not self._ended
        if time.monotonic() - self._last < PLAIN_INTERVAL_S and not ends:
            return
        self._ended = done >= total
        self._last = time.monotonic()
        say(f"{self._title}: {self._amount(done)} of {self._amount(total)} {now}".rstrip())

    def _amount(self, count: int) -> str:
        return f"{count / 1e6:.1f} MB" if self._unit == "bytes" else str(count)


def _bar(unit: str) -> Progress:
    from rich import progress as rich_progress
    from rich.console import Console

    amount: rich_progress.ProgressColumn = rich_progress.MofNCompleteColumn()
    if unit == "bytes":
        amount = rich_progress.DownloadColumn()
    return rich_progress.Progress(
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        amount,
        rich_progress.TimeElapsedColumn(),
        rich_progress.TextColumn("{task.fields[now]}", markup=False),
        console=Console(stderr=True),
    )
