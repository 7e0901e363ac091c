"""Calls for coroutines: each runs in a thread, and ends there when its coroutine is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextvars import ContextVar
from typing import Any, TypeVar

from ..errors import ClosedError
from ..pool import Call

Result = TypeVar("Result")
CANCELLED = "the coroutine that waited for this call was cancelled"
_END = object()


class Work:
    """What one coroutine wants done in threads."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._cancelled = False
        self._call: Call | None = None

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call it in a thread. A result that is an iterator becomes an asynchronous one."""
        found = await self._wait(function, *args)
        return self._stream(found) if isinstance(found, Iterator) else found

    async def _stream(self, rows: Iterator[Any]) -> AsyncIterator[Any]:
        try:
            while (row := await self._wait(next, rows, _END)) is not _END:
                yield row
        finally:
            self.cancel()

    async def _wait(self, function: Callable[..., Result], *args: Any) -> Result:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, self._noted, function, *args)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def _noted(self, function: Callable[..., Result], *args: Any) -> Result:
        before = _current.set(self)
        try:
            return function(*args)
        finally:
            _current.reset(before)

    def note(self, call: Call) -> None:
        """A call that this work waits for. Raises ClosedError when it is cancelled already."""
        with self._lock:
            self._call = call  # one at a time
            cancelled = self._cancelled
        if cancelled:
            call.close()
            raise ClosedError(CANCELLED)

    def cancel(self) -> None:
        """End what runs, and let nothing begin. From any thread."""
        with self._lock:
            self._cancelled = True
            call, self._call = self._call, None
        if call is not None:
            call.cancel(CANCELLED)


_current: ContextVar[Work | None] = ContextVar("work", default=None)


def note(call: Call) -> Call:
    """Let the coroutine that this thread works for, if there is one, cancel a call."""
    work = _current.get()
    if work is not None:
        work.note(call)
    return call
