"""Quantisation recipes by the names that llama-quantize gives them.

A recipe is a mix: which type each tensor gets is llama.cpp's own code's to say
(`pannier.quantize.choose_types`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ..errors import ConvertError

FILE_TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q2_K": 10,
    "Q3_K_S": 11,
    "Q3_K_M": 12,
    "Q3_K_L": 13,
    "Q4_K_S": 14,
    "Q4_K_M": 15,
    "Q5_K_S": 16,
    "Q5_K_M": 17,
    "Q6_K": 18,
    "IQ2_XXS": 19,
    "IQ2_XS": 20,
    "Q2_K_S": 21,
    "IQ3_XS": 22,
    "IQ3_XXS": 23,
    "IQ1_S": 24,
    "IQ4_NL": 25,
    "IQ3_S": 26,
    "IQ3_M": 27,
    "IQ2_S": 28,
    "IQ2_M": 29,
    "IQ4_XS": 30,
    "IQ1_M": 31,
    "BF16": 32,
    "TQ1_0": 36,
    "TQ2_0": 37,
    "MXFP4_MOE": 38,
    "Q1_0": 40,
    "Q2_0": 41,
}
"""Recipe -> `llama_ftype` (llama.cpp, `include/llama.h`), the file's `general.file_type`."""

_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "MXFP4": "MXFP4_MOE"}

FLOAT_RECIPES = ("F32", "F16", "BF16")

LADDER = (
    "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_L", "Q3_K_M",
    "IQ3_M", "IQ3_S", "Q3_K_S", "IQ3_XS", "IQ3_XXS", "Q2_K", "IQ2_M", "IQ2_S", "IQ2_XS",
    "IQ2_XXS", "IQ1_M", "IQ1_S",
)  # fmt: skip
"""Recipes for `--target-size`, best first: llama.cpp's own order of perplexity."""


def recipe_named(name: str) -> str:
    """The recipe of this name in any case, aliases included. Raises ConvertError."""
    upper = name.upper()
    recipe = _ALIASES.get(upper, upper)
    if recipe not in FILE_TYPES:
        raise ConvertError(
            f"no quantisation recipe {name!r}{nearest(upper, FILE_TYPES)}; "
            f"there are auto, {', '.join(FILE_TYPES)}"
        )
    return recipe


def nearest(name: str, known: Iterable[str]) -> str:
    """The known names that are most like `name`, as the end of a sentence; "" without any."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; nearest: {', '.join(close)}" if close else ""
