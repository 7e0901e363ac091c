"""How much memory a conversion takes, and how much there is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .quantise import AHEAD_BYTES, SLAB_BYTES
from .source import Source

BASE_BYTES = 900 << 20
"""Of the process before it reads a weight: torch, transformers, the tokenizer, the engine."""


def estimate_peak(sources: Iterable[Source]) -> int:
    """Most memory that a conversion holds at once, in bytes: the process, and of the largest
    piece the checkpoint's bytes, its values in float32, and the same once more where the next
    piece is computed meanwhile or the values have to be put in another order."""
    largest = max((4 * source.n_weights // source.n_parts for source in sources), default=0)
    copies = 3 if largest <= AHEAD_BYTES else 2
    return BASE_BYTES + copies * largest + 2 * SLAB_BYTES


def available_bytes() -> int | None:
    """Memory that can be had without swapping; None where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    lines = dict(line.split(":") for line in text.splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024
