"""The arrays of a file's metadata, left where they are until an element is asked for."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt


class NumberArray(Sequence[Any]):
    """An array of numbers or truth values; `values` is a read-only view of the file."""

    def __init__(self, values: npt.NDArray[Any], type: str) -> None:
        self.values = values
        self.type = type
        """GGUF's word for the elements, e.g. "u32"."""

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.values[index].tolist()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values.tolist())


class StringArray(Sequence[str]):
    """An array of strings. What is no UTF-8 in them is replaced when they become `str`."""

    type = "str"

    def __init__(
        self,
        data: mmap.mmap,
        starts: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        has_nul: bool,
    ) -> None:
        self.data = data
        self.starts = starts
        """Where each string begins in the file."""
        self.lengths = lengths
        """Bytes of each string."""
        self.has_nul = has_nul
        """Whether some string has a zero byte, where it ends for C."""

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.raw(index).decode("utf-8", "replace")

    def raw(self, index: int) -> bytes:
        """The bytes of one string."""
        start = int(self.starts[index])
        return self.data[start : start + int(self.lengths[index])]
