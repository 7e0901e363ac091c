"""Strict placement on real engines: what it catches, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pannier.engine import Engine

from ..conftest import run_python
from ..convert.conftest import ALL_FAMILIES, to_f32_gguf
from ..edited_gguf import Lora
from .conftest import DATA

VULKAN = {"GGML_VK_VISIBLE_DEVICES": "0"}
TWO_DEVICES = {"GGML_VK_VISIBLE_DEVICES": "0,0"}
SMALL = {"n_ctx": 1024, "n_parallel": 4, "n_threads": 1}
LLAMA = DATA / "llama" / "model-f32.gguf"
MOE = DATA / "qwen3moe" / "model-f32.gguf"
LIMIT = "2000000"
MAMBA = DATA / "mamba2" / "model-f32.gguf"

# A strict context's words, or "" if it came into being, and the problems of one that is not,
# as it is and as it is planned.
STRICT = """
import json, sys
import pannier

path, load, options = json.loads(sys.argv[1])
load["tensor_overrides"] = [tuple(row) for row in load.get("tensor_overrides", ())]
said = ""
with pannier.Model(path, **load) as model:
    try:
        model.context(strict=True, **options).close()
    except pannier.PlacementError as error:
        said = str(error)
    with model.context(**options) as context:
        report = context.placement().as_dict()
with pannier.Model(path, no_alloc=True, **load) as model:
    assert model.placement(**options).as_dict() == report
print(json.dumps([said, report]))
"""


def strict(
    engine: Engine,
    path: Path,
    load: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
    **options: Any,
) -> tuple[str, dict[str, Any]]:
    work = json.dumps([str(path), load or {}, SMALL | options])
    said, report = json.loads(run_python(engine, STRICT, work, env=VULKAN | (env or {})))
    assert said == "; and ".join(
        f"{one['what']}: {one['reason']}; {one['remedy']}" for one in report["problems"]
    )
    return said, report


def graph(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in report["graphs"] if one["name"] == name)


# ---------------------------------------------------------------- what it catches


@pytest.mark.vulkan
def test_quantised_v_without_flash_attention(vulkan_engine: Engine) -> None:
    """A device whose buffers hold no mask of a prompt that long; single tokens are fine."""
    env = dict.fromkeys(
        ("GGML_VK_FORCE_MAX_BUFFER_SIZE", "GGML_VK_FORCE_MAX_ALLOCATION_SIZE"), LIMIT
    )
    options = {"n_ctx": 4096, "type_k": "q8_0", "type_v": "q8_0"}
    said, report = strict(vulkan_engine, LLAMA, env=env, **options)
    assert "FLASH_ATTN_EXT of layers 0-3, when computing prompts, would run on CPU" in said
    assert "keys in q8_0 and values in q8_0, heads of 64 and 64, 4096 cells" in said
    assert "-ctk f16 -ctv f16 -fa off" in said
    assert [len(one["misplaced"]) for one in report["graphs"]] == [0, 4, 4]
    assert strict(vulkan_engine, LLAMA, env=env, **options | {"n_ctx": 1024})[0] == ""
    assert "a smaller -ub or -c" in said
    assert strict(vulkan_engine, LLAMA, env=env, **options, n_ubatch=64)[0] == ""


@pytest.mark.vulkan
def test_an_op_that_the_device_lacks(vulkan_engine: Engine) -> None:
    """Vulkan's shaders scan states of 128 and 256; llama.cpp leaves the weights of others in
    system memory."""
    said, report = strict(vulkan_engine, MAMBA)
    assert "SSM_SCAN of layers 0-2 would run on CPU instead of Vulkan0" in said
    assert "Vulkan0 cannot compute with blk.0.ssm_a, f32 [1, 4] of 16 bytes" in said
    assert r"-ot 'blk\.(0|1|2)\.ssm_a=CPU'" in said
    assert {one["name"] for one in report["weights"]} == {f"blk.{i}.ssm_a" for i in range(3)}
    assert graph(report, "decode")["ops"]["CPU"]["SSM_SCAN"] == 3
    remedy = {"tensor_overrides": [(r"blk\.(0|1|2)\.ssm_a", "CPU")]}
    assert strict(vulkan_engine, MAMBA, remedy)[0] == ""


@pytest.mark.engine
def test_an_override_without_effect(cpu_engine: Engine) -> None:
    rows = [("ffn_up", "CPU"), (r"blk\.0\.ffn_up", "CPU")]
    said, report = strict(cpu_engine, LLAMA, {"tensor_overrides": rows})
    assert r"blk\.0\.ffn_up=CPU has no effect: all that it matches is taken by those" in said
    assert "ffn_up=CPU has no effect: no" not in said
    used = [(one["n_matching"], one["n_taken"]) for one in report["overrides"]]
    assert used == [(4, 4), (1, 0)]
    assert strict(cpu_engine, MOE, {"n_cpu_moe": 99})[0] == ""


@pytest.mark.vulkan
def test_a_pair_of_types_that_was_not_compiled(vulkan_engine: Engine) -> None:
    """Vulkan has shaders for two types at once, but for BF16 beside another one."""
    pair = {"type_k": "bf16", "type_v": "q8_0"}
    said, report = strict(vulkan_engine, LLAMA, **pair)
    assert "FLASH_ATTN_EXT of layers 0-3 would run on CPU instead of Vulkan0" in said
    assert "keys in bf16 and values in q8_0" in said
    assert "-ctk bf16 -ctv bf16" in said
    assert report["cache_types"] == {"k": "bf16", "v": "q8_0"}
    assert all(one["ops"]["CPU"]["FLASH_ATTN_EXT"] == 4 for one in report["graphs"])
    remedy = {"type_k": "bf16", "type_v": "bf16"}
    assert strict(vulkan_engine, LLAMA, **remedy)[0] == ""


# ---------------------------------------------------------------- what it leaves alone

# Prints what a strict context would refuse, for each way of loading and each context.
ALL = """
import itertools, json, sys
import pannier

paths, loads, contexts = json.loads(sys.argv[1])
found, n = [], 0
for path, load, options in itertools.product(paths, loads, contexts):
    load = {key: value for key, value in load.items()}
    load["tensor_overrides"] = [tuple(row) for row in load.get("tensor_overrides", ())]
    try:
        model = pannier.Model(path, no_alloc=True, **load)
    except pannier.ArgumentError as error:  # no experts, no such layer
        assert "no tensor of this model" in str(error), error
        continue
    with model:
        try:
            report = model.placement(2, n_ctx=1024, n_parallel=4, n_threads=1, **options)
        except pannier.ContextError as error:  # llama.cpp itself refuses some
            assert "n_embd_head_k" in str(error) or "different K" in str(error), error
            continue
    n += 1
    found += [[path, load, options, str(problem)] for problem in report.problems]
print(json.dumps([n, found]))
"""
LOADS: list[dict[str, Any]] = [
    {},
    {"devices": ["none"]},
    {"n_gpu_layers": 2},
    {"experts": "cpu"},
    {"tensor_overrides": [[r"blk\.(0|2)\.", "CPU"]]},
]
CONTEXTS: list[dict[str, Any]] = [
    {},
    {"kv_unified": False},
    {"flash_attn": "off"},
    {"offload_kqv": False},
    {"op_offload": False},
    {"type_k": "q8_0", "type_v": "q8_0"},
    {"type_k": "q4_0", "type_v": "q8_0"},
]
KNOWN = {
    "SSM_SCAN": ("mamba2", "falcon_h1", "granitemoehybrid", "nemotron_h"),
    "GET_ROWS": ("mamba2", "falcon_h1", "granitemoehybrid", "nemotron_h"),
    "MUL_MAT": ("kimi_linear",),
}
"""What Vulkan lacks of the tiny models, or follows what it lacks: states that are too small for its
shaders, and weights that count for several split caches."""


def unexpected(found: list[Any]) -> list[Any]:
    return [
        row
        for row in found
        if not any(
            row[3].startswith(f"{op} of layer") and any(name in row[0] for name in names)
            for op, names in KNOWN.items()
        )
    ]


@pytest.fixture(scope="module")
def all_families(tmp_path_factory: pytest.TempPathFactory, cpu_engine: Engine) -> list[str]:
    folder = tmp_path_factory.mktemp("families")
    ready = [(DATA / name / "model-f32.gguf", DATA / name) for name in ALL_FAMILIES]
    return [str(file if file.exists() else to_f32_gguf(of, folder)) for file, of in ready]


def look(engine: Engine, work: list[Any], env: dict[str, str]) -> tuple[int, list[Any]]:
    n, found = json.loads(run_python(engine, ALL, json.dumps(work), env=env))
    return n, found


@pytest.mark.vulkan
def test_no_false_alarm(vulkan_engine: Engine, all_families: list[str]) -> None:
    n, found = look(vulkan_engine, [all_families, LOADS, CONTEXTS], VULKAN)
    assert unexpected(found) == []
    assert n > 300
    lacking = {row[3].partition(" of ")[0] for row in found}
    assert lacking == set(KNOWN)
    assert {row[1]["devices"][0] for row in found if "devices" in row[1]} == set()


@pytest.mark.vulkan
def test_no_false_alarm_with_layers_and_experts_on_two_devices(
    vulkan_engine: Engine, all_families: list[str]
) -> None:
    loads = [
        {"tensor_split": [1, 1]},
        {"tensor_split": [3, 1], "n_gpu_layers": 3},
        {"tensor_overrides": [[r"blk\.0\.", "Vulkan1"], [r"blk\.1\..*(norm|ffn)", "CPU"]]},
    ]
    n, found = look(vulkan_engine, [all_families, loads, CONTEXTS[:4]], TWO_DEVICES)
    assert unexpected(found) == []
    assert n > 100


@pytest.mark.engine
def test_on_the_cpu_nothing_can_be_elsewhere(cpu_engine: Engine, all_families: list[str]) -> None:
    n, found = look(cpu_engine, [all_families, LOADS[:1], CONTEXTS], {})
    assert found == []
    assert n > 60


@pytest.mark.vulkan
def test_a_cache_of_experts(vulkan_engine: Engine) -> None:
    """Cached experts are computed on the device; of others, those of a ubatch are copied there."""
    for n_parallel in (1, 4):
        options = {"moe_cache_bytes": 1 << 20, "n_parallel": n_parallel}
        said, report = strict(vulkan_engine, MOE, {"experts": "cpu"}, **options)
        assert said == ""
        assert "MUL_MAT_ID" not in graph(report, "decode")["ops"]["CPU"]
    said, report = strict(vulkan_engine, MOE, {"experts": "cpu"})
    assert said == ""
    prompt = graph(report, "prompt")
    assert graph(report, "decode")["ops"]["CPU"]["MUL_MAT_ID"] == 9
    assert prompt["ops"]["Vulkan0"]["MUL_MAT_ID"] == 6  # the last layer has one row to compute
    copied = sum(copies["weight_bytes"] for copies in prompt["copies"])
    assert copied > 0 == sum(copies["weight_bytes"] for copies in graph(report, "decode")["copies"])


@pytest.mark.vulkan
def test_copies_are_those_of_the_scheduler(vulkan_engine: Engine) -> None:
    """A cache in system memory is copied to the attention that runs on the device."""
    decode = graph(strict(vulkan_engine, LLAMA, offload_kqv=False)[1], "decode")
    [up] = [copies for copies in decode["copies"] if copies["target"] == "Vulkan0"]
    assert up["cache_bytes"] == 2 * 4 * 1024 * 64 * 2  # K and V, layers, cells, values, f16
    without = strict(vulkan_engine, LLAMA, offload_kqv=False, flash_attn="off")[1]
    assert sum(copies["cache_bytes"] for copies in graph(without, "decode")["copies"]) == 0


# ---------------------------------------------------------------- a context at work

AT_WORK = """
import sys
import numpy as np
import pannier

path, *adapters = sys.argv[1:]


def logits(context, tokens):
    batch = pannier.Batch()
    batch.add(0, tokens[:-1])
    batch.add(0, tokens[-1:], logits=True)
    context.step(batch)
    return context.logits(len(tokens) - 1)


with pannier.Model(path, n_gpu_layers=2) as model:
    files = [model.add_adapter(adapter) for adapter in adapters]
    sets = [{file.id: 1.0} for file in files] + [{}]
    rows = []
    for looks in (False, True):
        with model.context(n_ctx=512, n_parallel=2, n_threads=1, strict=looks) as context:
            memory = context.memory().rows
            rows.append([])
            for tokens in ([1, 2, 3] * 20, [4], [5], [6, 7] * 20, [8]):
                rows[-1].append(logits(context, tokens))
                if looks:
                    context.placement(1)
            for scales in sets if files else ():
                context.set_adapters(scales)
                rows[-1].append(logits(context, [9]))
            assert context.memory().rows == memory
    assert all(np.array_equal(one, other) for one, other in zip(*rows))
print(len(rows[0]))
"""


@pytest.mark.vulkan
def test_looking_changes_nothing(vulkan_engine: Engine) -> None:
    """Between steps of which the long ones are computed on the device altogether, and the short
    ones are not."""
    assert run_python(vulkan_engine, AT_WORK, str(LLAMA), env=VULKAN) == "5\n"


@pytest.mark.engine
def test_adapters_are_looked_at(cpu_engine: Engine, tmp_path: Path) -> None:
    adapter = Lora(MOE, "attn_q.", "exps").write(tmp_path / "lora.gguf")
    assert run_python(cpu_engine, AT_WORK, str(MOE), str(adapter)) == "7\n"


@pytest.mark.engine
def test_a_number_of_clients_that_cannot_be(pannier: Any) -> None:
    with pannier.Model(LLAMA) as model, model.context(**SMALL) as context:
        assert context.placement(4).graphs[0].n_seqs == 4
        for n in (-1, 5):
            with pytest.raises(pannier.ArgumentError, match=f"n_clients is {n}; it must be 1 to 4"):
                context.placement(n)
    with (
        pannier.Model(LLAMA, vocab_only=True) as model,
        pytest.raises(pannier.ContextError, match="no_alloc"),
    ):
        model.placement()
