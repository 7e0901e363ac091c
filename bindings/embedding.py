"""Embeddings of prompts, computed in a context made for them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import _ffi

if TYPE_CHECKING:
    from .context import Context

POOLING = {"auto": -1, "none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}
"""How the rows of a prompt's tokens become one."""

Rows = npt.NDArray[np.float32]


def embed(context: Context, prompts: Sequence[Sequence[int]]) -> Rows | list[Rows]:
    """One row for each prompt, or for each token of each prompt where nothing is pooled."""
    lengths = [len(prompt) for prompt in prompts]
    pooled = context.pooling != "none"
    rows = np.zeros(
        (len(prompts) if pooled else sum(lengths), context.n_embd_out), dtype=np.float32
    )
    if prompts:
        context.call(
            "context_embed",
            _ffi.int32s(list(chain.from_iterable(prompts))),
            _ffi.int32s(lengths),
            len(prompts),
            _ffi.float32_pointer(rows.ctypes.data),
            rows.size,
        )
    return rows if pooled else np.split(rows, list(accumulate(lengths))[:-1]) if prompts else []


def normalized(rows: Rows) -> Rows:
    """Rows of length 1 (L2); a row of zeros stays one."""
    norms: Rows = np.linalg.norm(rows, axis=-1, keepdims=True)
    norms[norms == 0] = 1
    return np.divide(rows, norms)
