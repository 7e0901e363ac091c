"""routing-trace: the experts that a context keeps are those that llama.cpp's eval callback sees."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pannier.engine import Engine, source_tree
from tests.bindings.conftest import DATA
from tests.conftest import run_python
from tests.edited_gguf import edited

from .conftest import HERE

DEVICE = {"GGML_VK_VISIBLE_DEVICES": "0", "GGML_VK_DISABLE_F16": "1"}
MODELS = {
    "qwen3moe": DATA / "qwen3moe" / "model-f32.gguf",
    "qwen3next": DATA / "qwen3next" / "model-f32.gguf",
    "qwen35moe": DATA / "qwen35moe-rollback.gguf",
}
Batches = list[list[tuple[int, int, int]]]
"""Of (sequence, token, has output)."""

CODE = """
import json, sys
import pannier

path, options, batches = sys.argv[1], *map(json.loads, sys.argv[2:])
experts = options.pop("experts")
with pannier.Model(path, experts=experts, load_mode="none") as model:
    with model.context(
        n_ctx=1024, n_parallel=4, n_batch=256, n_outputs_max=256, n_threads=1, flash_attn="off",
        **options,
    ) as context:
        for rows in batches:
            batch = pannier.Batch()
            for sequence, token, output in rows:
                batch.add(sequence, [token], logits=bool(output))
            context.step(batch)
        routes = context.take_routes()
        assert context.take_routes() == []
        reused = context.graphs_reused
for one in routes:
    for layer, experts in one.experts.items():
        print(json.dumps([layer, experts.shape[1], experts.flatten().tolist()]))
print(json.dumps([[one.rows.tolist(), one.output_rows.tolist()] for one in routes]))
print(json.dumps(reused))
"""


def made_batches() -> Batches:
    """Two prompts, one of them with two outputs, steps of several lengths, and single tokens."""
    tokens = iter(range(7, 300))
    prompts = [(0, next(tokens), i in (3, 17)) for i in range(18)]
    prompts += [(1, next(tokens), i == 10) for i in range(11)]
    decode = [[(sequence, next(tokens), 1) for sequence in (0, 1)] for _ in range(6)]
    late = [(2, next(tokens), i == 39) for i in range(40)] + [(0, next(tokens), 1)]
    return [[(s, t, int(o)) for s, t, o in rows] for rows in (prompts, *decode, late)]


BATCHES = made_batches()


class Seen:
    """What llama.cpp's own callback prints, with an engine."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.program = folder / f"routes-{engine.name}"
        tree, library = source_tree(), engine.directory / "lib"
        subprocess.run(
            [
                os.environ.get("CXX", "c++"),
                *("-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"),
                *(f"-I{tree / part}" for part in ("include", "ggml/include")),
                *(HERE / "routes.cpp", "-o", self.program),
                *(f"-L{library}", f"-Wl,-rpath,{library}"),
                *("-lllama", "-lggml", "-lggml-base"),
            ],
            check=True,
        )

    def layers(self, model: Path, n_ubatch: int, unified: bool, experts: str) -> list[Any]:
        text = "\n".join(
            " ".join(f"{sequence} {token} {output}" for sequence, token, output in rows)
            for rows in BATCHES
        )
        out = subprocess.run(
            [self.program, model, str(n_ubatch), str(int(unified)), str(int(experts == "cpu"))],
            input=text + "\n",
            capture_output=True,
            text=True,
            env=os.environ | DEVICE,
            check=True,
        ).stdout
        numbers = [list(map(int, line.split())) for line in out.splitlines()]
        return [[layer, n_used, experts] for layer, n_used, *experts in numbers]


def kept(engine: Engine, model: Path, **options: Any) -> tuple[list[Any], list[Any], int]:
    """Layers in the order computed, the rows of each ubatch, and how many graphs were reused."""
    arguments = (str(model), json.dumps({"routes": True} | options), json.dumps(BATCHES))
    *layers, rows, reused = map(
        json.loads, run_python(engine, CODE, *arguments, env=DEVICE).splitlines()
    )
    return layers, rows, reused


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router that chooses two of four groups first, as DeepSeek's does."""
    metadata = {"qwen3moe.expert_group_count": 4, "qwen3moe.expert_group_used_count": 2}
    path = tmp_path_factory.mktemp("grouped") / "model.gguf"
    return edited(MODELS["qwen3moe"], path, metadata)


@pytest.mark.engine
@pytest.mark.parametrize("unified", [True, False])
@pytest.mark.parametrize("n_ubatch", [64, 16])
@pytest.mark.parametrize("name", [*MODELS, "grouped"])
def test_they_are_those_of_the_callback(
    cpu_engine: Engine, grouped: Path, tmp_path: Path, name: str, n_ubatch: int, unified: bool
) -> None:
    model = MODELS.get(name, grouped)
    layers, rows, reused = kept(
        cpu_engine, model, experts="gpu", n_ubatch=n_ubatch, kv_unified=unified
    )
    expected = Seen(cpu_engine, tmp_path).layers(model, n_ubatch, unified, "gpu")
    assert [layer for layer in layers if layer[2]] == [layer for layer in expected if layer[2]]
    assert reused >= 4
    check_rows(rows)


def check_rows(ubatches: list[Any]) -> None:
    """Every row of each batch is in one ubatch, and those with an output are known."""
    ubatches = list(ubatches)
    for batch in BATCHES:
        seen: list[int] = []
        outputs: list[int] = []
        while len(seen) < len(batch):
            rows, with_output = ubatches.pop(0)
            seen += rows
            outputs += with_output
            assert with_output == [row for row in rows if batch[row][2]]
        assert sorted(seen) == list(range(len(batch)))
        assert sorted(outputs) == [i for i, row in enumerate(batch) if row[2]]
    assert ubatches == []


@pytest.mark.vulkan
@pytest.mark.parametrize("experts", ["gpu", "cpu"])
@pytest.mark.parametrize("name", ["qwen3moe", "qwen3next"])
def test_on_a_device(vulkan_engine: Engine, tmp_path: Path, name: str, experts: str) -> None:
    layers, _, reused = kept(vulkan_engine, MODELS[name], experts=experts, n_ubatch=64)
    expected = Seen(vulkan_engine, tmp_path).layers(MODELS[name], 64, True, experts)
    assert [layer for layer in layers if layer[2]] == [layer for layer in expected if layer[2]]
    assert reused >= 4


@pytest.mark.engine
def test_without_a_patch_it_is_refused(unpatched_engine: Engine) -> None:
    code = """
import sys
import pannier
with pannier.Model(sys.argv[1]) as model:
    try:
        model.context(n_ctx=256, routes=True)
    except pannier.ArgumentError as error:
        print(error)
"""
    assert "unpatched" in run_python(unpatched_engine, code, str(MODELS["qwen3moe"]))
