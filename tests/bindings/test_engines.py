"""The same promises on other engines, each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import engine_environment, run_python
from .conftest import DATA, FAMILIES

HERE = Path(__file__).parent
FUZZ = HERE / "fuzz_context.py"

RUN_FILE = """
import runpy, sys
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

LEAKS = """
import ctypes, gc, resource, sys
import pannier

# Allocators settle during the first turns; what leaks grows in every 200 of them.
ENOUGH, MANY = 16_000, 10**9

def resident():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what the C library keeps for later is no growth
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def once():
    options = dict(n_ctx=512, n_parallel=2, n_threads=1)
    with pannier.Model(sys.argv[1]) as model, model.context(**options) as context:
        model.apply_chat_template([{"role": "user", "content": "hi"}])
        context.set_sampler(0, pannier.SamplingParams(grammar='root ::= "a" | "b"'))
        context.set_sampler(1, pannier.SamplingParams(), n_probs=2)
        batch = pannier.Batch()
        batch.add(0, model.tokenize("Hello"), sample=True)
        batch.add(1, model.tokenize("Hello there"), sample=True)
        context.step(batch, n_top=2)
        for wrong in (dict(grammar="root ::= ("), dict(samplers=("nothing",))):
            try:
                context.set_sampler(0, pannier.SamplingParams(**wrong))
            except pannier.ArgumentError:
                pass
        context.sequence(0).copy_to(1)
        return context.memory().allocated_bytes

reports, growths = set(), []
while len(growths) < 5 and min(growths, default=MANY) > ENOUGH:
    before = resident()
    reports |= {once() for _ in range(200)}
    growths.append(resident() - before)
print(min(growths), len(reports))
"""

LOGITS = """
import json, sys
import numpy as np
import pannier

folder, options, chunk = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
reference = np.load(folder + "/reference.npz")
prompt = [int(token) for token in reference["prompt"]]
with (
    pannier.Model(folder + "/model-f32.gguf", **options) as model,
    model.context(
        n_ctx=256, n_outputs_max=64, n_threads=1, type_k="f32", type_v="f32", flash_attn="off"
    ) as ctx,
):
    rows = []
    for start in range(0, len(prompt), chunk):
        batch = pannier.Batch()
        batch.add(0, prompt[start : start + chunk], logits=True)
        ctx.step(batch)
        rows += [ctx.logits(row) for row in range(len(batch))]
    logits = np.stack(rows)
    report = ctx.memory()
    print(json.dumps({
        "error": float(np.linalg.norm(logits - reference["logits"])
                       / np.linalg.norm(reference["logits"])),
        "device": {kind: sum(r.bytes for r in report.rows if r.kind == kind and not r.is_host)
                   for kind in ("weights", "kv", "recurrent", "compute")},
        "host_weights": sum(r.bytes for r in report.rows if r.kind == "weights" and r.is_host),
        "sum": report.total_bytes,
        "allocated": report.allocated_bytes,
        "gpus": [d.name for d in pannier.devices() if d.type != "cpu"],
    }))
"""

# A device index admits a software driver. Where a device can, ggml multiplies matrices in half
# precision, which alone gives errors of up to 2e-2: what is compared here is single precision.
VULKAN_DEVICE = {"GGML_VK_VISIBLE_DEVICES": "0", "GGML_VK_DISABLE_F16": "1"}

# Token by token everything is single precision. In a batch ggml-vulkan still copies K and V to
# half precision before it multiplies them, as they are not contiguous.
BOUNDS = {1: 1e-4, 48: 2e-3}


def test_loading_stepping_and_closing_200_times_grows_memory_by_nothing(cpu_engine):
    growth, n_reports = run_python(
        cpu_engine, LEAKS, str(DATA / "qwen3next" / "model-f32.gguf")
    ).split()
    assert n_reports == "1"
    assert int(growth) <= 16_000  # 80 bytes a turn


def logits(engine, family, chunk, **options):
    arguments = (str(DATA / family), json.dumps(options), str(chunk))
    out = run_python(engine, LOGITS, *arguments, env=VULKAN_DEVICE, timeout_s=600)
    result = json.loads(out.splitlines()[-1])
    if not result["gpus"]:
        pytest.skip("the Vulkan engine sees no device: install a driver, software ones included")
    return result


@pytest.mark.vulkan
@pytest.mark.parametrize("chunk", BOUNDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_on_vulkan_are_those_of_transformers(vulkan_engine, family, chunk):
    result = logits(vulkan_engine, family, chunk, n_gpu_layers=99)
    assert result["error"] < BOUNDS[chunk]
    assert result["device"]["weights"] > 0
    assert result["device"]["kv"] > 0
    assert result["sum"] == result["allocated"]


@pytest.mark.vulkan
@pytest.mark.parametrize("chunk", BOUNDS)
@pytest.mark.parametrize("family", ["qwen3moe", "qwen3next"])
def test_logits_on_vulkan_with_the_experts_in_cpu_memory(vulkan_engine, family, chunk):
    whole = logits(vulkan_engine, family, chunk, n_gpu_layers=99)
    split = logits(vulkan_engine, family, chunk, n_gpu_layers=99, experts="cpu")
    assert split["error"] < BOUNDS[chunk]
    assert split["device"]["weights"] < whole["device"]["weights"]
    assert split["host_weights"] > whole["host_weights"]
    assert split["device"]["kv"] == whole["device"]["kv"] > 0
    assert split["device"]["recurrent"] == whole["device"]["recurrent"]
    assert split["sum"] == split["allocated"]


PLACEMENTS = [
    {"experts": "cpu:0"},
    {"experts": "gpu:0|cpu"},
    {"experts": "cpu:0,2|gpu:1"},
    {"n_cpu_moe": 2},
    {"tensor_overrides": [[r"blk\.1\..*(up|down)_exps", "CPU"]]},
    {"n_gpu_layers": 2, "experts": "cpu:1"},
    {"experts": "cpu", "host_memory": "copy"},
    {"experts": "cpu", "host_memory": "pinned", "pin_budget": 200_000},
    {"experts": "cpu:0-1", "host_memory": "experts=lock,embedding=copy"},
]


@pytest.mark.vulkan
@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
def test_every_placement_computes_the_same(vulkan_engine, placement):
    chunk = min(BOUNDS)
    result = logits(vulkan_engine, "qwen3moe", chunk, **{"n_gpu_layers": 99} | placement)
    assert result["error"] < BOUNDS[chunk] <= 1e-3
    assert result["sum"] == result["allocated"]


def test_our_native_code_is_clean_under_sanitizers(sanitized_engine):
    """The binding tests again, with address and undefined-behaviour checks in libpannier."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        + [
            str(HERE / f"test_{name}.py")
            for name in ("abi", "model", "context", "override_rows", "quant_kernels")
        ],
        env=engine_environment(sanitized_engine),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    assert " passed" in result.stdout


@pytest.mark.parametrize("seed", range(6))
def test_random_use_never_ends_the_process(cpu_engine, seed):
    n_ok, n_all = map(int, run_python(cpu_engine, RUN_FILE, str(FUZZ), str(seed)).split())
    assert n_ok > 50
    assert n_all > n_ok
