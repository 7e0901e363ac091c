"""Counters of the cache of experts against a replay of the routes, and what it computes."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader

from pannier.engine import Engine
from tests.bindings.conftest import DATA
from tests.conftest import run_python
from tests.edited_gguf import edited

QWEN3NEXT = DATA / "qwen3next" / "model-f32.gguf"
N_EXPERT = 8
SLOT = 3 * 32 * 32 * 4
"""Bytes of an expert of the tiny models in F32: gate, up and down."""
DEVICE = {"GGML_VK_VISIBLE_DEVICES": "0"}

# A step is a list of (sequence, number of tokens); one token of each sequence has an output.
# Mesa's software driver can crash on ubatches of 48 and 64 tokens, cache or not.
CODE = """
import dataclasses, json, sys
import pannier

path, options, runs = sys.argv[1], *map(json.loads, sys.argv[2:])


def run(model, steps):
    with model.context(
        n_ctx=1024, n_parallel=8, n_ubatch=40, n_threads=1, flash_attn="off", routes=True, **options
    ) as context:
        token = 0
        for step in steps:
            batch = pannier.Batch()
            for sequence, n_tokens in step:
                tokens = [(token := token * 73 % 311 + 7) for _ in range(n_tokens)]
                batch.add(sequence, tokens[:-1])
                batch.add(sequence, tokens[-1:], logits=True)
            context.step(batch)
        routes, cache = context.take_routes(), context.moe_cache()
        return {
            "ubatches": [{il: ids.tolist() for il, ids in one.experts.items()} for one in routes],
            "layers": [dataclasses.asdict(layer) for layer in cache.layers],
            "total": dataclasses.asdict(cache.total),
            "memory": context.memory().kind_bytes("moe_cache"),
        }


with pannier.Model(path, experts="cpu", load_mode="none") as model:
    print(json.dumps({name: run(model, steps) for name, steps in runs.items()}))
"""

ONE = [[(0, 20)], *[[(0, 1)]] * 24]
SEVERAL = [[(0, 9), (1, 4)], *[[(0, 1), (1, 1)]] * 9, [(2, 14), (0, 1), (3, 12), (1, 1)]]
SEVERAL += [[(i, 1) for i in range(4)]] * 12
MANY = [[(i, 4) for i in range(8)], *[[(i, 1) for i in range(8)]] * 6]
LONG = [[(0, 5)], *[[(0, 1)]] * 4, [(1, 33)], [(2, 50), (0, 1)], *[[(0, 1), (2, 1)]] * 4, [(3, 32)]]
LONG += [[(4, 31)], [(0, 1)], [(5, 150), (6, 20)], *[[(i, 1) for i in range(3)]] * 4]
STEPS = {"one": ONE, "several": SEVERAL, "many": MANY, "long": LONG}


@dataclass
class Group:
    """Slots of layers of one layout, the least recently used first."""

    n_slots: int
    keys: OrderedDict[int, tuple[int, int] | None] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.keys = OrderedDict.fromkeys(range(self.n_slots))

    def slot(self, layer: int, expert: int) -> int | None:
        return next((s for s, key in self.keys.items() if key == (layer, expert)), None)

    def use(self, layer: int, experts: list[int]) -> tuple[int, int]:
        """Hits and misses of a ubatch's experts, in the order in which they appear."""
        unique = list(dict.fromkeys(experts))
        there = [e for e in unique if self.slot(layer, e) is not None]
        for expert in there:
            self.keys.move_to_end(self.slot(layer, expert))
        missing = sorted(set(unique) - set(there))
        for expert in missing:
            slot = next(iter(self.keys))
            self.keys[slot] = (layer, expert)
            self.keys.move_to_end(slot)
        return len(there), len(missing)


def replay(ubatches: list[dict[str, Any]], layers: list[dict[str, Any]]) -> dict[int, list[int]]:
    """Ubatches, hits, misses and copied experts by layer."""
    groups = {row["group"]: Group(row["n_slots"]) for row in layers}
    counts = {row["layer"]: [0, 0, 0, 0] for row in layers}
    group_of = {row["layer"]: groups[row["group"]] for row in layers}
    for ubatch in ubatches:
        for layer, rows in sorted((int(layer), rows) for layer, rows in ubatch.items()):
            if not rows or layer not in group_of:
                continue
            group, count = group_of[layer], counts[layer]
            experts = [expert for row in rows for expert in row]
            if len(rows) <= 32 and min(len(experts), N_EXPERT) <= group.n_slots:
                hits, misses = group.use(layer, experts)
                count[:3] = count[0] + 1, count[1] + hits, count[2] + misses
            elif len(rows) >= 32:  # computed on the device; fewer are on the CPU
                count[3] += sum(group.slot(layer, e) is not None for e in set(experts))
    return counts


def counted(layers: list[dict[str, Any]]) -> dict[int, list[int]]:
    names = ("ubatches", "hits", "misses", "copied")
    return {row["layer"]: [row["counts"][name] for name in names] for row in layers}


def work(engine: Engine, path: Path, n_bytes: int) -> dict[str, dict[str, Any]]:
    """All of STEPS, each in a context of its own."""
    options = {"moe_cache_bytes": n_bytes}
    out = run_python(engine, CODE, str(path), *map(json.dumps, (options, STEPS)), env=DEVICE)
    return dict(json.loads(out))


@pytest.fixture(scope="module")
def two_layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers 1 and 2 have their experts in F16."""
    halves = {
        tensor.name: np.array(tensor.data, dtype=np.float16)
        for tensor in GGUFReader(QWEN3NEXT).tensors
        if "exps" in tensor.name and tensor.name.startswith(("blk.1.", "blk.2."))
    }
    assert len(halves) == 6
    return edited(QWEN3NEXT, tmp_path_factory.mktemp("model") / "two.gguf", tensors=halves)


def check(run: dict[str, Any], n_layers: int) -> dict[int, list[int]]:
    """Counters and bytes of a run are the replay's; returns the counters."""
    layers = run["layers"]
    assert [row["layer"] for row in layers] == list(range(n_layers))
    expected = replay(run["ubatches"], layers)
    assert counted(layers) == expected
    for row in layers:
        counts = row["counts"]
        assert counts["uploaded_bytes"] == counts["misses"] * row["expert_bytes"]
        assert counts["copied_bytes"] == counts["copied"] * row["expert_bytes"]
        assert row["device"] == "Vulkan0"
        assert counts["wait_seconds"] > 0 or not counts["ubatches"]
    for name, value in run["total"].items():
        assert value == pytest.approx(sum(row["counts"][name] for row in layers))
    return expected


@pytest.mark.vulkan
@pytest.mark.parametrize("n_slots", [3, 8, 20, 33])
def test_counters_are_those_of_a_replay(vulkan_engine: Engine, n_slots: int) -> None:
    n_most = min(n_slots, 32)  # there are no more experts
    for steps, run in work(vulkan_engine, QWEN3NEXT, (n_slots + 1) * SLOT).items():
        used, hits, misses, copied = np.sum(list(check(run, 4).values()), axis=0)
        assert {row["n_slots"] for row in run["layers"]} == {n_most}
        assert {row["expert_bytes"] for row in run["layers"]} == {SLOT}
        assert run["memory"] >= (n_most + 1) * SLOT
        assert (used > 0) == (steps != "many" or n_slots >= 8)  # eight clients use all experts
        assert misses <= 32 or n_slots < 32
        if n_slots >= 20:
            assert hits > 0
            assert (copied > 0) == (steps == "long")


@pytest.mark.vulkan
@pytest.mark.parametrize("n_bytes", [13 * SLOT, 20 * SLOT])
def test_layers_of_two_layouts(vulkan_engine: Engine, two_layouts: Path, n_bytes: int) -> None:
    for run in work(vulkan_engine, two_layouts, n_bytes).values():
        check(run, 4)
        assert [row["group"] for row in run["layers"]] == [0, 1, 1, 0]
        bytes_of_one = [row["expert_bytes"] for row in run["layers"]]
        assert bytes_of_one == [SLOT, SLOT // 2, SLOT // 2, SLOT]


LOGITS = """
import json, sys
import numpy as np
import pannier

path, steps = sys.argv[1], json.loads(sys.argv[2])


def last_logits(experts, **options):
    with pannier.Model(path, experts=experts, load_mode="none") as model, model.context(
        n_ctx=1024, n_parallel=8, n_ubatch=32, n_threads=1, flash_attn="off", **options
    ) as context:
        token, seen = 0, []
        for step in steps:
            batch = pannier.Batch()
            for sequence, n_tokens in step:
                tokens = [(token := token * 73 % 311 + 7) for _ in range(n_tokens)]
                batch.add(sequence, tokens[:-1])
                batch.add(sequence, tokens[-1:], logits=True)
            context.step(batch)
            rows = [i for i, output in enumerate(batch.outputs) if output]
            seen += [context.logits(row) for row in rows]
        return np.array(seen)


plain = last_logits("cpu")
print(json.dumps([
    float(np.linalg.norm(other - plain) / np.linalg.norm(plain))
    for other in (
        last_logits("gpu"),
        *(last_logits("cpu", moe_cache_bytes=n) for n in json.loads(sys.argv[3])),
    )
]))
"""


@pytest.mark.vulkan
def test_several_clients_get_the_same_logits(vulkan_engine: Engine, two_layouts: Path) -> None:
    """From the CPU, the device, and caches that evict, that hold all, and that are passed by."""
    sizes = [n_slots * SLOT for n_slots in (5, 9, 15, 33)]
    arguments = [str(two_layouts), *map(json.dumps, (SEVERAL, sizes))]
    env = DEVICE | {"GGML_VK_DISABLE_F16": "1"}
    differences = json.loads(run_python(vulkan_engine, LOGITS, *arguments, env=env))
    assert len(differences) == 1 + len(sizes)
    assert max(differences) < 1e-3


@pytest.mark.engine
def test_there_is_none_on_the_cpu(context: Any) -> None:
    assert context.moe_cache() is None
