"""Checkpoints with FP8 and NVFP4 weights, made from the tiny ones of tests/data."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

E4M3 = torch.float8_e4m3fn
E4M3_MAX, E2M1_MAX = 448.0, 6.0
E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
PROJECTION = re.compile(r"\.(\w+_proj|in_proj_\w+)\.weight$")
"""What quantisers take: not embeddings, routers, norms and convolutions."""


@dataclass(frozen=True)
class Packed:
    """A weight as it is stored, by what its name has instead of `.weight`, and its values."""

    tensors: dict[str, torch.Tensor]
    values: torch.Tensor


Pack = Callable[[torch.Tensor], Packed]


def fp8_blocks(weight: torch.Tensor, size: int = 48) -> Packed:
    """DeepSeek's and Qwen's FP8: a scale for each square block, the last ones cut off."""
    rows, columns = weight.shape
    up = [-rows % size, -columns % size]
    padded = torch.nn.functional.pad(weight, (0, up[1], 0, up[0]))
    blocks = padded.reshape(padded.shape[0] // size, size, padded.shape[1] // size, size)
    scale = blocks.abs().amax((1, 3)) / E4M3_MAX
    full = scale.repeat_interleave(size, 0).repeat_interleave(size, 1)[:rows, :columns]
    stored = (weight / full).to(E4M3)
    return Packed({".weight": stored, ".weight_scale_inv": scale}, stored.float() * full)


def fp8_channels(weight: torch.Tensor) -> Packed:
    """compressed-tensors' FP8 with a scale for each row."""
    scale = weight.abs().amax(1, keepdim=True) / E4M3_MAX
    stored = (weight / scale).to(E4M3)
    return Packed({".weight": stored, ".weight_scale": scale}, stored.float() * scale)


def fp8_tensor(weight: torch.Tensor) -> Packed:
    """FP8 with one scale, and one for activations, which a weight does not need."""
    scale = weight.abs().max() / E4M3_MAX
    stored = (weight / scale).to(E4M3)
    tensors = {".weight": stored, ".weight_scale": scale, ".input_scale": torch.tensor(0.25)}
    return Packed(tensors, stored.float() * scale)


def fp8_tensor_inv(weight: torch.Tensor) -> Packed:
    """The same under the name that goes with quant_method "fp8"."""
    packed = fp8_tensor(weight)
    tensors = {
        ".weight": packed.tensors[".weight"],
        ".weight_scale_inv": packed.tensors[".weight_scale"],
    }
    return Packed(tensors, packed.values)


def nvfp4_modelopt(weight: torch.Tensor) -> Packed:
    """ModelOpt's NVFP4: the tensor's scale is a factor."""
    factor = weight.abs().max() / (E2M1_MAX * E4M3_MAX)
    codes, scale, levels = quantize_nvfp4(weight, factor)
    tensors = {
        ".weight": codes,
        ".weight_scale": scale,
        ".weight_scale_2": factor,
        ".input_scale": torch.tensor(0.25),
    }
    return Packed(tensors, levels * factor)


def nvfp4_compressed(weight: torch.Tensor) -> Packed:
    """compressed-tensors' NVFP4: the tensor's scale is a divisor."""
    divisor = (E2M1_MAX * E4M3_MAX / weight.abs().max()).reshape(1)
    codes, scale, levels = quantize_nvfp4(weight, 1 / divisor)
    tensors = {
        ".weight_packed": codes,
        ".weight_scale": scale,
        ".weight_global_scale": divisor,
        ".input_global_scale": torch.tensor([4.0]),
    }
    return Packed(tensors, levels / divisor)


def quantize_nvfp4(
    weight: torch.Tensor, factor: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """E2M1 codes, two in a byte, the first one low; an E4M3 scale per 16; codes times scales."""
    grouped = weight.reshape(weight.shape[0], -1, 16)
    scale = (grouped.abs().amax(-1) / E2M1_MAX / factor).to(E4M3)
    unit = scale.float()[..., None] * factor
    codes = ((grouped / unit).abs()[..., None] - E2M1).abs().argmin(-1)
    sign = grouped < 0
    levels = torch.where(sign, -E2M1[codes], E2M1[codes]) * scale.float()[..., None]
    nibbles = (codes + 8 * sign).to(torch.uint8).reshape(weight.shape)
    return nibbles[:, 0::2] | nibbles[:, 1::2] << 4, scale, levels.reshape(weight.shape)


def pack_checkpoint(
    source: Path, folder: Path, pack: Pack, quantization: dict[str, Any] | None
) -> tuple[Path, Path]:
    """Two checkpoints: one that stores packed projections, and one with their values in F32.

    quantization: `quantization_config` of the first one's config.json.
    """
    packed, plain = folder / "packed", folder / "plain"
    for out in (packed, plain):
        ignored = shutil.ignore_patterns("*.gguf", "*.npz", "*.safetensors")
        shutil.copytree(source, out, ignore=ignored)
    stored, values = {}, {}
    for name, weight in load_file(source / "model.safetensors").items():
        if PROJECTION.search(name):
            result = pack(weight.float())
            stem = name.removesuffix(".weight")
            stored |= {stem + suffix: tensor for suffix, tensor in result.tensors.items()}
            values[name] = result.values
        else:
            stored[name] = values[name] = weight
    save(packed, stored)
    save(plain, values)
    if quantization is not None:
        change_config(packed, quantization_config=quantization)
    return packed, plain


def save(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    unshared = {name: tensor.clone().contiguous() for name, tensor in weights.items()}
    save_file(unshared, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@contextmanager
def rounded_activations(model: Any) -> Iterator[None]:
    """Round what goes into the packed weights of a transformers model as ggml does on the CPU:
    to Q8_0, 8 bits and a scale for each 32 (ggml_vec_dot_nvfp4_q8_0)."""
    linear = torch.nn.functional.linear
    order = {
        parameter.untyped_storage().data_ptr(): column_order(name, model.config)
        for name, parameter in model.named_parameters()
        if PROJECTION.search(name) or ".experts." in name
    }

    def rounded(x: torch.Tensor, weight: torch.Tensor, bias: Any = None) -> torch.Tensor:
        storage = weight.untyped_storage().data_ptr()
        if storage not in order:
            return linear(x, weight, bias)
        columns = order[storage]
        if columns is None:
            return linear(round_q8_0(x), weight, bias)
        return linear(round_q8_0(x[..., columns]), weight[:, columns], bias)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "linear", rounded)
        yield


def column_order(name: str, config: Any) -> torch.Tensor | None:
    """The order that a conversion brings a weight's columns into, where it does: value heads
    of one key head lie together in a checkpoint, and apart in llama.cpp."""
    if not name.endswith("linear_attn.out_proj.weight"):
        return None
    n_keys, n_values = config.linear_num_key_heads, config.linear_num_value_heads
    columns = torch.arange(n_values * config.linear_value_head_dim)
    return columns.reshape(n_keys, n_values // n_keys, -1).transpose(0, 1).reshape(-1)


def round_q8_0(x: torch.Tensor) -> torch.Tensor:
    grouped = x.reshape(*x.shape[:-1], -1, 32)
    greatest = grouped.abs().amax(-1, keepdim=True).clamp(min=1e-30)
    levels = torch.round(grouped * (127 / greatest))
    return (levels * (greatest / 127).half().float()).reshape(x.shape)
