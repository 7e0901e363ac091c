"""How much memory a conversion takes."""

from __future__ import annotations

from collections.abc import Iterable

from .quantise import AHEAD_BYTES, SLAB_BYTES
from .source import Source

BASE_BYTES = 900 << 20
"""Of the process before it reads a weight: torch, transformers, the tokenizer, the engine."""


def estimate_peak(sources: Iterable[Source]) -> int:
    """Most memory that a conversion holds at once, in bytes: the process, and of the largest
    piece the checkpoint's bytes, its values in float32, and the same once more where the next
    piece is computed meanwhile or the values have to be put in another order."""
    largest = max((4 * source.n_weights // source.tensor.n_parts for source in sources), default=0)
    copies = 3 if largest <= AHEAD_BYTES else 2
    return BASE_BYTES + copies * largest + 2 * SLAB_BYTES
