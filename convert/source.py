"""A tensor of the checkpoint under GGUF's name, not yet computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import gguf
import numpy as np
from numpy.typing import NDArray

FLOATS = ("F32", "F16", "BF16")


class Parts(Protocol):
    """Where a tensor's numbers come from."""

    @property
    def n_parts(self) -> int:
        """In how many pieces they are computed."""

    def parts(self) -> Iterator[NDArray[Any]]:
        """The pieces along the first axis, each computed when it is asked for: floats, or the
        bytes of a type that numpy does not have."""


@dataclass
class Source:
    """One tensor as upstream maps it, in a type that loses nothing."""

    name: str
    shape: tuple[int, ...]
    """ggml order: the row length first."""
    type: str
    """F32 or F16 for numbers, or the checkpoint's own quantised type (NVFP4, MXFP4)."""
    n_bytes: int
    """In `type`."""
    tensor: Parts
    scale: Source | None = None
    """What an NVFP4 tensor's values are multiplied with at inference, one number a matrix."""

    @property
    def is_float(self) -> bool:
        return self.type in FLOATS

    @property
    def is_native(self) -> bool:
        """Whether the checkpoint itself is quantised here."""
        return not self.is_float and not self.type.startswith("I")

    @property
    def n_weights(self) -> int:
        return prod(self.shape)

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Rows and row length of one matrix: an expert, or the whole of a flat tensor."""
        row = self.shape[0]
        return (self.shape[1] if len(self.shape) > 2 else self.n_weights // row, row)

    @property
    def n_matrices(self) -> int:
        """How many of `matrix_shape` it holds: the experts, or 1."""
        return self.n_weights // (self.matrix_shape[0] * self.matrix_shape[1])

    def matrices(self) -> Iterator[NDArray[np.float32]]:
        """The numbers, [rows, row length] in float32: a matrix for each expert of a stack, the
        whole tensor where it has two dimensions or fewer, in pieces if it comes in pieces."""
        rows, row = self.matrix_shape
        stacked = len(self.shape) > 2
        for part in self._floats():
            values = part.reshape(-1, rows, row) if stacked else part.reshape(1, -1, row)
            yield from values

    def raw(self) -> NDArray[np.uint8]:
        """The bytes as the checkpoint's own type has them."""
        (array,) = self.tensor.parts()
        return array.reshape(-1).view(np.uint8)

    def _floats(self) -> Iterator[NDArray[np.float32]]:
        if self.is_native:
            yield self._dequantised()
            return
        for part in self.tensor.parts():
            if part.dtype.kind != "f":
                part = gguf.dequantize(part, gguf.GGMLQuantizationType[self.type])
            yield np.ascontiguousarray(part, dtype=np.float32)

    def _dequantised(self) -> NDArray[np.float32]:
        from ..quantize import dequantize

        values = dequantize(self.raw(), self.type, self.shape[0])
        if self.scale is not None:
            factors = np.concatenate([part.reshape(-1) for part in self.scale._floats()])
            values = values.reshape(len(factors), -1) * factors[:, None]
        return values
