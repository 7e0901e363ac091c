"""The ledger of real engines: every owner's bytes, beside the allocator's own record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pannier.engine import Engine

from ..conftest import run_python
from ..edited_gguf import Lora

pytestmark = pytest.mark.engine

DATA = Path(__file__).parents[1] / "data"
SIX = {
    "attention": "llama/model-f32.gguf",
    "experts": "qwen3moe/model-f32.gguf",
    "sliding window": "gemma3/model-f32.gguf",
    "recurrent": "mamba2/model-f32.gguf",
    "hybrid": "qwen3next/model-f32.gguf",
    "hybrid with rollback": "qwen35moe-rollback.gguf",
}
GUESSING = ("attention", "sliding window", "hybrid with rollback")
ADAPTED = ("attention", "hybrid", "hybrid with rollback")
SMALL = {"n_batch": 32, "n_ubatch": 32, "n_threads": 1, "flash_attn": "off"}
KINDS = ("weights", "kv", "recurrent", "rollback", "compute", "output", "moe_cache", "lora")
CODE = "from tests.server.ledger_engine import main; main()"


def run(engine: Engine, *work: dict[str, Any]) -> list[Any]:
    env = {"GGML_VK_VISIBLE_DEVICES": "0"}
    return json.loads(run_python(engine, CODE, json.dumps(work), env=env).splitlines()[-1])


def busy_options(name: str, folder: Path, *, unified: bool = True) -> dict[str, Any]:
    """Several clients, prefixes kept everywhere, guesses and an adapter where there can be."""
    model = DATA / SIX[name]
    folder.mkdir(parents=True)
    options = {
        "model": str(model),
        "n_ctx": 2048,
        "n_parallel": 3,
        "n_prefixes": 3,
        "cache_ram_mib": 4,
        "prefix_cache_dir": str(folder / "states"),
        "prefix_cache_mib": 50,
        "kv_unified": unified,
        **SMALL,
    }
    if name in GUESSING:
        options |= {"spec_type": "ngram-simple", "spec_size_m": 4}
    if name in ADAPTED:
        options["adapters"] = [str(Lora(model, "output.weight").write(folder / "lora.gguf"))]
    return options


def check(report: dict[str, Any]) -> None:
    """Everything adds up, to the byte."""
    devices, kv, states = report["devices"], report["kv"], report["states"]

    def total(*kinds: str) -> int:
        return sum(device[f"{kind}_bytes"] for device in devices for kind in kinds)

    assert total(*KINDS) == report["total_bytes"] == report["allocated_bytes"]
    assert kv["clients_bytes"] + kv["kept_bytes"] + kv["free_bytes"] == total("kv")
    parts = sum(states[f"{holder}_bytes"] for holder in ("clients", "kept", "free"))
    assert parts == total("recurrent", "rollback")
    assert min(kv["free_bytes"], states["free_bytes"]) >= 0
    rows = report["clients"]
    for row in rows:
        cells = row["kv_private_bytes"] + row["kv_shared_bytes"]
        assert row["now_bytes"] == cells + row["recurrent_bytes"] + row["rollback_bytes"]
        assert row["now_bytes"] <= row["peak_bytes"] <= row["reserved_bytes"]
        assert cells <= row["kv_bytes"]
    working = sum(row["now_bytes"] for row in rows if row["id"] is not None)
    kept = sum(row["now_bytes"] for row in rows if row["id"] is None)
    assert working == kv["clients_bytes"] + states["clients_bytes"]
    assert kept == report["prefixes"]["device_bytes"] == kv["kept_bytes"] + states["kept_bytes"]
    for device in devices:
        assert sum(device["weights"].values()) == device["weights_bytes"]
        assert min(device["weights"].values()) >= 0
        check_process(device)
    assert total("checkpoint") == report["prefixes"]["host_bytes"]


def check_process(device: dict[str, Any]) -> None:
    owned = sum(device[f"{kind}_bytes"] for kind in (*KINDS, "checkpoint", "pool"))
    if owned <= device["process_bytes"]:  # a mapping's pages need not be there
        assert owned + device["untracked_bytes"] == device["process_bytes"]
    else:
        assert device["type"] == "cpu" and device["untracked_bytes"] == 0


def check_busy(name: str, found: dict[str, Any]) -> None:
    for report in (found["working"], found["fewer"], found["idle"]):
        check(report)
    working, idle = found["working"], found["idle"]
    ids = [row["id"] for row in working["clients"] if row["id"] is not None]
    assert len(ids) == 3 and working["prefixes"]["n_on_device"] > 0
    assert working["prefixes"]["host_bytes"] > 0
    assert idle["prefixes"]["disk_bytes"] == found["file_bytes"] > 0
    assert all(row["id"] is None for row in idle["clients"])
    lora, rollback = (
        sum(device[f"{kind}_bytes"] for device in working["devices"])
        for kind in ("lora", "rollback")
    )
    assert (lora > 0) is (name in ADAPTED)
    assert (rollback > 0) is (name == "hybrid with rollback")
    for told in found["told"]:
        assert 0 < told["now_bytes"] <= told["peak_bytes"] <= told["reserved_bytes"]
    if name != "recurrent":
        assert any(row["kv_shared_bytes"] for row in working["clients"]) is working["kv"]["unified"]


def test_six_architectures_on_the_cpu(cpu_engine: Engine, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in SIX}
    work = [
        {"what": "busy", "options": busy_options(name, folder)} for name, folder in folders.items()
    ]
    for name, found in zip(folders, run(cpu_engine, *work), strict=True):
        check_busy(name, found)
        used = found["working"]["kv"]
        if name not in ("sliding window", "recurrent"):
            held = used["clients_bytes"] + used["kept_bytes"]
            assert held == used["n_cells_used"] * used["cell_bytes"], "the scheduler counts others"


def test_a_cache_for_each_client(cpu_engine: Engine, tmp_path: Path) -> None:
    names = ("attention", "hybrid with rollback")
    work = [
        {"what": "busy", "options": busy_options(name, tmp_path / name, unified=False)}
        for name in names
    ]
    for found in run(cpu_engine, *work):
        check(found["working"])
        assert not any(row["n_cells_shared"] for row in found["working"]["clients"])


@pytest.mark.vulkan
@pytest.mark.parametrize(("name", "n_gpu_layers"), [("hybrid with rollback", -1), ("hybrid", 2)])
def test_owners_on_a_device(
    vulkan_engine: Engine, name: str, n_gpu_layers: int, tmp_path: Path
) -> None:
    """They are what the driver was asked for, but for what it rounds up."""
    placed = {"n_gpu_layers": n_gpu_layers, "load_mode": "none"}
    options = busy_options(name, tmp_path / "work") | placed
    [found] = run(vulkan_engine, {"what": "busy", "options": options})
    check_busy(name, found)
    gpu, cpu = found["working"]["devices"]
    assert gpu["weights_bytes"] > 0 and cpu["checkpoint_bytes"] > 0
    owned = sum(gpu[f"{kind}_bytes"] for kind in (*KINDS, "pool"))
    assert owned == pytest.approx(gpu["process_bytes"], rel=0.01)
    assert gpu["pool_bytes"] < 0.05 * owned


def sharing(engine: Engine, cases: list[tuple[str, int]], **options: Any) -> None:
    """So many clients of 2,048 common tokens: what the ledger says each of them costs."""
    sizes = {**SMALL, "n_ctx": 4096, "n_prefixes": 2, **options}
    work = [
        {"what": "sharing", "options": {**sizes, "model": str(DATA / SIX[name]), "n_parallel": n}}
        for name, n in cases
    ]
    for (name, n), found in zip(cases, run(engine, *work), strict=True):
        before, working = found["before"], found["working"]
        check(before)
        check(working)
        rows = [row for row in working["clients"] if row["id"] is not None]
        assert len(rows) == n and all(row["n_cells"] >= 2048 + 40 for row in rows)
        n_own = sum(row["n_cells"] - 2048 for row in rows)
        own = n_own * working["kv"]["cell_bytes"] + n * working["recurrent_seq_bytes"]
        assert 0 < held(working) - held(before) <= 1.05 * own, (name, n)


def held(report: dict[str, Any]) -> int:
    """Bytes of cells and states that somebody holds."""
    return sum(
        report[cache][f"{holder}_bytes"]
        for cache in ("kv", "states")
        for holder in ("clients", "kept")
    )


def test_an_additional_client_costs_its_state_and_its_own_cells(cpu_engine: Engine) -> None:
    names = ("attention", "hybrid", "hybrid with rollback")
    cases = [(name, n) for name in names for n in (1, 2, 4, 8)]
    guessing = {"spec_type": "ngram-simple", "spec_size_m": 2}
    sharing(cpu_engine, cases, n_batch=256, n_ubatch=256, **guessing)


@pytest.mark.slow
@pytest.mark.vulkan
def test_an_additional_client_of_a_device(vulkan_engine: Engine) -> None:
    sharing(vulkan_engine, [("attention", 8)], n_batch=256, n_ubatch=256, load_mode="none")
