"""How a conversion is to be done: what the command line and `convert` take, checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import ArgumentError, ConvertError
from ..expert_words import parse_experts
from .recipes import nearest, recipe_named

AUTO = "auto"
Mtp = Literal["keep", "drop", "only"]
TensorType = tuple[str, str]


@dataclass(frozen=True)
class Options:
    """Travels as JSON to the process that converts."""

    quant: str = AUTO
    """A recipe, or "auto": the checkpoint's own precision."""
    tensor_types: tuple[TensorType, ...] = ()
    """(regular expression over tensor names, type), before the recipe; the first match counts."""
    experts_quant: str | None = None
    output_quant: str | None = None
    imatrix: str | None = None
    exact_recipe: bool = False
    """Quantise what llama.cpp's recipe quantises, SSM gates and decays included."""
    requantize: bool = False
    """Let the recipe have tensors that are NVFP4 or MXFP4 in the checkpoint."""
    target_bytes: int | None = None
    experts: str = "auto"
    """As `parse_experts` reads it."""
    split_experts: bool = False
    mtp: Mtp = "keep"
    name: str | None = None
    pre: str | None = None
    trust_remote_code: bool = False


def make_options(
    *,
    quant: str = AUTO,
    tensor_types: Iterable[str | TensorType] = (),
    experts_quant: str | None = None,
    output_quant: str | None = None,
    imatrix: str | Path | None = None,
    target_size: str | int | None = None,
    **rest: Any,
) -> Options:
    """Check what can be checked without the checkpoint. Raises ConvertError."""
    options = Options(
        quant=quant if quant == AUTO else recipe_named(quant),
        tensor_types=tuple(_tensor_type(pair) for pair in tensor_types),
        experts_quant=None if experts_quant is None else _type_named(experts_quant),
        output_quant=None if output_quant is None else _type_named(output_quant),
        imatrix=None if imatrix is None else str(Path(imatrix).absolute()),
        target_bytes=None if target_size is None else parse_size(target_size),
        **rest,
    )
    try:
        parse_experts(options.experts)
    except ArgumentError as error:
        raise ConvertError(str(error)) from error
    _require_choice("mtp", options.mtp, get_args(Mtp))
    if options.target_bytes is not None and options.quant != AUTO:
        raise ConvertError(
            f"--target-size chooses the recipe, and --quant {options.quant} names one: give one"
        )
    if options.imatrix is not None and not Path(options.imatrix).is_file():
        raise ConvertError(f"there is no importance matrix {options.imatrix}")
    return options


def parse_size(text: str | int) -> int:
    """ "20G", "19.5GB", "18GiB" or a number of bytes, in bytes.

    K, M, G and T are powers of 1024 with or without "iB", as in llama-server; with "B" alone
    they are powers of 1000. Raises ConvertError.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?B)?", str(text).strip(), re.IGNORECASE)
    if match is None or not float(match[1]):
        raise ConvertError(f"{text!r} is no size: write 20G, 19.5GB or a number of bytes")
    number, prefix, suffix = match.groups()
    base = 1000 if (suffix or "").upper() == "B" else 1024
    return int(float(number) * base ** " KMGT".index((prefix or " ").upper()))


def _tensor_type(pair: str | TensorType) -> TensorType:
    pattern, separator, type = (
        pair.rpartition("=") if isinstance(pair, str) else (pair[0], "=", pair[1])
    )
    if not separator or not pattern:
        raise ConvertError(f"--tensor-type {pair}: write PATTERN=TYPE, such as ffn_down_exps=Q5_K")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConvertError(
            f"--tensor-type {pattern!r} is no regular expression: {error}"
        ) from error
    return pattern, _type_named(type)


def _type_named(name: str) -> str:
    from ..quantize import QUANT_TYPES

    if (upper := name.upper()) not in QUANT_TYPES:
        raise ConvertError(
            f"no tensor type {name!r}{nearest(upper, QUANT_TYPES)}; "
            f"there are {', '.join(sorted(QUANT_TYPES))}"
        )
    return upper


def _require_choice(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConvertError(f"{what} is {value!r}: one of {', '.join(choices)}")
