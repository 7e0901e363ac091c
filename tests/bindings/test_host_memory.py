"""Which system memory weights lie in: asked for, planned, obtained."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from pannier.engine import Engine
from pannier.errors import ArgumentError, PlacementError
from pannier.host_memory import HostPlan, host_memory, plan_host_memory
from pannier.host_words import host_wish, parse_host_memory
from pannier.memory import TensorRow
from pannier.roles import ROLES

from ..conftest import run_python
from ..plan_grid import compare
from .conftest import DATA

MOE = DATA / "qwen3moe" / "model-f32.gguf"
HYBRID = DATA / "qwen3next" / "model-f32.gguf"
TIED = DATA / "llama" / "model-f32.gguf"
VULKAN = {"GGML_VK_VISIBLE_DEVICES": "0"}
MAPPED = "CPU_Mapped"


def row(name: str, buffer: str = MAPPED, n_bytes: int = 4096) -> TensorRow:
    device = "CPU" if buffer in ("CPU", "CPU_REPACK") or "_" in buffer else buffer
    return TensorRow(name, device, buffer, device == "CPU", n_bytes)


TENSORS = [
    *(row(f"blk.{i}.ffn_{part}_exps.weight") for i in range(3) for part in ("up", "down")),
    row("blk.0.attn_q.weight", "CUDA0"),
    row("token_embd.weight"),
    row("output.weight", n_bytes=100),
]

# ---------------------------------------------------------------- words


def test_what_the_words_say() -> None:
    assert parse_host_memory("pinned") == dict.fromkeys(ROLES, "pinned")
    assert parse_host_memory("experts=pinned, embedding=mmap") == {
        "experts": "pinned",
        "embedding": "mmap",
    }
    rest = parse_host_memory("lock,experts=pinned")
    assert (rest["experts"], rest["norm"]) == ("pinned", "lock")


@pytest.mark.parametrize(
    "text", ["", "pin", "experts", "expert=lock", "experts=", "=lock,", "a=b=c"]
)
def test_what_they_may_not_be(text: str) -> None:
    with pytest.raises(ArgumentError, match="one of mmap, pinned, lock, copy, or ROLE=MODE"):
        parse_host_memory(text)


@pytest.mark.parametrize("text", ["lock,copy", "experts=lock,experts=mmap"])
def test_words_that_disagree(text: str) -> None:
    with pytest.raises(ArgumentError, match="in lock and in "):
        parse_host_memory(text)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("lock", None, 0, False), "the load mode says otherwise"),
        (("pinned", None, -1, True), "no_host pins nothing"),
        (("lock", 1 << 20, -1, False), "pin_budget is 1048576 bytes, with host_memory 'lock'"),
        (("pinned", 0, 1, False), "pin_budget is 0 bytes"),
    ],
)
def test_words_beside_other_flags(arguments: tuple[Any, ...], named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        host_wish(*arguments)


# ---------------------------------------------------------------- rows


def test_rows_name_the_tensors_in_system_memory() -> None:
    plan = plan_host_memory({"experts": "pinned", "embedding": "copy"}, None, TENSORS)
    names = {one.name for one in TENSORS}
    by_buffer = {
        buffer: {name for name in names if re.search(pattern, name)}
        for pattern, buffer in plan.overrides()
    }
    assert by_buffer == {
        "host:pinned": {name for name in names if "exps" in name},
        "host:copied": {"token_embd.weight"},
    }
    assert len(plan.overrides()) == 3 - 1


def test_a_budget_is_spent_layer_by_layer() -> None:
    wish = parse_host_memory("pinned")
    plan = plan_host_memory(wish, 4 * 4096 + 4095, TENSORS)
    pinned = {name for name, mode in plan.modes.items() if mode == "pinned"}
    assert pinned == {f"blk.{i}.ffn_{part}_exps.weight" for i in (0, 1) for part in ("up", "down")}
    assert set(plan.modes.values()) == {"pinned", "mmap"}
    assert "blk.0.attn_q.weight" not in plan.modes
    all_of_it = plan_host_memory(wish, 8 * 4096, TENSORS)
    assert set(all_of_it.modes.values()) == {"pinned"}


def test_a_name_that_is_on_a_device_too() -> None:
    tensors = [*TENSORS, row("token_embd.weight", "CUDA0")]
    plan = plan_host_memory({"embedding": "lock"}, None, tensors)
    assert (plan.modes, plan.shared) == ({}, {"token_embd.weight": "lock"})
    found = host_memory(tensors, plan, ())
    assert "0.0 MiB of weights are not locked" in found.problems[0]
    assert found.is_asked


def test_what_was_obtained() -> None:
    plan = HostPlan({one.name: "pinned" for one in TENSORS[:6]})
    tensors = [
        *(row(one.name, "CUDA_Host") for one in TENSORS[:4]),
        *(row(one.name, "CPU", 1 << 20) for one in TENSORS[4:6]),
        row("blk.1.attn_q.weight", "CPU_REPACK", 7),
        row("token_embd.weight"),
    ]
    found = host_memory(tensors, plan, ["token_embd.weight"])
    assert {
        kind: found.kind_bytes(kind) for kind in ("pinned", "copied", "repacked", "locked")
    } == {
        "pinned": 4 * 4096,
        "copied": 2 << 20,
        "repacked": 7,
        "locked": 4096,
    }
    assert found.problems[0].startswith("2.0 MiB of weights are not pinned: the driver gave")
    with pytest.raises(PlacementError, match="not pinned"):
        found.check()
    assert found.as_dict()["experts"]["copied_bytes"] == 2 << 20
    assert str(found).startswith("experts 0.0 MiB pinned, 2.0 MiB copied; attention")


# ---------------------------------------------------------------- engines

GRID = {"n_parallel": [1, 3], "n_ctx": [512], "type_k": ["f16"]}
LOADS: list[dict[str, Any]] = [
    {"host_memory": "mmap"},
    {"host_memory": "copy"},
    {"host_memory": "lock,experts=copy"},
    {"host_memory": "embedding=copy"},
]
PINNED: list[dict[str, Any]] = [
    {"host_memory": "pinned"},
    {"host_memory": "experts=pinned,embedding=copy", "pin_budget": 130_000},
]


@pytest.mark.engine
def test_plans_are_exact_on_the_cpu(cpu_engine: Engine) -> None:
    assert compare(cpu_engine, [MOE, HYBRID], LOADS, GRID) == 2 * 4 * 2


@pytest.mark.vulkan
@pytest.mark.parametrize("env", [{}, {"GGML_VK_SUBALLOCATION_BLOCK_SIZE": "65536"}])
def test_plans_are_exact_beside_a_device(vulkan_engine: Engine, env: dict[str, str]) -> None:
    loads = [{"experts": "cpu"} | load for load in LOADS + PINNED]
    loads += [{"n_gpu_layers": 2} | PINNED[0], {"devices": ["none"], "host_memory": "copy"}]
    paths = [MOE, HYBRID]
    if env:
        # only the weights' buffers are counted one by one: no context that fills several
        loads, paths = [{"experts": "cpu"} | PINNED[1]], [MOE]
        grid = {"n_parallel": [1], "n_ctx": [256], "n_ubatch": [16], "type_k": ["f16"]}
        assert compare(vulkan_engine, paths, loads, grid, env=VULKAN | env) == 1
    else:
        assert compare(vulkan_engine, paths, loads, GRID, env=VULKAN) == 2 * 8 * 2
        loads = [{"host_memory": mode} for mode in ("pinned", "copy", "embedding=lock")]
        assert compare(vulkan_engine, [TIED], loads, GRID, env=VULKAN) == 3 * 2


# Prints what each load has, and the tokens that it decodes.
OBTAINED = """
import json, sys
import pannier
from pannier import Batch

path, loads = json.loads(sys.argv[1])
for load in loads:
    with pannier.Model(path, **load) as model, model.context(n_ctx=512, n_threads=1) as context:
        context.set_sampler(0, pannier.SamplingParams.greedy())
        tokens = list(range(3, 23))
        for _ in range(8):
            batch = Batch()
            batch.add(0, tokens, sample=True)
            tokens = [context.step(batch).sampled[0].token]
            load.setdefault("tokens", []).append(tokens[0])
        host = model.host_memory
        assert not host.problems, host.problems
        print(json.dumps([load["tokens"], host.as_dict()]))
"""


def obtained(engine: Engine, loads: list[dict[str, Any]], **env: str) -> list[Any]:
    printed = run_python(engine, OBTAINED, json.dumps([str(MOE), loads]), env=VULKAN | env)
    return [json.loads(line) for line in printed.splitlines()]


def sizes(memory: dict[str, dict[str, int]], role: str) -> dict[str, int]:
    return {kind.removesuffix("_bytes"): n for kind, n in memory[role].items() if n}


@pytest.mark.vulkan
def test_each_mode_computes_the_same(vulkan_engine: Engine) -> None:
    loads = [{"experts": "cpu"} | load for load in [{}, *LOADS, *PINNED]]
    found = obtained(vulkan_engine, loads)
    assert len({tuple(tokens) for tokens, _ in found}) == 1
    experts = [sizes(memory, "experts") for _, memory in found]
    whole = 9 * 32768
    assert experts == [
        {"mapped": whole},
        {"mapped": whole},
        {"copied": whole},
        {"copied": whole},
        {"mapped": whole},
        {"pinned": whole},
        {"mapped": 6 * 32768, "pinned": 3 * 32768},
    ]
    assert sizes(found[3][1], "embedding") == {"locked": 40960}


@pytest.mark.vulkan
def test_a_driver_that_pins_less(vulkan_engine: Engine) -> None:
    """Its largest buffer does not hold them."""
    code = """
import json, sys, pannier
with pannier.Model(sys.argv[1], experts="cpu", host_memory="pinned") as model:
    print(json.dumps([model.host_memory.problems, model.host_memory.as_dict()]))
"""
    env = VULKAN | {"GGML_VK_FORCE_MAX_BUFFER_SIZE": "300000"}
    [problem], memory = json.loads(run_python(vulkan_engine, code, str(MOE), env=env))
    assert "MiB of weights are not pinned: the driver gave ordinary memory" in problem
    assert sizes(memory, "experts") == {"copied": 9 * 32768}


@pytest.mark.engine
def test_no_pinned_memory_without_a_device(cpu_engine: Engine) -> None:
    code = """
import sys, pannier
try:
    pannier.Model(sys.argv[1], host_memory="pinned")
except pannier.ArgumentError as error:
    print(error)
"""
    assert "has pinned memory: take lock, copy or mmap" in run_python(cpu_engine, code, str(MOE))


LOCKED = """
import ctypes, json, resource, sys
import pannier

class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

def give_up_privileges():
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capset(ctypes.byref(Header(0x20080522, 0)), (ctypes.c_uint32 * 6)()) == 0

limit = int(sys.argv[2])
give_up_privileges()
hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
limit = limit if hard < 0 else min(limit, hard)
resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
with pannier.Model(sys.argv[1], host_memory="experts=lock") as model:
    status = open("/proc/self/status").read()
    locked = next(line for line in status.splitlines() if line.startswith("VmLck"))
    host = model.host_memory
    kernel = int(locked.split()[1]) * 1024
    print(json.dumps([host.kind_bytes("locked"), kernel, host.problems]))
"""


@pytest.mark.engine
def test_what_the_limit_leaves_unlocked_is_said(cpu_engine: Engine) -> None:
    whole = 9 * 32768
    printed = run_python(cpu_engine, LOCKED, str(MOE), str(1 << 22))
    locked, kernel, problems = json.loads(printed)
    assert (locked, problems) == (whole, [])
    assert whole <= kernel <= whole + 2 * 4096 * 9
    printed = run_python(cpu_engine, LOCKED, str(MOE), str(4 * 32768 + 5 * 4096))
    locked, kernel, problems = json.loads(printed)
    assert 2 * 32768 <= locked <= kernel < whole
    assert "of weights are not locked: the system locks no more" in problems[0]
    printed = run_python(cpu_engine, LOCKED, str(MOE), "0")
    assert json.loads(printed)[0] == 0
