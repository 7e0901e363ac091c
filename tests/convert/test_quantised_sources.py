"""Checkpoints that come quantised convert to the values that they stand for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import gguf
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch")

from .conftest import (
    Reference,
    Runner,
    relative_error,
    to_f32_gguf,
    unpacked,
    unpacked_tensors,
)
from .packed import (
    Pack,
    fp8_blocks,
    fp8_channels,
    fp8_tensor,
    fp8_tensor_inv,
    nvfp4_compressed,
    nvfp4_modelopt,
    pack_checkpoint,
    rounded_activations,
)


def compressed(format: str, **weights: Any) -> dict[str, Any]:
    """What compressed-tensors writes for a scheme of all linear layers."""
    group = {
        "targets": ["Linear"],
        "format": format,
        "weights": {"type": "float", "symmetric": True, "dynamic": False} | weights,
        "input_activations": None,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": format,
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
        "quantization_status": "compressed",
    }


FP8_BLOCKS = {
    "quant_method": "fp8",
    "activation_scheme": "dynamic",
    "fmt": "e4m3",
    "weight_block_size": [48, 48],
}
FP8_TENSOR = {"quant_method": "fp8", "activation_scheme": "dynamic"}
FP8_CHANNELS = compressed("float-quantized", num_bits=8, strategy="channel")
FP8_STATIC = {"quant_method": "fp8", "activation_scheme": "static"}
FP8_PER_TENSOR = compressed("float-quantized", num_bits=8, strategy="tensor")
FP8_MODELOPT = {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["lm_head"]}
NVFP4_MODELOPT = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}
NVFP4_COMPRESSED = compressed(
    "nvfp4-pack-quantized", num_bits=4, strategy="tensor_group", group_size=16
)
HF_QUANT_CONFIG = {
    "producer": {"name": "modelopt"},
    "quantization": {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head"]},
}


@pytest.mark.parametrize(
    ("name", "pack", "quantization"),
    [
        pytest.param("qwen35moe", fp8_blocks, FP8_BLOCKS, id="blocks"),
        pytest.param("qwen3moe", fp8_tensor_inv, FP8_TENSOR, id="tensor"),
        pytest.param("nemotron_h", fp8_tensor, FP8_MODELOPT, id="tensor, ModelOpt"),
        pytest.param("qwen3moe", fp8_tensor, FP8_STATIC, id="tensor, static"),
        pytest.param("qwen3moe", fp8_tensor, FP8_PER_TENSOR, id="tensor, compressed-tensors"),
        pytest.param("qwen3", fp8_channels, FP8_CHANNELS, id="channels, compressed-tensors"),
    ],
)
def test_fp8_becomes_its_values(
    data: Path, tmp_path: Path, name: str, pack: Pack, quantization: dict[str, Any]
) -> None:
    packed, plain = pack_checkpoint(data / name, tmp_path, pack, quantization)
    found, expected = (gguf.GGUFReader(to_f32_gguf(folder, tmp_path)) for folder in (packed, plain))
    assert {tensor.tensor_type.name for tensor in found.tensors} == {"F32"}
    values = {tensor.name: tensor.data for tensor in found.tensors}
    assert values.keys() == {tensor.name for tensor in expected.tensors}
    for tensor in expected.tensors:
        assert np.array_equal(values[tensor.name], tensor.data), tensor.name


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "pack", "quantization"),
    [
        pytest.param("qwen3", nvfp4_modelopt, NVFP4_MODELOPT, id="ModelOpt, dense"),
        pytest.param("qwen35moe", nvfp4_modelopt, NVFP4_MODELOPT, id="ModelOpt, experts"),
        pytest.param("nemotron_h", nvfp4_modelopt, None, id="ModelOpt, in a file of its own"),
        pytest.param("qwen3", nvfp4_compressed, NVFP4_COMPRESSED, id="compressed, dense"),
        pytest.param("qwen35moe", nvfp4_compressed, NVFP4_COMPRESSED, id="compressed, experts"),
    ],
)
def test_nvfp4_stays_packed_and_keeps_its_values(
    data: Path,
    tmp_path: Path,
    maker: ModuleType,
    run: Runner,
    name: str,
    pack: Pack,
    quantization: dict[str, Any] | None,
) -> None:
    packed, plain = pack_checkpoint(data / name, tmp_path, pack, quantization)
    if quantization is None:  # as ModelOpt wrote it before it wrote to config.json
        (packed / "hf_quant_config.json").write_text(json.dumps(HF_QUANT_CONFIG))
    file = to_f32_gguf(packed, tmp_path)
    require_same_values(file, to_f32_gguf(plain, tmp_path))

    prompt = Reference.of(name).prompt
    model = maker.load_reference_model(plain)
    expected = maker.logits_of(model, prompt).numpy()
    assert relative_error(run(unpacked(file), prompt)[0], expected) < 1e-3
    # As it is, the file's logits are up to 0.25 away: the CPU rounds activations to 8 bits, which
    # moves even the choice of experts. Transformers with the same rounding is far nearer; what is
    # left are sums that round to the next level.
    with rounded_activations(model):
        expected = maker.logits_of(model, prompt).numpy()
    assert relative_error(run(file, prompt)[0], expected) < 0.05


def require_same_values(packed: Path, plain: Path) -> None:
    """Every matrix that was quantised is in NVFP4, and all values are the float file's."""
    reader, expected = gguf.GGUFReader(packed), gguf.GGUFReader(plain)
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    kept = re.compile(r"^token_embd|^output|ffn_gate_inp|conv1d|norm")
    for tensor in expected.tensors:
        is_packed = tensor.name.endswith(".weight") and not kept.search(tensor.name)
        assert types[tensor.name] == ("NVFP4" if is_packed else "F32"), tensor.name
    values = unpacked_tensors(reader)
    assert values.keys() == {tensor.name for tensor in expected.tensors}
    for tensor in expected.tensors:
        # a divisor is stored as its reciprocal, rounded
        np.testing.assert_allclose(values[tensor.name], tensor.data, rtol=3e-7, err_msg=tensor.name)
