"""Compute tensors and write them: read, convert, quantise, once each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cores import physical_cores
from ..errors import ConvertError
from ..quantize import quantize
from .imatrix import ImportanceMatrix
from .shard import Shard
from .source import FLOATS, Source
from .table import TensorPlan

Matrix = NDArray[np.float32]
Importance = NDArray[np.float32]

SLAB_BYTES = 64 << 20
"""Most float32 values that are quantised at once."""

AHEAD_BYTES = 256 << 20
"""Largest matrix of which the next one is computed while this one is quantised."""


@cache
def n_threads() -> int:
    """All cores; asked once, there can be thousands of small matrices."""
    return physical_cores()


def write_tensor(
    source: Source,
    plan: TensorPlan,
    imatrix: ImportanceMatrix | None,
    shard: Shard,
    wrote: Callable[[int], None],
) -> None:
    """Write one tensor to its place. `wrote` is called with the bytes of each piece.

    Raises ConvertError for NaN and infinite values.
    """
    if plan.type == source.type and not source.is_float:
        data = source.raw()
        shard.write(data)
        wrote(data.nbytes)
    else:
        n_bad = 0
        for matrix, importance in zip(
            ahead(source), importances(source, plan, imatrix), strict=False
        ):
            n_bad += write_matrix(matrix, plan.type, importance, shard, wrote)
        if n_bad:
            raise ConvertError(
                f"{plan.name} holds {n_bad} values that are NaN or infinite, of "
                f"{source.n_weights}: the checkpoint is damaged or was trained to no good end"
            )
    shard.end_tensor(plan)


def write_matrix(
    matrix: Matrix,
    type: str,
    importance: Importance | None,
    shard: Shard,
    wrote: Callable[[int], None],
) -> int:
    """Quantise a matrix in slabs of rows; returns how many values were NaN or infinite."""
    n_bad = 0
    rows = max(1, SLAB_BYTES // (4 * matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        data, bad = quantize(
            matrix[start : start + rows], type, imatrix=importance, n_threads=n_threads()
        )
        n_bad += bad
        shard.write(data)
        wrote(data.nbytes)
    return n_bad


def importances(
    source: Source, plan: TensorPlan, imatrix: ImportanceMatrix | None
) -> Iterator[Importance | None]:
    """The importance of each matrix's columns, None without; never ends."""
    slices = None
    if imatrix is not None and plan.type not in FLOATS:
        slices = imatrix.slices(plan.name, source.n_matrices, source.shape[0])
    for index in count():
        yield None if slices is None else slices[index if len(slices) > 1 else 0]


def ahead(source: Source) -> Iterator[Matrix]:
    """A tensor's matrices, the next one being computed while the caller works on this one."""
    matrices = source.matrices()
    if source.tensor.n_parts == 1 or 4 * source.n_weights // source.tensor.n_parts > AHEAD_BYTES:
        yield from matrices
        return
    end: Any = object()
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, matrices, end)
        while (matrix := coming.result()) is not end:
            coming = reader.submit(next, matrices, end)
            yield matrix
