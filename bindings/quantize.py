"""Quantising with llama.cpp's own recipes and kernels, without a model file.

`choose_types` says which type each tensor gets, `quantize` makes the bytes: both as llama-quantize
would, so that a file put together from them is the one that llama-quantize writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import _ffi
from .cores import physical_cores
from .errors import ArgumentError

Buffer = memoryview | NDArray[np.uint8]

QUANT_TYPES = (
    *("F32", "F16", "BF16", "Q1_0", "Q2_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "TQ1_0", "TQ2_0", "IQ1_S", "IQ1_M"),
    *("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4"),
)
"""What `quantize` can produce."""


@dataclass(frozen=True)
class QuantModel:
    """What llama.cpp's recipes ask of a model; named as in GGUF's metadata."""

    architecture: str
    n_layer: int
    """Blocks, those for multi-token prediction included."""
    n_embd: int
    n_ff: int
    n_head: int
    """Heads of the first layer, where layers differ; so also `n_head_kv`."""
    n_head_kv: int
    n_expert: int
    n_embd_head_k: int
    n_embd_head_v: int


@dataclass(frozen=True)
class QuantTensor:
    """A tensor before it is quantised."""

    name: str
    shape: tuple[int, ...]
    """ggml's order: row length first, one to four dimensions."""
    type: str = "F32"
    """What it is now."""


@dataclass(frozen=True)
class QuantChoice:
    """What becomes of a tensor."""

    type: str
    """As in `gguf.GGMLQuantizationType`; its own type if it is not `allowed`."""
    allowed: bool
    """Whether llama.cpp quantises this tensor at all."""
    needs_imatrix: bool
    """Whether this type is refused for this tensor without an importance matrix."""


def choose_types(
    model: QuantModel,
    tensors: Sequence[QuantTensor],
    ftype: int,
    *,
    has_imatrix: bool = False,
    pure: bool = False,
    output_type: str | None = None,
    token_embedding_type: str | None = None,
    overrides: Sequence[tuple[str, str]] = (),
) -> list[QuantChoice]:
    """The type that llama-quantize would give each tensor, in the order of `tensors`.

    Args:
        tensors: all of the model: recipes count them, and look for the output matrix.
        ftype: `gguf.LlamaFileType`, such as MOSTLY_Q4_K_M.
        has_imatrix: recipes are bolder with an importance matrix.
        pure: the recipe's main type for every tensor.
        output_type, token_embedding_type: types for these, whatever the recipe says.
        overrides: rows of (tensor name regex, type); the first matching row wins.

    Raises ArgumentError for what llama.cpp cannot take: an unknown architecture, type or file
    type, a layer that the model does not have, a type that does not fit a tensor's rows.
    """
    patterns = _ffi.texts([pattern for pattern, _ in overrides])
    types = _ffi.texts([type for _, type in overrides])
    recipe = _ffi.quant_recipe(
        ftype=ftype,
        has_imatrix=has_imatrix,
        pure=pure,
        output_type=output_type and output_type.encode(),
        token_embedding_type=token_embedding_type and token_embedding_type.encode(),
        n_overrides=len(overrides),
        override_patterns=patterns,
        override_types=types,
    )
    rows = _ffi.quant_tensors_of([_native_tensor(tensor) for tensor in tensors])
    lib = _ffi.library()
    lib.check(
        lib.quant_choose(_ffi.byref(_native_model(model)), _ffi.byref(recipe), rows, len(rows))
    )
    return [
        QuantChoice(_name(row.target), bool(row.allowed), bool(row.needs_imatrix)) for row in rows
    ]


def quantize(
    values: NDArray[np.float32],
    type: str,
    *,
    out: Buffer | None = None,
    imatrix: NDArray[np.float32] | None = None,
    n_threads: int = 0,
) -> tuple[NDArray[np.uint8], int]:
    """Convert a matrix, or one expert of a tensor, to a type of QUANT_TYPES.

    Args:
        values: float32, C-contiguous, [n_rows, n_per_row].
        out: where to write, n_rows * row_bytes bytes; new memory if None.
        imatrix: importance of each column, float32 [n_per_row], finite and not negative.
        n_threads: 0 is one per core.

    Returns the bytes, uint8 [n_rows, row_bytes], and how many of the values are NaN or infinite;
    if there are any, the bytes must not be used.

    Raises ArgumentError for a type that cannot be made, needs an importance matrix and has none,
    or does not divide the rows, and for values too large for it.
    """
    _check_matrix(values, np.float32, "values")
    n_rows, n_per_row = values.shape
    if imatrix is not None and (
        imatrix.shape != (n_per_row,)
        or imatrix.dtype != np.float32
        or not imatrix.flags.c_contiguous
    ):
        raise ArgumentError(
            f"the importance matrix is {imatrix.dtype} {imatrix.shape}; it must be float32 "
            f"({n_per_row},), contiguous: one slice for each expert"
        )
    result = _output(out, n_rows, row_bytes(type, n_per_row))
    n_bad = _ffi.int64()
    lib = _ffi.library()
    lib.check(
        lib.quantize(
            type.encode(),
            values.ctypes.data,
            n_rows,
            n_per_row,
            None if imatrix is None else imatrix.ctypes.data,
            n_threads or physical_cores(),
            result.ctypes.data,
            result.nbytes,
            _ffi.byref(n_bad),
        )
    )
    return result, n_bad.value


def dequantize(
    data: NDArray[np.uint8], type: str, n_per_row: int, *, n_threads: int = 0
) -> NDArray[np.float32]:
    """The floats behind the bytes of whole rows, float32 [n_rows, n_per_row].

    Args:
        data: uint8, C-contiguous, of any shape; its size is a multiple of `row_bytes`.

    Raises ArgumentError for a type that llama.cpp cannot read, and for a part of a row.
    """
    if data.dtype != np.uint8 or not data.flags.c_contiguous:
        raise ArgumentError(f"data is {data.dtype}; it must be uint8 and contiguous")
    n_rows, rest = divmod(data.nbytes, row_bytes(type, n_per_row))
    if rest:
        raise ArgumentError(
            f"{data.nbytes} bytes are no whole rows of {n_per_row} values in {type}"
        )
    values = np.empty((n_rows, n_per_row), dtype=np.float32)
    lib = _ffi.library()
    lib.check(
        lib.dequantize(
            type.encode(),
            data.ctypes.data,
            data.nbytes,
            n_rows,
            n_per_row,
            n_threads or physical_cores(),
            values.ctypes.data,
        )
    )
    return values


def row_bytes(type: str, n_per_row: int) -> int:
    """Bytes of a row. Raises ArgumentError if the row is not made of whole blocks."""
    if not 0 < n_per_row < 2**31:
        raise ArgumentError(f"a row of {n_per_row} values; it must have 1 to {2**31 - 1}")
    n_bytes = _ffi.int64()
    lib = _ffi.library()
    lib.check(lib.quant_row_bytes(type.encode(), n_per_row, _ffi.byref(n_bytes)))
    return n_bytes.value


def _name(type: bytes) -> str:
    return type.decode().upper()


def _native_model(model: QuantModel) -> _ffi.quant_model:
    return _ffi.quant_model(**(vars(model) | {"architecture": model.architecture.encode()}))


def _native_tensor(tensor: QuantTensor) -> _ffi.quant_tensor:
    if not 1 <= len(tensor.shape) <= 4:
        raise ArgumentError(f"'{tensor.name}' has shape {tensor.shape}; 1 to 4 dimensions can be")
    ne = (*tensor.shape, 1, 1, 1)
    return _ffi.quant_tensor(
        name=tensor.name.encode(),
        type=tensor.type.encode(),
        ne0=ne[0],
        ne1=ne[1],
        ne2=ne[2],
        ne3=ne[3],
    )


def _check_matrix(values: NDArray[np.float32], dtype: type[np.float32], name: str) -> None:
    if values.ndim != 2 or values.dtype != dtype or not values.flags.c_contiguous:
        raise ArgumentError(
            f"{name} is {values.dtype} {values.shape}; it must be float32 [n_rows, n_per_row], "
            "contiguous"
        )


def _output(out: Buffer | None, n_rows: int, n_bytes: int) -> NDArray[np.uint8]:
    if out is None:
        return np.empty((n_rows, n_bytes), dtype=np.uint8)
    view = out.data if isinstance(out, np.ndarray) else out
    if view.readonly or not view.c_contiguous or view.nbytes != n_rows * n_bytes:
        raise ArgumentError(
            f"out has {view.nbytes} bytes; it must have {n_rows * n_bytes}, writable and contiguous"
        )
    return np.frombuffer(view, dtype=np.uint8).reshape(n_rows, n_bytes)
