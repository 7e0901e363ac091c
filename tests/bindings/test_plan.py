"""Planned rows are allocated rows and what the allocator recorded, to the byte; a plan takes no
memory and reads no weight."""

import pytest

from pannier.convert.random_gguf import write_header
from pannier.synth.models import spec_of
from tests.bindings.conftest import DATA
from tests.plan_grid import GRID, SIX, SMALL_GRID, compare


@pytest.mark.engine
def test_six_architectures_on_the_cpu(cpu_engine):
    assert len(SIX) == 6
    assert compare(cpu_engine, SIX, [{}], GRID) == 360
    loads = [{"load_mode": mode} for mode in ("mmap", "none", "mmap+mlock")]
    assert compare(cpu_engine, SIX, loads, SMALL_GRID) == 6 * 3 * 32
    routes = SMALL_GRID | {"routes": [True], "swa_full": [False], "n_rs_seq": [0]}
    assert compare(cpu_engine, SIX, [{}], routes) == 6 * 8
    mixed = GRID | {"n_parallel": [3], "type_k": ["f16", "bf16", "q5_1"], "type_v": ["q8_0", "f32"]}
    assert compare(cpu_engine, SIX, [{}], mixed) == 6 * 24


@pytest.mark.vulkan
@pytest.mark.parametrize("n_gpu_layers", [-1, 2])
def test_six_architectures_on_a_device(vulkan_engine, n_gpu_layers):
    env = {"GGML_VK_VISIBLE_DEVICES": "0"}
    loads = [{"n_gpu_layers": n_gpu_layers, "load_mode": "auto"}]
    assert compare(vulkan_engine, SIX, loads, GRID, env=env) == 360


@pytest.mark.vulkan
@pytest.mark.parametrize("tensor_split", [(), (3, 1)])
def test_six_architectures_on_two_devices(vulkan_engine, tensor_split):
    """The one software device, twice. With all layers on devices llama.cpp works in a pipeline."""
    env = {"GGML_VK_VISIBLE_DEVICES": "0,0"}
    loads = [{"n_gpu_layers": n, "tensor_split": tensor_split} for n in (-1, 2)]
    grid = GRID | {"n_parallel": [1, 8], "type_k": ["f16"], "n_ubatch": [64, 512]}
    assert compare(vulkan_engine, SIX, loads, grid, env=env) == 6 * 2 * 16


@pytest.mark.vulkan
def test_experts_in_cpu_memory_with_a_cache_of_them(vulkan_engine):
    env = {"GGML_VK_VISIBLE_DEVICES": "0"}
    paths = [path for path in SIX if "moe" in str(path) or "next" in str(path)]
    assert len(paths) == 3
    loads = [{"experts": "cpu", "load_mode": mode} for mode in ("mmap", "none")]
    grid = SMALL_GRID | {"moe_cache_bytes": [0, 1 << 20], "swa_full": [False]}
    assert compare(vulkan_engine, paths, loads, grid, env=env) == 3 * 2 * 32
    kept = grid | {"routes": [True], "n_rs_seq": [0]}
    assert compare(vulkan_engine, paths, loads, kept, env=env) == 3 * 2 * 16


REAL = {
    "nemotron-3-nano": ("nemotron_h_moe 31B", 6 * 2 * 2 * 128 * 2),
    "qwen3-coder-next": ("qwen3next 80B", 12 * 2 * 2 * 256 * 2),
    "kimi-linear": ("kimi-linear 48B", 7 * (512 + 64) * 2),
}
"""llama.cpp's words for the model, and bytes of a cell in F16."""


@pytest.mark.engine
@pytest.mark.parametrize("name", REAL)
def test_real_sizes_from_a_header(pannier, name, tmp_path):
    """With a million tokens, eight clients hold the cells of one, and so many more states."""
    description, cell_bytes = REAL[name]
    path = write_header(tmp_path / "model.gguf", spec_of(name))
    n_ctx = 1 << 20
    with pannier.Model(path, no_alloc=True) as model:
        assert model.description.startswith(description)
        one, eight = (model.plan(n_ctx=n_ctx, n_parallel=n) for n in (1, 8))
    assert path.stat().st_size > model_bytes(one) / 2 > 8 << 30
    assert path.stat().st_blocks * 512 < 16 << 20, "the file has more than its header"
    assert one.kind_bytes("kv") == eight.kind_bytes("kv") == n_ctx * cell_bytes
    assert one.kv_cell_bytes == cell_bytes
    assert eight.kind_bytes("recurrent") == 8 * one.kind_bytes("recurrent") > 0


def model_bytes(plan):
    return plan.kind_bytes("weights")


@pytest.mark.engine
def test_what_a_plan_is_of(pannier):
    path = DATA / "llama" / "model-f32.gguf"
    with pannier.Model(path, no_alloc=True) as model:
        with pytest.raises(pannier.ContextError, match="loaded without its weights"):
            model.context()
        with pytest.raises(pannier.ContextError, match="quantized V cache"):
            model.plan(type_v="q8_0", flash_attn="off")
        with pytest.raises(pannier.ArgumentError, match="n_seq_max is 0"):
            model.plan(n_parallel=0)
        plan = model.plan(n_ctx=512)
        assert plan.device_bytes("CPU") == sum(row.bytes for row in plan.rows)
    with pannier.Model(path) as model, pytest.raises(pannier.ContextError, match="no_alloc"):
        model.plan()
    with pannier.Model(path, vocab_only=True) as model:
        assert model.tensors == ()
        with pytest.raises(pannier.ContextError, match="no_alloc"):
            model.plan()
