"""Requests that have not started: by priority, then by arrival."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from typing import Generic, TypeVar

from .messages import AnyRequest

Request = TypeVar("Request", bound=AnyRequest)


class WaitingLine(Generic[Request]):
    """An ordered line; iterating over it allows removals meanwhile."""

    def __init__(self) -> None:
        self._line: list[tuple[int, int, Request]] = []

    def __len__(self) -> int:
        return len(self._line)

    def __iter__(self) -> Iterator[Request]:
        return iter([request for _, _, request in self._line])

    def add(self, request: Request) -> None:
        """At the end of those with its priority. Ids rise with arrival."""
        insort(self._line, (-request.priority, request.id, request), key=lambda row: row[:2])

    def remove(self, id: int) -> Request | None:
        """Take a request out; None if it is not here."""
        for i, (_, _, request) in enumerate(self._line):
            if request.id == id:
                del self._line[i]
                return request
        return None
