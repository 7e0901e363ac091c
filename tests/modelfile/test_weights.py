"""Tensors that load and then end the engine: types without a kernel, layers without a part."""

from __future__ import annotations

import pytest

from pannier.modelfile.tensor_types import TYPES

from .conftest import Refused, tiny
from .gguf_bytes import TYPE_NUMBERS, Gguf


def with_type(name: str, type: str) -> Gguf:
    """A model with one tensor in another type, as long as that needs."""
    file = tiny()
    tensor = file.tensor(name)
    kind = TYPES[TYPE_NUMBERS[type]]
    n = len(tensor.data) // 4  # F32
    if tensor.shape[0] % kind.block:
        tensor.shape = (n,)
    tensor.type, tensor.data = TYPE_NUMBERS[type], bytes(-(-n // kind.block) * kind.size)
    tensor.shape = (-(-n // kind.block) * kind.block,) if len(tensor.shape) == 1 else tensor.shape
    return file


@pytest.mark.parametrize(
    ("name", "type", "match"),
    [
        ("blk.0.attn_norm.weight", "F16", "must be F32"),
        ("blk.0.attn_norm.weight", "Q4_0", "must be F32"),
        ("blk.0.ssm_conv1d.weight", "F16", "must be F32"),
        ("blk.0.ssm_a", "BF16", "must be F32"),
        ("blk.0.ssm_dt.bias", "F16", "must be F32"),
        ("token_embd.weight", "F64", "cannot compute with"),
        ("token_embd.weight", "I32", "cannot compute with"),
        ("output.weight", "Q8_1", "cannot compute with"),
        ("blk.0.ffn_gate_exps.weight", "I8", "cannot compute with"),
    ],
)
def test_refuses_a_type(name: str, type: str, match: str, refused: Refused) -> None:
    refused(with_type(name, type), f"tensor {name} is of the type {type}.*{match}")


@pytest.mark.parametrize("name", ["blk.0.attn_qkv.weight", "blk.1.attn_gate.weight"])
def test_refuses_a_layer_without_a_part(name: str, refused: Refused) -> None:
    file = tiny()
    file.tensors.remove(file.tensor(name))
    refused(file, f"layer {name[4]} has ssm_conv1d.weight without attn_qkv.weight and")


def test_refuses_half_a_shared_expert(refused: Refused) -> None:
    file = tiny()
    file.tensors.remove(file.tensor("blk.2.ffn_up_shexp.weight"))
    refused(file, "layer 2 has ffn_down_shexp.weight without ffn_up_shexp.weight")
