"""ggml's types against the gguf package's table."""

from __future__ import annotations

import gguf

from pannier.modelfile.tensor_types import TYPES


def test_sizes_are_those_of_gguf() -> None:
    wrong_there = {"Q8_1"}  # gguf says 40 bytes: two halves as floats
    for number, block_size in gguf.GGML_QUANT_SIZES.items():
        kind = TYPES[int(number)]
        assert kind.name == number.name
        if kind.name not in wrong_there:
            assert (kind.block, kind.size) == block_size
