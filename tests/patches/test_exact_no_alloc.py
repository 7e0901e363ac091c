"""exact-no-alloc: what a plan gets wrong without the patch, and that it takes nothing."""

import sys

import pytest

from pannier.convert.byte_vocabulary import ByteVocabulary
from pannier.convert.random_gguf import write_header
from pannier.convert.random_hybrid import KimiLinearSpec, NemotronHSpec
from pannier.synth.models import spec_of
from tests.bindings.test_plan import GRID, compare
from tests.conftest import run_python


def words():
    return ByteVocabulary((" a", " b", "cd"))


def kimi(**changes):
    """Its largest compute buffer is that of the last of llama.cpp's three graphs."""
    sizes = {"n_embd": 256, "n_layer": 4, "n_head": 2, "n_head_kv": 1, "head_dim": 64}
    return KimiLinearSpec(
        **(sizes | changes),
        name="kimi",
        full_attention=(3,),
        kda_head_dim=64,
        n_lora_kv=64,
        n_rope=32,
        n_ff=256,
        n_expert=4,
        n_expert_used=2,
        n_ff_exp=256,
        vocabulary=words(),
        shared_in_f32=False,
    )


def nemotron(**changes):
    return NemotronHSpec(
        name="nemotron",
        pattern="ME*ME",
        n_embd=256,
        n_layer=5,
        n_head=4,
        n_head_kv=2,
        head_dim=64,
        ssm_heads=8,
        ssm_head_dim=32,
        ssm_state=32,
        ssm_groups=2,
        n_expert=4,
        n_expert_used=2,
        n_ff_exp=256,
        n_ff_shared=256,
        vocabulary=words(),
        **changes,
    )


@pytest.mark.engine
@pytest.mark.parametrize("make", [kimi, nemotron])
def test_hybrids_and_repacked_weights(cpu_engine, make, tmp_path):
    """Matrices of these types are put in an order of the processor's own, in another buffer."""
    paths = [
        write_header(tmp_path / f"{type}.gguf", make(type=type)) for type in ("F16", "Q8_0", "Q4_0")
    ]
    loads = [{"load_mode": mode} for mode in ("mmap", "none")]
    grid = GRID | {"n_parallel": [1, 4], "kv_unified": [True]}
    assert compare(cpu_engine, paths, loads, grid) == 3 * 2 * 12


@pytest.mark.engine
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_plan_takes_no_memory(cpu_engine, tmp_path):
    """The peak of this process alone: getrusage's begins with that of the process it came from."""
    path = write_header(tmp_path / "model.gguf", spec_of("qwen3-coder-next"))
    code = """
import sys
from pathlib import Path
import pannier

with pannier.Model(sys.argv[1], no_alloc=True) as model:
    plan = model.plan(n_ctx=1 << 20, n_parallel=64)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(sum(row.bytes for row in plan.rows), status["VmHWM"].split()[0])
"""
    planned, peak_kib = map(int, run_python(cpu_engine, code, str(path)).split())
    assert 0 < peak_kib << 10 < 1 << 30 < planned // 64


@pytest.mark.engine
def test_an_unpatched_engine_makes_no_plans(unpatched_engine, tmp_path):
    path = write_header(tmp_path / "model.gguf", kimi())
    code = """
import sys
import pannier

with pannier.Model(sys.argv[1], no_alloc=True) as model:
    try:
        model.plan()
    except pannier.ContextError as error:
        print(error)
"""
    assert "an engine with patches" in run_python(unpatched_engine, code, str(path))
