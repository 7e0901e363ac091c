"""Importance matrices: how much each input column of a matrix matters.

Format: GGUF as llama-imatrix writes it. For each tensor NAME, `NAME.in_sum2` holds the summed
squares of its inputs, [n_matrices, n_columns], and `NAME.counts` the number of values in each sum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from ..errors import ConvertError

TOKEN_EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")
"""Tables, looked up by row: no importance of columns is measured for them."""


@dataclass
class ImportanceMatrix:
    """Mean squared inputs, and where they come from."""

    path: Path
    entries: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """Tensor name -> float32 [n_matrices, n_columns]."""
    datasets: list[str] = field(default_factory=list)
    n_chunks: int = 0

    def slices(self, name: str, n_matrices: int, n_columns: int) -> NDArray[np.float32] | None:
        """The rows for one tensor, [n_matrices, n_columns]; None where the file has none.

        As llama-quantize does, takes any entry of the right number of values, and passes over one
        for token embeddings that has another. Raises ConvertError for the others that do not fit.
        """
        entry = self.entries.get(name)
        if entry is None:
            return None
        if entry.size == n_matrices * n_columns:
            return entry.reshape(n_matrices, n_columns)
        if name in TOKEN_EMBEDDINGS:
            return None
        raise ConvertError(
            f"{self.path} belongs to another model: it has {entry.shape[0]} x {entry.shape[1]} "
            f"values for {name}, which takes {n_matrices} x {n_columns}; make one with "
            "llama-imatrix from this model in Q8_0"
        )


def load_imatrix(path: Path) -> ImportanceMatrix:
    """Read a file. Raises ConvertError if it is none, or holds no finite, positive numbers."""
    from ..modelfile.header import read_header

    read_header(path)  # strict, where gguf's reader trusts; what it holds is no model
    reader = gguf.GGUFReader(path)
    if field_of(reader, "general.type") != "imatrix":
        raise ConvertError(
            f"{path} is no importance matrix in GGUF; make one with llama-imatrix "
            "(its older .dat files are read and rewritten by it)"
        )
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    found = ImportanceMatrix(
        path,
        datasets=list(field_of(reader, "imatrix.datasets") or []),
        n_chunks=int(field_of(reader, "imatrix.chunk_count") or 0),
    )
    for name, sums in tensors.items():
        if name.endswith(".in_sum2"):
            tensor = name.removesuffix(".in_sum2")
            found.entries[tensor] = mean(path, tensor, sums, tensors.get(f"{tensor}.counts"))
    if not found.entries:
        raise ConvertError(f"{path} holds no tensor's importance")
    return found


def field_of(reader: Any, key: str) -> Any:
    """A metadata value, None where it is not there."""
    found = reader.fields.get(key)
    return found and found.contents()


def mean(path: Path, name: str, sums: Any, counts: Any) -> NDArray[np.float32]:
    """Sums over counts; an expert that was never chosen counts each column alike, as upstream."""
    if counts is None or sums.size % counts.size:
        raise ConvertError(f"{path} has no counts for {name}, or {sums.size} sums for them")
    rows = sums.reshape(counts.size, -1).astype(np.float32)
    weight = counts.reshape(-1, 1).astype(np.float32)
    means = np.where(weight > 0, rows / np.maximum(weight, 1), np.float32(1))
    if not np.isfinite(means).all() or (means < 0).any():
        raise ConvertError(f"{path} holds NaN, infinite or negative importance for {name}")
    return np.ascontiguousarray(means, dtype=np.float32)
