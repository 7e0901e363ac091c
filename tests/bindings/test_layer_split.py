"""Layers over several devices: by their bytes, less what rows put elsewhere."""

from __future__ import annotations

import json

import pytest

from pannier.convert.byte_vocabulary import ByteVocabulary
from pannier.convert.random_gguf import Qwen3NextSpec, write_header
from pannier.engine import Engine
from pannier.layer_split import balanced_split, layer_loads
from pannier.modelfile import ModelFile, open_model_file
from pannier.override_rows import OverrideRow
from pannier.placement import EXPERTS, experts_of

from ..conftest import run_python

N_LAYER = 12
TWO_DEVICES = {"GGML_VK_VISIBLE_DEVICES": "0,0"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    """Twelve layers whose weights are experts for the most part."""
    spec = Qwen3NextSpec(
        name="split",
        n_embd=256,
        n_head=4,
        n_head_kv=2,
        head_dim=64,
        ssm_head_dim=32,
        ssm_k_heads=2,
        ssm_v_heads=4,
        n_layer=N_LAYER,
        n_expert=32,
        n_expert_used=4,
        n_ff_exp=128,
        vocabulary=ByteVocabulary((" a", " b", "cd")),
    )
    path = tmp_path_factory.mktemp("split") / "model.gguf"
    return open_model_file(write_header(path, spec))


def cpu_experts(n: int) -> OverrideRow:
    return OverrideRow(experts_of(range(n)), "CPU", f"--n-cpu-moe {n}")


@pytest.mark.engine
@pytest.mark.usefixtures("pannier")
def test_what_goes_with_each_layer(file: ModelFile) -> None:
    whole, nothing = layer_loads(file, [])
    assert len(whole) == N_LAYER + 1
    assert nothing == {}
    sizes = {tensor.name: tensor.n_bytes for tensor in file.tensors}
    assert sum(whole) == sum(sizes.values()) - sizes["token_embd.weight"]
    left, named = layer_loads(file, [cpu_experts(4), OverrideRow(EXPERTS, "CUDA1", "-ot")])
    assert sum(left) + sum(named.values()) == sum(whole)
    assert named["CPU"] == sum(n for name, n in sizes.items() if "exps" in name) * 4 // N_LAYER
    kept, named = layer_loads(file, [OverrideRow(EXPERTS, None, "--experts gpu"), cpu_experts(4)])
    assert (kept, named) == (whole, {})


@pytest.mark.engine
@pytest.mark.usefixtures("pannier")
def test_runs_follow_bytes_and_room(file: ModelFile) -> None:
    room = {"A": 1 << 30, "B": 1 << 30}
    even = balanced_split(file, [], -1, room)
    assert sum(even) == N_LAYER + 1
    assert abs(even[0] - even[1]) <= 2
    moved = balanced_split(file, [cpu_experts(6)], -1, room)
    assert sum(moved) == N_LAYER + 1
    assert moved[0] >= 8, "six layers without experts and half of the others"
    assert balanced_split(file, [], -1, {"A": 3 << 30, "B": 1 << 30})[0] > 8
    assert sum(balanced_split(file, [], 5, room)) == 5
    assert balanced_split(file, [], 0, room) == ()
    cells = [0.0] * 8 + [1 << 28] * 4
    with_cells = balanced_split(file, [cpu_experts(6)], -1, room, cells)
    assert with_cells[0] > moved[0]


LOADED = """
import json, sys
from collections import Counter
from dataclasses import asdict
from pannier import Model

path, loads = json.loads(sys.argv[1])
for load in loads:
    with Model(path, no_alloc=True, **load) as model:
        held = Counter()
        for tensor in model.tensors:
            held[tensor.device] += tensor.bytes
    print(json.dumps([model.tensor_split, held]))
"""


@pytest.mark.vulkan
def test_the_last_device_gets_no_more_than_the_first(
    vulkan_engine: Engine, file: ModelFile
) -> None:
    loads = [
        {"n_cpu_moe": 6},
        {"n_cpu_moe": 6, "tensor_split": [1, 1]},
        {"n_gpu_layers": 6},
        {"n_cpu_moe": 6, "split_mode": "none"},
        {"n_cpu_moe": 6, "devices": ["Vulkan1"]},
    ]
    work = json.dumps([str(file.path), loads])
    printed = run_python(vulkan_engine, LOADED, work, env=TWO_DEVICES)
    balanced, given, few, *one = map(json.loads, printed.splitlines())
    largest = max(layer_loads(file, [])[0])
    held = balanced[1]
    assert abs(held["Vulkan0"] - held["Vulkan1"]) <= largest
    assert given[0] == [1, 1]
    assert given[1]["Vulkan1"] - given[1]["Vulkan0"] > 3 * largest, "as llama.cpp has it"
    assert sum(few[0]) == 6
    assert [split for split, _ in one] == [[], []]


@pytest.mark.vulkan
def test_a_server_counts_what_its_context_keeps(vulkan_engine: Engine, file: ModelFile) -> None:
    """Prints the shares by size of the context, and that a plan names them."""
    code = """
import json, sys
from pannier import _ffi
from pannier.model import Model
from pannier.server.config import EngineConfig
from pannier.server.loading import model_options

_ffi.library()
for n_ctx in (1024, 1 << 18):
    config = EngineConfig(model=sys.argv[1], n_ctx=n_ctx, n_cpu_moe=8)
    with Model(no_alloc=True, **model_options(config)) as model:
        print(json.dumps(model.tensor_split))
"""
    printed = run_python(vulkan_engine, code, str(file.path), env=TWO_DEVICES)
    short, long = map(json.loads, printed.splitlines())
    assert sum(short) == sum(long) == N_LAYER + 1
    assert short[0] > long[0], "cells are in all layers, experts in the last ones"
