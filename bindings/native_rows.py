"""Rows that the engine writes into arrays of ours: memory by kind, and tensors."""

from __future__ import annotations

from typing import Any

from . import _ffi
from .memory import KINDS, MemoryRow, TensorRow

MAX_ROWS = 256


def memory_rows(function: Any, *args: Any) -> list[_ffi.memory_row]:
    """What a function that ends in (rows, capacity, count) writes."""
    array = _ffi.memory_rows_of(MAX_ROWS)
    count = _ffi.int32()
    _ffi.library().check(function(*args, array, MAX_ROWS, _ffi.byref(count)))
    return list(array[: count.value])


def as_memory_row(row: _ffi.memory_row) -> MemoryRow:
    """A row of a kind."""
    return MemoryRow(
        device=row.device.decode(),
        buffer_type=row.buffer_type.decode(),
        is_host=bool(row.is_host),
        kind=KINDS[row.kind],
        bytes=row.bytes,
    )


def tensor_rows(model: _ffi.Handle) -> tuple[TensorRow, ...]:
    """Every tensor of a model."""
    lib = _ffi.library()
    count = _ffi.int32()
    lib.check(lib.model_tensors(model, None, 0, _ffi.byref(count)))
    array = _ffi.tensor_rows_of(count.value)
    lib.check(lib.model_tensors(model, array, count.value, _ffi.byref(count)))
    return tuple(
        TensorRow(
            name=row.name.decode(),
            device=row.device.decode(),
            buffer_type=row.buffer_type.decode(),
            is_host=bool(row.is_host),
            bytes=row.bytes,
        )
        for row in array
    )
