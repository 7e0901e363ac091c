"""How large a cache of experts has to be: the rules, and llama.cpp's own slots."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pannier.engine import Engine
from pannier.errors import ContextError
from pannier.memory import TensorRow
from pannier.moe_room import MoeRoom, least_cache_bytes, room_of
from tests.conftest import run_python

from .conftest import DATA
from .test_moe_cache import DEVICE, two_layouts  # noqa: F401


def model_of(*layers: tuple[str, int], n_used: str = "2") -> Any:
    """A model whose layers have experts of 3 * size bytes in a buffer type."""
    rows = [
        TensorRow(f"blk.{i}.ffn_{part}_exps.weight", "CPU", buffer, buffer != "CUDA0", 8 * size)
        for i, (buffer, size) in enumerate(layers)
        for part in ("gate", "up", "down")
    ]
    rows.append(TensorRow("blk.0.ffn_gate_inp.weight", "CPU", "CPU", True, 99))
    metadata = {"general.architecture": "a", "a.expert_count": "8", "a.expert_used_count": n_used}
    return SimpleNamespace(tensors=tuple(rows), metadata=metadata)


def test_layers_that_can_be_cached() -> None:
    layers = [("CPU_Mapped", 10), ("CUDA0", 10), ("CUDA_Host", 20), ("CPU_REPACK", 10)]
    room = room_of(model_of(*layers, n_used="[2, 3]"))
    assert room == MoeRoom(8, 3, {0: (10, 10, 10), 2: (20, 20, 20)}, n_elsewhere=2)
    assert (room.n_slots(1), room.n_slots(2), room.n_slots(3)) == (3, 6, 8)


def test_layouts_share_a_cache_by_their_bytes() -> None:
    assert least_cache_bytes([], 5) == 0
    assert least_cache_bytes([(30,)], 1) == 60  # one slot to spare
    assert least_cache_bytes([(30,)] * 4, 4) == 5 * 30 * 4 // 4
    # the one layer of 60 gets a fifth of the size, the four of 60 in all a fifth each
    assert least_cache_bytes([(20, 40), *[(60,)] * 4], 2) == 3 * 60 * 5
    room = room_of(model_of(("CPU", 10), ("CPU", 10), ("CPU", 20)))
    assert room.least_bytes(1) == 3 * (30 + 30 + 60)


def test_too_small_for_one_token() -> None:
    room = room_of(model_of(("CPU", 10), ("CPU", 10), ("CPU", 20)))
    room.check(3 * 120 // 2)  # two layers of one layout have half of it
    with pytest.raises(ContextError, match=r"2 of 30 bytes and one to spare.*take 180"):
        room.check(179)
    room_of(model_of(("CUDA0", 10))).check(1)  # nothing is cached


CODE = """
import json, sys
import pannier
from pannier.moe_room import room_of

slots = []
with pannier.Model(sys.argv[1], experts="cpu", load_mode="none") as model:
    room = room_of(model)
    with pannier.Model(sys.argv[1], experts="cpu", load_mode="none", no_alloc=True) as planned:
        assert room_of(planned) == room
    for n_tokens in (2, 3, 4):
        for n_bytes in (room.least_bytes(n_tokens), room.least_bytes(n_tokens) - 100):
            with model.context(
                n_ctx=256, n_threads=1, flash_attn="off", moe_cache_bytes=n_bytes
            ) as context:
                cache = context.moe_cache()
                n_least = min(layer.n_slots for layer in cache.layers)
                slots.append([room.n_slots(n_tokens), n_least])
    said = []
    model.context(n_ctx=256, n_threads=1, moe_cache_bytes=room.least_bytes(1)).close()
    for n_bytes in (1, room.least_bytes(1) - 100):
        try:
            model.context(n_ctx=256, moe_cache_bytes=n_bytes)
        except pannier.ContextError as error:
            said.append(str(error))
print(json.dumps([slots, said]))
"""


@pytest.mark.vulkan
def test_llama_cpp_has_so_many_slots(vulkan_engine: Engine, two_layouts: Path) -> None:  # noqa: F811
    slots, said = json.loads(run_python(vulkan_engine, CODE, str(two_layouts), env=DEVICE))
    for (needed, enough), (_, fewer) in zip(slots[::2], slots[1::2], strict=True):
        assert enough == needed
        assert fewer == needed - 1
    assert len(said) == 2
    assert all("too small for the experts of one token" in text for text in said)


@pytest.mark.engine
@pytest.mark.parametrize(("name", "says"), [("llama", "no experts"), ("qwen3next", "needs a GPU")])
def test_where_there_can_be_none(pannier: Any, name: str, says: str) -> None:
    path = DATA / name / "model-f32.gguf"
    with pannier.Model(path) as model, pytest.raises(pannier.ContextError, match=says):
        model.context(n_ctx=256, moe_cache_bytes=1 << 20)
    with pannier.Model(path, no_alloc=True) as model:
        for plan in (model.plan, model.placement):
            with pytest.raises(pannier.ContextError, match=says):
                plan(n_ctx=256, moe_cache_bytes=1 << 20)
