"""Rules for the tensors of a layer: those that llama.cpp's loader does not ask for, but whose
absence ends in a null pointer when it builds the graph (`models/*.cpp`, TENSOR_NOT_REQUIRED)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from .header import TensorInfo
from .reader import DAMAGED, refuse


class Need(NamedTuple):
    """A layer with `tensor` has all tensors of one of `sets`, in these architectures or in all."""

    tensor: str
    sets: tuple[tuple[str, ...], ...]
    architectures: frozenset[str] = frozenset()


_PROJECTIONS = ("attn_qkv.weight", "attn_gate.weight")
NEEDS = (
    Need("ssm_conv1d.weight", (_PROJECTIONS,), frozenset({"qwen35", "qwen35moe"})),
    Need("ssm_conv1d.weight", (_PROJECTIONS, ("ssm_in.weight",)), frozenset({"qwen3next"})),
    Need(
        "ssm_conv1d.weight",
        (("ssm_conv1d.bias",),),
        frozenset({"falcon-h1", "granitehybrid", "nemotron_h", "nemotron_h_moe"}),
    ),
    Need("ffn_latent_down.weight", (("ffn_latent_up.weight",),)),
    Need("ffn_latent_up.weight", (("ffn_latent_down.weight",),)),
    Need("ffn_down_shexp.weight", (("ffn_up_shexp.weight",),)),
    Need("ffn_up_shexp.weight", (("ffn_down_shexp.weight",),)),
    Need("ffn_gate_shexp.weight", (("ffn_up_shexp.weight",),)),
)


def check_layers(path: Path, architecture: str, tensors: Iterable[TensorInfo]) -> None:
    """Refuse a layer of which a part is missing. Raises ModelError."""
    layers = _layers(tensors)
    for need in NEEDS:
        if need.architectures and architecture not in need.architectures:
            continue
        for layer, names in layers.items():
            if need.tensor in names and not any(names.issuperset(part) for part in need.sets):
                missing = " or ".join(" and ".join(part) for part in need.sets)
                refuse(path, f"layer {layer} has {need.tensor} without {missing}", DAMAGED)


def _layers(tensors: Iterable[TensorInfo]) -> Mapping[str, set[str]]:
    """Names of each layer's tensors, without the layer's own."""
    layers: dict[str, set[str]] = {}
    for tensor in tensors:
        if tensor.name.startswith("blk."):
            layer, _, name = tensor.name[4:].partition(".")
            layers.setdefault(layer, set()).add(name)
    return layers
