"""memory-accounts: the record kept at ggml's allocator against the engine's own figures."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import run_python

MODEL = Path(__file__).parents[1] / "data" / "qwen35moe-rollback.gguf"

# Two contexts of different shape, so that a figure taken twice or not at all shows.
CODE = """
import json, sys
import pannier

def by_type(pairs):
    totals = {}
    for name, size in pairs:
        totals[name] = totals.get(name, 0) + size
    return {name: size for name, size in totals.items() if size}

path, load_mode, n_gpu_layers = sys.argv[1], sys.argv[2], int(sys.argv[3])
with pannier.Model(path, load_mode=load_mode, n_gpu_layers=n_gpu_layers) as model:
    with model.context(n_ctx=512, n_parallel=2, n_rs_seq=3) as context:
        batch = pannier.Batch()
        batch.add(0, [1, 2])
        batch.add(0, [3], logits=True)
        context.step(batch)
        report = context.memory()
        one = {
            "rows": by_type((row.buffer_type, row.bytes) for row in report.rows),
            "live": by_type(report.allocated),
            "output": report.kind_bytes("output"),
        }
        with model.context(n_ctx=256, n_parallel=1) as other:
            two = by_type(other.memory().allocated)
        after = by_type(context.memory().allocated)
with pannier.Model(path, load_mode=load_mode, n_gpu_layers=n_gpu_layers) as model:
    with model.context(n_ctx=512, n_parallel=2, n_rs_seq=3) as context:
        context.step(batch)
        again = by_type(context.memory().allocated)
print(json.dumps([one, two, after, again]))
"""


@pytest.mark.engine
@pytest.mark.parametrize("load_mode", ["mmap", "none"])
def test_record_equals_the_breakdown(cpu_engine, load_mode):
    check(json.loads(run_python(cpu_engine, CODE, str(MODEL), load_mode, "0")))


@pytest.mark.vulkan
@pytest.mark.parametrize("n_gpu_layers", ["99", "2"])
def test_record_on_a_device(vulkan_engine, n_gpu_layers):
    env = {"GGML_VK_VISIBLE_DEVICES": "0"}
    check(json.loads(run_python(vulkan_engine, CODE, str(MODEL), "none", n_gpu_layers, env=env)))


def check(measured):
    one, two, after, again = measured
    assert one["live"] == one["rows"]
    assert one["output"] > 0
    assert sum((Counter(two) - Counter(one["live"])).values()) > 0
    assert after == one["live"], "a closed context leaves bytes behind"
    assert again == one["live"], "a closed model leaves bytes behind"
