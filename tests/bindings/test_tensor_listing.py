"""What `pannier plan --show-tensors` lists: every tensor once, and sums to the byte."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from pannier.engine import Engine
from pannier.tensor_listing import TensorListing, list_tensors

from ..conftest import run_python
from .conftest import DATA

MOE = DATA / "qwen3moe" / "model-f32.gguf"
TIED = sorted(path for path in DATA.parent.rglob("*.gguf"))


def listing(pannier: ModuleType, path: Path, **load: object) -> tuple[TensorListing, int]:
    with pannier.Model(path, no_alloc=True, **load) as model:
        rows = model.plan(n_ctx=512).rows
        whole = sum(row.bytes for row in rows if row.kind == "weights")
        return list_tensors(model.override_rows, model.tensors, rows), whole


@pytest.mark.engine
@pytest.mark.parametrize("path", TIED, ids=lambda path: path.parent.name)
def test_every_tensor_is_in_one_row(pannier: ModuleType, path: Path) -> None:
    rows = [(r"blk\.[01]\.", "CPU"), ("norm", "CPU")]
    found, whole = listing(pannier, path, tensor_overrides=rows)
    assert [row.source for row in found.rows] == [r"-ot blk\.[01]\.=CPU", "-ot norm=CPU", "no row"]
    assert sum(row.bytes for row in found.rows) == sum(one.tensor_bytes for one in found.buffers)
    assert sum(one.bytes for one in found.buffers) == whole
    assert all(one.padding_bytes >= 0 for one in found.buffers if "Mapped" not in one.buffer_type)


@pytest.mark.engine
def test_groups_and_who_comes_first(pannier: ModuleType) -> None:
    rows = [(r"blk\.0\..*up_exps", "CPU")]
    found, _ = listing(pannier, MOE, tensor_overrides=rows, experts="cpu:0,2")
    mine, cpu, gpu, rest = found.rows
    assert (mine.n_matching, mine.n_tensors, mine.groups[0].name) == (
        *(1, 1),
        "blk.0.ffn_up_exps.weight",
    )
    assert (cpu.source, cpu.buffer, cpu.n_matching, cpu.n_tensors) == (
        *("--experts cpu:0,2", "CPU"),
        *(6, 5),
    )
    names = {group.name: group.n_tensors for group in cpu.groups}
    assert names == {
        "blk.{0,2}.ffn_down_exps.weight": 2,
        "blk.{0,2}.ffn_gate_exps.weight": 2,
        "blk.2.ffn_up_exps.weight": 1,
    }
    assert (gpu.buffer, gpu.n_tensors) == (None, 3)
    assert "token_embd.weight" in {group.name for group in rest.groups}


# Prints each buffer's sum, and the plan's weights.
ON_A_DEVICE = """
import json, sys
from dataclasses import asdict
import pannier
from pannier.tensor_listing import list_tensors

path, loads = json.loads(sys.argv[1])
for load in loads:
    with pannier.Model(path, no_alloc=True, **load) as model:
        rows = model.plan(n_ctx=512, n_threads=1).rows
        found = list_tensors(model.override_rows, model.tensors, rows)
    buffers = {one.buffer_type: one.bytes for one in found.buffers}
    assert buffers == {row.buffer_type: row.bytes for row in rows if row.kind == "weights"}
    print(json.dumps({group.name: group.buffer_type for row in found.rows for group in row.groups}))
"""


@pytest.mark.vulkan
def test_where_they_really_go(vulkan_engine: Engine) -> None:
    loads = [{"experts": "cpu:1"}, {"experts": "gpu:1", "load_mode": "none"}]
    work = json.dumps([str(MOE), loads])
    printed = run_python(vulkan_engine, ON_A_DEVICE, work, env={"GGML_VK_VISIBLE_DEVICES": "0"})
    first, second = map(json.loads, printed.splitlines())
    assert first["blk.1.ffn_up_exps.weight"] == "CPU_Mapped"
    assert first["blk.{0,2}.ffn_up_exps.weight"] == "Vulkan0"
    assert second["blk.{0,2}.ffn_up_exps.weight"] == "Vulkan_Host"
    assert second["blk.1.ffn_up_exps.weight"] == second["output.weight"] == "Vulkan0"
    assert first["token_embd.weight"] == "CPU_Mapped"
