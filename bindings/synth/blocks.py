"""Random weights as bytes of quantised blocks: no quantiser, any bits are a valid block.

What is not arbitrary is a block's scale. It is set so that the weights have the standard deviation
that is asked for; its sign is random where codes have a mean, so that a row's weights have none.
Where a group of codes has a minimum, it is the group's mean: groups that lean to one side would
add up, weights with activations. Layouts are those of ggml (`ggml/src/ggml-common.h`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import floor, log2, prod

import gguf
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
FLOATS = ("F32", "F16", "BF16")
_MXFP4_UNIT = 128
"""The exponent byte with which MXFP4's codes stand for themselves, halves and integers."""


@dataclass(frozen=True)
class Scale:
    """A half-precision number in each block: `factor` times the block's scale."""

    offset: int
    factor: float = 1.0


_SCALES = {
    "Q4_0": (Scale(0),),
    "Q4_1": (Scale(0), Scale(2, -7.5)),
    "Q5_0": (Scale(0),),
    "Q5_1": (Scale(0), Scale(2, -15.5)),
    "Q8_0": (Scale(0),),
    "Q2_K": (Scale(80), Scale(82, 1.5)),
    "Q3_K": (Scale(108),),
    "Q4_K": (Scale(0), Scale(2, 7.5)),
    "Q5_K": (Scale(0), Scale(2, 15.5)),
    "Q6_K": (Scale(208),),
    "IQ4_NL": (Scale(0),),
    "IQ4_XS": (Scale(0),),
    "IQ3_XXS": (Scale(0),),
    "IQ3_S": (Scale(0),),
    "IQ2_XXS": (Scale(0),),
    "IQ2_XS": (Scale(0),),
    "IQ2_S": (Scale(0),),
}
"""Where the scales are. A second one is that of minimums, such that codes have no mean."""

_GROUP_SCALES = {"Q4_K": slice(4, 16), "Q5_K": slice(4, 16), "Q2_K": slice(0, 16)}
"""Where the groups' scales and minimums are: four bits each in Q2_K, six each in the others."""

KNOWN = (*FLOATS, *_SCALES, "MXFP4")
"""Types that can be made."""


def random_rows(
    type: str, n_rows: int, row_length: int, deviation: float, random: np.random.Generator
) -> Bytes:
    """Rows of random weights with mean 0 and this standard deviation, [n_rows, row bytes].

    The type is one of KNOWN, the length a multiple of its blocks.
    """
    if type in FLOATS:
        values = random.standard_normal((n_rows, row_length), dtype=np.float32)
        return as_bytes(values * np.float32(deviation), type)
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type]]
    blocks = random_bytes((n_rows * (row_length // block), size), random)
    _set_block_scales(blocks, type, deviation / deviation_at_unit(type))
    return blocks.reshape(n_rows, -1)


def random_bytes(shape: tuple[int, int], random: np.random.Generator) -> Bytes:
    """Uniform bytes, made eight at a time."""
    n = prod(shape)
    words = random.integers(0, 1 << 64, size=-(-n // 8), dtype=np.uint64)
    return words.view(np.uint8)[:n].reshape(shape)


def as_bytes(values: NDArray[np.float32], type: str) -> Bytes:
    """Floats in a type of FLOATS."""
    rows: Bytes = gguf.quantize(values, gguf.GGMLQuantizationType[type])
    return rows.view(np.uint8)


@cache
def deviation_at_unit(type: str) -> float:
    """Standard deviation of random blocks whose scale is 1."""
    size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type]][1]
    blocks = random_bytes((4096, size), np.random.default_rng(1))
    _set_block_scales(blocks, type, 1.0)
    values = gguf.dequantize(blocks, gguf.GGMLQuantizationType[type])
    return float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))


def _set_block_scales(blocks: Bytes, type: str, scale: float) -> None:
    if type == "MXFP4":
        _set_exponents(blocks, scale)
        return
    _set_halves(blocks, _SCALES[type], scale)
    if type in _GROUP_SCALES:
        _equal_minimums(blocks[:, _GROUP_SCALES[type]])


def _set_halves(blocks: Bytes, scales: tuple[Scale, ...], scale: float) -> None:
    """Write the scales, the sign of a block's being the top bit of the random bytes there."""
    sign = blocks[:, scales[0].offset + 1] & 0x80
    for field in scales:
        low, high = np.array([field.factor * scale], dtype="<f2").view(np.uint8)
        blocks[:, field.offset] = low
        blocks[:, field.offset + 1] = sign ^ high


def _equal_minimums(groups: Bytes) -> None:
    """Give each group of codes a minimum as large as its scale."""
    if groups.shape[1] == 12:  # six bits: of four groups in bytes of their own, and what is left
        groups[:, 4:8] = groups[:, 0:4]
        groups = groups[:, 8:12]
    groups &= 0x0F
    groups *= 0x11


def _set_exponents(blocks: Bytes, scale: float) -> None:
    """Write MXFP4's powers of two, two neighbours mixed so that the mean square comes out."""
    power = floor(log2(scale))
    share = ((scale / 2.0**power) ** 2 - 1) / 3
    blocks[:, 0] = _MXFP4_UNIT + power + (blocks[:, 0] < round(256 * share))
