"""Upstream's lazy tensors, computed a piece at a time and kept by nobody.

`conversion` describes a tensor as a tree of operations over the weights. Its own
evaluation keeps every intermediate result until the file is written; here each is dropped as
soon as it has been used, and a stack of experts is computed one expert after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType
from typing import Any

import gguf
import numpy as np
import torch
from conversion.base import LazyTorchTensor
from numpy.typing import NDArray

Array = NDArray[Any]


def evaluate(value: Any) -> Any:
    """The value of a lazy tensor, or of what is in a list or tuple; others as they are."""
    if isinstance(value, (list, tuple)):
        return type(value)(evaluate(item) for item in value)
    if not isinstance(value, gguf.LazyBase):
        return value
    if value._data is not None:
        return value._data
    assert value._func is not None
    return value._func(*evaluate(value._args), **value._kwargs)


class Deferred(gguf.LazyChunkedTensor):  # type: ignore[misc]
    """What upstream hands to its writer in place of a float tensor: shape and type, and the
    numbers only when asked. Upstream's chunked tensors pass through its code untouched."""

    def __init__(self, tensor: Any, dtype: type = np.float32) -> None:
        super().__init__([], tuple(tensor.shape), dtype)
        self._tensor = tensor

    def parts(self) -> Iterator[Array]:
        """The tensor's values, cut along its first axis where it is a stack or in chunks."""
        if isinstance(self._tensor, gguf.LazyChunkedTensor):
            for load in self._tensor._chunks:
                yield np.ascontiguousarray(load())
        else:
            for item in _stacked(_torch_of(self._tensor)):
                yield _to_numpy(evaluate(item))

    @property
    def n_parts(self) -> int:
        """How many parts there are."""
        if isinstance(self._tensor, gguf.LazyChunkedTensor):
            return len(self._tensor._chunks)
        return len(_stacked(_torch_of(self._tensor)))


class Single:
    """A tensor that is computed as a whole: packed weights, integers, ready arrays."""

    n_parts = 1

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor

    def parts(self) -> Iterator[Array]:
        yield np.ascontiguousarray(evaluate(self._tensor))


def defer(quantize: Any) -> Any:
    """gguf.quants.quantize, but for lazy tensors in a float type: those become `Deferred`."""
    widths = {gguf.GGMLQuantizationType.F32: np.float32, gguf.GGMLQuantizationType.F16: np.float16}

    def deferring(data: Any, qtype: Any) -> Any:
        if isinstance(data, gguf.LazyBase) and qtype in widths:
            return Deferred(data, widths[qtype])
        return quantize(data, qtype)

    return deferring


_TO_NUMPY = {
    constant
    for constant in LazyTorchTensor.numpy.__code__.co_consts
    if isinstance(constant, CodeType)
}
"""What `LazyTorchTensor.numpy()` does when its turn comes: the one function in it."""


def _torch_of(lazy: Any) -> Any:
    """The torch tensor under `lazy.numpy()`: the same numbers, one operation less."""
    return lazy._args[0] if getattr(lazy._func, "__code__", None) in _TO_NUMPY else lazy


def _stacked(lazy: Any) -> list[Any]:
    """The tensors that a stack along the first axis is made of; else the tensor itself."""
    if lazy._data is None and lazy._func is torch.stack:
        dim = lazy._kwargs.get("dim", lazy._args[1] if len(lazy._args) > 1 else 0)
        if dim == 0:
            return list(lazy._args[0])
    return [lazy]


def _to_numpy(value: Any) -> Array:
    if isinstance(value, torch.Tensor):
        if value.dtype == torch.bfloat16:
            value = value.float()
        value = value.numpy()
    return np.ascontiguousarray(value)
