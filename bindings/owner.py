"""What is closed when it is left, and native memory when it is forgotten too."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from . import _ffi

T = TypeVar("T", bound="Closing")


class Closing:
    """A context manager over `close()`."""

    def close(self) -> None:
        """Free what it has. Closing twice does nothing."""
        raise NotImplementedError

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Owner(Closing):
    """Something that owns native memory until it is closed, left or forgotten."""

    _handle: _ffi.Handle | None = None

    def __del__(self) -> None:
        if self._handle is not None:
            self.close()
