"""Rows that the engine writes into arrays of ours: memory by kind, and tensors."""

from __future__ import annotations

from typing import Any

from . import _ffi
from .memory import KINDS, MemoryRow, TensorRow
from .sharing import CellGroup

MAX_ROWS = 256
_CELL_KINDS = ("kv", "window", "state")


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


def cell_groups(context: _ffi.Handle) -> tuple[CellGroup, ...]:
    """Who holds which cells. Nobody may decode between the two calls in here."""
    lib = _ffi.library()
    n_groups, n_holders = _ffi.int32(), _ffi.int32()
    lib.check(
        lib.context_cells(context, None, 0, _ffi.byref(n_groups), None, 0, _ffi.byref(n_holders))
    )
    groups, holders = _ffi.cell_groups_of(n_groups.value), _ffi.int32s_of(n_holders.value)
    lib.check(
        lib.context_cells(
            *(context, groups, n_groups.value, _ffi.byref(n_groups)),
            *(holders, n_holders.value, _ffi.byref(n_holders)),
        )
    )
    return tuple(
        CellGroup(
            _CELL_KINDS[group.kind],
            group.n_cells,
            group.cell_bytes,
            tuple(holders[group.first_holder : group.first_holder + group.n_holders]),
        )
        for group in groups
    )
