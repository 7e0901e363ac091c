"""Each family's conversion, run by the engine, gives what transformers gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import gguf
import numpy as np
import pytest

from .conftest import ALL_FAMILIES, Reference, Runner, relative_error, unpacked

Converted = Callable[[str], Path]


def types_of(path: Path) -> set[str]:
    return {tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


@pytest.mark.engine
@pytest.mark.parametrize("name", ALL_FAMILIES)
def test_logits_and_greedy_tokens_are_those_of_transformers(
    run: Runner, converted: Converted, name: str
) -> None:
    reference = Reference.of(name)
    file = converted(name)
    if types_of(file) != {"F32"}:
        file = unpacked(file)
    logits, greedy = run(file, reference.prompt, len(reference.greedy))
    assert relative_error(logits, reference.logits) < 1e-3
    assert greedy == reference.greedy


def test_mxfp4_experts_keep_their_values(converted: Converted, maker: ModuleType) -> None:
    """As transformers unpacks them, and still packed in the file."""
    model = maker.load_reference_model(maker.HERE / "gpt_oss")
    experts = model.model.layers[1].mlp.experts
    file = {tensor.name: tensor for tensor in gguf.GGUFReader(converted("gpt_oss")).tensors}
    expected = {
        "gate": experts.gate_up_proj[..., 0::2],
        "up": experts.gate_up_proj[..., 1::2],
        "down": experts.down_proj,
    }
    for kind, values in expected.items():
        tensor = file[f"blk.1.ffn_{kind}_exps.weight"]
        assert tensor.tensor_type.name == "MXFP4"
        found = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(found, values.detach().transpose(1, 2).numpy())


@pytest.mark.engine
def test_the_engine_computes_with_mxfp4_experts(run: Runner, converted: Converted) -> None:
    """Not to 1e-3: ggml multiplies MXFP4 with activations that it rounds to 8 bits, Q8_0."""
    reference = Reference.of("gpt_oss")
    logits, _ = run(converted("gpt_oss"), reference.prompt)
    assert relative_error(logits, reference.logits) < 0.05
