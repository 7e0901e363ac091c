"""A tensor of the checkpoint under GGUF's name, not yet computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from .lazy import Deferred, evaluate

FLOATS = ("F32", "F16", "BF16")


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
    tensor: Any
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
    def n_parts(self) -> int:
        """In how many pieces the tensor is computed."""
        return self.tensor.n_parts if isinstance(self.tensor, Deferred) else 1

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Rows and row length of one matrix: an expert, or the whole of a flat tensor."""
        row = self.shape[0]
        return (self.shape[1] if len(self.shape) > 2 else self.n_weights // row, row)

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
        array = np.ascontiguousarray(evaluate(self.tensor))
        return array.reshape(-1).view(np.uint8)

    def _floats(self) -> Iterator[NDArray[np.float32]]:
        if isinstance(self.tensor, Deferred):
            for part in self.tensor.parts():
                yield np.ascontiguousarray(part, dtype=np.float32)
        elif self.is_float:
            kind = gguf.GGMLQuantizationType[self.type]
            yield gguf.dequantize(np.ascontiguousarray(evaluate(self.tensor)), kind)
        else:
            yield self._dequantised()

    def _dequantised(self) -> NDArray[np.float32]:
        from ..quantize import dequantize

        values = dequantize(self.raw(), self.type, self.shape[0])
        if self.scale is not None:
            factors = np.concatenate([part.reshape(-1) for part in self.scale._floats()])
            values = values.reshape(len(factors), -1) * factors[:, None]
        return values
