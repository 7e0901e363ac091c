"""Sets of layers as people write them, and as patterns over tensor names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from .errors import ArgumentError

MAX_LAYERS = 512
"""llama.cpp's own limit (`src/llama-hparams.h`)."""


def read_layers(text: str) -> frozenset[int]:
    """ "0-3,8" as the layers 0, 1, 2, 3 and 8. Raises ArgumentError."""
    layers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last < MAX_LAYERS:
            raise ArgumentError(
                f"{part.strip()!r} is no layer and no range of layers: write 7, or 0-23, the "
                f"smaller number first, up to {MAX_LAYERS - 1}"
            )
        layers.update(range(first, last + 1))
    return frozenset(layers)


def ranges_text(layers: Iterable[int]) -> str:
    """The same the other way: "0-3,8"."""
    numbered = enumerate(sorted(set(layers)))
    runs = [
        [layer for _, layer in run] for _, run in groupby(numbered, lambda one: one[1] - one[0])
    ]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def layers_text(layers: Iterable[int]) -> str:
    """ "layer 3", "layers 0-3, 7"."""
    text = ranges_text(layers).replace(",", ", ")
    return f"layer{'' if text.isdecimal() else 's'} {text}"


def layers_pattern(layers: Iterable[int]) -> str:
    """How the names of these layers' tensors begin, as a regex without repetitions:
    `blk\\.([0-9]|1[0-3])`, up to the layer's number and no further."""
    tens = groupby(sorted(set(layers)), lambda layer: layer // 10)
    return rf"blk\.({'|'.join(_tens_pattern(ten, [n % 10 for n in ones]) for ten, ones in tens)})"


def _tens_pattern(ten: int, digits: list[int]) -> str:
    head = str(ten or "")
    if len(digits) == 1:
        return f"{head}{digits[0]}"
    if digits == list(range(digits[0], digits[-1] + 1)) and len(digits) > 2:
        return f"{head}[{digits[0]}-{digits[-1]}]"
    return f"{head}[{''.join(map(str, digits))}]"
