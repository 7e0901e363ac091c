"""Who is inside native memory, so that nobody frees it under them."""

from __future__ import annotations

import threading
from types import TracebackType

from .errors import ClosedError


class Gate:
    """Threads are inside it, as a context manager, until it is shut.

    Args:
        why: what those are told who come later.
    """

    def __init__(self, why: str) -> None:
        self._why = why
        self._n_inside = 0
        self._is_shut = False
        self._change = threading.Condition()

    def __enter__(self) -> None:
        with self._change:
            if self._is_shut:
                raise ClosedError(self._why)
            self._n_inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._change:
            self._n_inside -= 1
            self._change.notify_all()

    def shut(self) -> None:
        """Let nobody in any more, and wait until all are out."""
        with self._change:
            self._is_shut = True
            self._change.wait_for(lambda: self._n_inside == 0)
