"""The type of each tensor: what llama-quantize would choose."""

from __future__ import annotations

import gguf

from ..convert.random_gguf import RandomSpec, Types, numbers_of, tensors
from ..convert.recipes import FILE_TYPES
from ..errors import ArgumentError
from ..quantize import QuantModel, QuantTensor, choose_types
from .blocks import KNOWN


def chosen_types(spec: RandomSpec, recipe: str) -> Types:
    """Each tensor's type under a recipe of llama-quantize, by the engine's own code.

    Raises ArgumentError for a recipe with a type that `blocks.py` cannot fill.
    """
    shapes = dict(tensors(spec))
    asked = [QuantTensor(name, tuple(reversed(shape))) for name, shape in shapes.items()]
    choices = choose_types(quant_model(spec), asked, FILE_TYPES[recipe])
    types = {name: choice.type for name, choice in zip(shapes, choices, strict=True)}
    unknown = sorted(set(types.values()) - set(KNOWN))
    if unknown:
        raise ArgumentError(
            f"recipe {recipe} has matrices in {', '.join(unknown)}, which cannot be made of random "
            f"bytes; take a recipe of {', '.join(KNOWN)}"
        )
    return {name: gguf.GGMLQuantizationType[type] for name, type in types.items()}


def quant_model(spec: RandomSpec) -> QuantModel:
    """What llama.cpp's recipes ask of a model."""
    numbers = numbers_of(spec)

    def number(key: str) -> int:
        value = numbers[key]
        # where layers differ llama.cpp's recipes look at the first
        return int(value[0] if isinstance(value, list) else value)

    return QuantModel(
        architecture=spec.architecture,
        n_layer=spec.n_layer,
        n_embd=spec.n_embd,
        n_ff=number("feed_forward_length"),
        n_head=spec.n_head,
        n_head_kv=number("attention.head_count_kv"),
        n_expert=number("expert_count"),
        n_embd_head_k=number("attention.key_length"),
        n_embd_head_v=number("attention.value_length"),
    )
