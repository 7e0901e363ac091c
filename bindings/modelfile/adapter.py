"""A LoRA adapter's file, checked against the model that it is for.

The checks are those of llama.cpp's `llama-adapter.cpp`, and stricter where that lets something
through that ends in an assertion when the graph is built.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .arrays import NumberArray
from .header import Header, TensorInfo, read_header
from .model_file import ModelFile
from .reader import refuse

OTHER_MODEL = "give an adapter that was made for this model"
_TEXTS = (
    "general.type",
    "general.architecture",
    "adapter.type",
    "adapter.lora.task_name",
    "adapter.lora.prompt_prefix",
)
_ALPHA = "adapter.lora.alpha"
_INVOCATION = "adapter.alora.invocation_tokens"
_TYPES = ("F32", "F16", "BF16", "Q8_0")
_PARTS = (".lora_a", ".lora_b")
_EMBEDDINGS, _OUTPUT = "token_embd.weight", "output.weight"


@dataclass(frozen=True)
class AdapterFile:
    """What an adapter's file says about itself."""

    path: Path
    rank: int
    """The largest one of its tensors."""
    task_name: str = ""
    prompt_prefix: str = ""
    invocation_tokens: tuple[int, ...] = ()
    """Tokens of the prompt from which on it counts (activated LoRA); empty: it always does."""


def open_adapter_file(path: str | os.PathLike[str], model: ModelFile) -> AdapterFile:
    """Check an adapter's file. Raises ModelError, with the field and its value."""
    header = read_header(Path(path))
    _check_metadata(header, model.architecture)
    pairs = _pairs(header)
    of_model = {tensor.name: tensor for tensor in model.tensors}
    for name, (a, b) in pairs.items():
        weight = of_model.get(name)
        if weight is None:
            refuse(header.path, f"it changes {name}, which the model has not", OTHER_MODEL)
        if name == _EMBEDDINGS:
            _check_embeddings(header.path, weight, a, b, tied=_OUTPUT not in of_model)
        else:
            _check_pair(header.path, weight, a, b)
    return AdapterFile(
        path=header.path,
        rank=max(b.shape[0] for _, b in pairs.values()),
        task_name=str(header.metadata.get("adapter.lora.task_name", "")),
        prompt_prefix=str(header.metadata.get("adapter.lora.prompt_prefix", "")),
        invocation_tokens=_invocation_tokens(header),
    )


def _check_metadata(header: Header, architecture: str) -> None:
    for key in _TEXTS:
        if header.types.get(key, "str") != "str":
            refuse(header.path, f"{key} has the type {header.types[key]}; it must be str")
    expected = {"general.type": "adapter", "adapter.type": "lora"}
    for key, value in expected.items():
        found = header.metadata.get(key)
        if found != value:
            refuse(header.path, f"{key} is {found!r}, not {value!r}", "give a LoRA adapter in GGUF")
    found = header.metadata.get("general.architecture")
    if found != architecture:
        refuse(header.path, f"it is for {found!r}, the model is {architecture!r}", OTHER_MODEL)
    alpha = header.metadata.get(_ALPHA, 0.0)
    if header.types.get(_ALPHA, "f32") != "f32" or not isinstance(alpha, float):
        refuse(header.path, f"{_ALPHA} has the type {header.types[_ALPHA]}; it must be f32")
    if not math.isfinite(alpha):
        refuse(header.path, f"{_ALPHA} is {alpha}; it must be a finite number")


def _invocation_tokens(header: Header) -> tuple[int, ...]:
    tokens = header.metadata.get(_INVOCATION)
    if tokens is None:
        return ()
    if not isinstance(tokens, NumberArray) or tokens.type != "u32":
        refuse(header.path, f"{_INVOCATION} is of {header.types[_INVOCATION]}; it must be arr[u32]")
    return tuple(tokens)


def _pairs(header: Header) -> dict[str, tuple[TensorInfo, TensorInfo]]:
    """The two matrices for each tensor of the model. Norms are left out, as in llama.cpp."""
    found: dict[str, dict[str, TensorInfo]] = {}
    for tensor in header.tensors:
        end = tensor.name[-len(_PARTS[0]) :]
        if end in _PARTS:
            found.setdefault(tensor.name.removesuffix(end), {})[end] = tensor
        elif not tensor.name.endswith("_norm.weight"):
            refuse(header.path, f"tensor {tensor.name} is neither {_PARTS[0]} nor {_PARTS[1]}")
    if not found:
        refuse(header.path, "it changes nothing: there is no tensor of a LoRA in it")
    for name, parts in found.items():
        for end in _PARTS:
            if end not in parts:
                refuse(header.path, f"tensor {name}{end} is missing")
            if parts[end].type not in _TYPES:
                kind = parts[end].type
                refuse(header.path, f"tensor {name}{end} is {kind}, not one of {_listed(_TYPES)}")
    return {name: (parts[".lora_a"], parts[".lora_b"]) for name, parts in found.items()}


def _check_pair(path: Path, weight: TensorInfo, a: TensorInfo, b: TensorInfo) -> None:
    """A row of `a` for each rank, a row of `b` for each output; one pair for each expert."""
    if weight.type == "NVFP4":
        refuse(path, f"{weight.name} is NVFP4, which llama.cpp changes no more", "use another type")
    n_in, n_out, *stack = _shape(weight)
    rank = a.shape[1] if len(a.shape) > 1 else 0
    _check_shape(path, a, [n_in, rank, *stack])
    _check_shape(path, b, [rank, n_out, *stack])


def _check_embeddings(
    path: Path, weight: TensorInfo, a: TensorInfo, b: TensorInfo, *, tied: bool
) -> None:
    """Rows are looked up in `a`: a row for each token."""
    if tied:
        refuse(
            path,
            f"it changes {_EMBEDDINGS}, which is the model's output matrix too, and llama.cpp "
            "would take the two matrices the wrong way around there",
            "make an adapter without it",
        )
    n_embd, n_vocab, *_ = _shape(weight)
    rank = a.shape[0]
    _check_shape(path, a, [rank, n_vocab, 1, 1])
    _check_shape(path, b, [rank, n_embd, 1, 1])


def _check_shape(path: Path, tensor: TensorInfo, expected: list[int]) -> None:
    if _shape(tensor) != expected or not all(expected):
        refuse(
            path,
            f"tensor {tensor.name} has the shape {_listed(tensor.shape)}, where "
            f"{_listed(expected)} was expected",
            OTHER_MODEL,
        )


def _shape(tensor: TensorInfo) -> list[int]:
    return [*tensor.shape, 1, 1, 1, 1][:4]


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
