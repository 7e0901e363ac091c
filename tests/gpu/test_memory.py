"""Memory on a real GPU: plans to the byte, owners beside the driver's word, strict placement."""

import pytest

from ..plan_grid import GRID, SIX, SMALL_GRID, compare
from .conftest import DATA, DEVICE

pytestmark = pytest.mark.gpu

ROLLBACK = DATA / "qwen35moe-rollback.gguf"
HYBRID = DATA / "qwen3next" / "model-f32.gguf"
EXPERTS = [DATA / name / "model-f32.gguf" for name in ("qwen3moe", "qwen3next")]


@pytest.mark.parametrize("n_gpu_layers", [-1, 2])
def test_planned_bytes_are_allocated_bytes(gpu_engine, n_gpu_layers):
    """CUDA has no flash attention for heads of 32, which one model has, so no quantised V there."""
    loads = [{"n_gpu_layers": n_gpu_layers}]
    others = [path for path in SIX if path != ROLLBACK]
    assert compare(gpu_engine, others, loads, GRID, env=DEVICE) == 5 * 60
    assert compare(gpu_engine, [ROLLBACK], loads, GRID | {"type_v": ["f16"]}, env=DEVICE) == 60


def test_planned_bytes_with_experts_in_cpu_memory_and_a_cache_of_them(gpu_engine):
    caches = [0] if gpu_engine.backends[0] == "cpu" else [0, 1 << 20]
    grid = SMALL_GRID | {"moe_cache_bytes": caches, "swa_full": [False]}
    n = compare(gpu_engine, EXPERTS, [{"experts": "cpu"}], grid, env=DEVICE)
    assert n == 2 * 16 * len(caches)


@pytest.mark.parametrize("experts", ["gpu", "cpu"])
def test_owners_and_what_is_untracked_are_what_the_driver_says(probe, experts):
    """The probe fails where they are not, and where an op is misplaced."""
    result = probe(
        "ledger",
        needs_gpu=True,
        path=str(HYBRID),
        model={"n_gpu_layers": -1, "experts": experts},
        context={"n_ctx": 2**18, "n_batch": 32, "flash_attn": "off"},
    )
    small, large = result["small"], result["large"]
    assert large["device"] != "CPU"
    assert large["kinds"]["kv"] == 2**18 // 256 * small["kinds"]["kv"] >= 2**26
    # The driver hands memory out in blocks, and ggml keeps a pool for scratch.
    growth = result["growth"]
    assert growth["owned"] - 2**25 <= growth["measured"] <= growth["owned"] + 2**28
