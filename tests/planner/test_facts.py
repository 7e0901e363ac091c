"""Facts of a file, and weights by device."""

import pytest

from pannier.convert.random_gguf import write_header
from pannier.memory import TensorRow
from pannier.modelfile import open_model_file
from pannier.planner import ModelFacts
from pannier.synth.models import spec_of
from tests.bindings.conftest import DATA

LAYERS = {
    "nemotron-3-nano": (52, 23, 6, 23),
    "qwen3-coder-next": (48, 48, 12, 36),
    "kimi-linear": (27, 26, 7, 20),
}
"""Layers, those with experts, those that attend, those with a recurrent state."""


@pytest.mark.parametrize("name", LAYERS)
def test_hybrids(name, tmp_path):
    file = open_model_file(write_header(tmp_path / "model.gguf", spec_of(name)))
    facts = ModelFacts.of(file)
    layers = facts.layers
    assert LAYERS[name] == (
        len(layers),
        len(facts.moe_layers),
        sum(layer.attends for layer in layers),
        sum(layer.is_recurrent for layer in layers),
    )
    in_layers = sum(layer.rest_bytes + layer.expert_bytes for layer in layers)
    table = next(one.n_bytes for one in file.tensors if one.name == "token_embd.weight")
    assert in_layers + facts.output_bytes + table == file.n_bytes
    assert 0 < facts.used_fraction < 0.05


def test_a_dense_model_whose_output_is_its_table():
    file = open_model_file(DATA / "gemma3" / "model-f32.gguf")
    facts = ModelFacts.of(file)
    assert facts.moe_layers == ()
    assert facts.used_fraction == 1
    in_layers = sum(layer.rest_bytes for layer in facts.layers)
    assert in_layers + facts.output_bytes == file.n_bytes


def test_weights_by_device():
    from pannier.weight_reads import weight_reads

    def row(name, device, n_bytes):
        return TensorRow(name, device, device, device == "CPU", n_bytes)

    rows = [
        row("token_embd.weight", "CPU", 1000),
        row("blk.0.attn_q.weight", "GPU0", 10),
        row("blk.0.ffn_up_exps.weight", "CPU", 500),
        row("blk.1.ffn_up_exps.weight", "GPU0", 500),
        row("token_embd.weight", "GPU0", 1000),
    ]
    assert weight_reads(rows) == ({"CPU": 500, "GPU0": 500}, {"GPU0": 1010})
