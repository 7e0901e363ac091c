"""Recording on real models: which tokens are there, whose they are, and what caches did."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pannier import Model, SamplingParams
from pannier.engine import Engine
from pannier.errors import ArgumentError, TraceError
from pannier.modelfile import open_model_file
from pannier.routing import Trace, read_trace
from pannier.routing.accesses import Group
from pannier.routing.recorder import Recorder
from pannier.routing.replay import Replayer
from pannier.routing.statistics import layer_statistics
from pannier.routing.traced_model import expert_layers, traced_model
from pannier.synth.routing import Routing
from tests.bindings.conftest import DATA
from tests.conftest import run_python
from tests.synth.test_engine import MANY_WORDS, TEMPERATURE_1, reduced, write

GREEDY = SamplingParams(temperature=0.0)
PROMPTS = [[5, 6, 7, 8, 9], [40, 41], list(range(60, 100)), [7]]


def no_report(done: int, total: int, now: str = "") -> None:
    pass


def recorded(
    path: Path, prompts: Any, n_predict: int, sampling: SamplingParams = GREEDY, **options: Any
) -> Trace:
    file = open_model_file(path)
    with Model(path) as model, model.context(routes=True, n_threads=1, **options) as context:
        recorder = Recorder(context, sampling, n_predict)
        recorder.run(prompts, no_report)
        return recorder.trace(traced_model(file), expert_layers(file), "an engine")


def by_text(trace: Trace, layer: int) -> dict[int, list[list[int]]]:
    """What the tokens of each text chose, in their order."""
    found = defaultdict(list)
    for ubatch in trace.ubatches:
        for text, row in zip(ubatch.sequences, ubatch.experts[layer].tolist(), strict=True):
            found[text].append(row)
    return found


@pytest.mark.engine
@pytest.mark.parametrize("family", ["qwen3moe", "qwen3next"])
def test_every_token_of_every_text(pannier: object, family: str) -> None:
    """The last token of a text is sampled and not computed."""
    path = DATA / family / "model-f32.gguf"
    with Model(path) as model:
        never_ends = GREEDY.with_changes(logit_bias={model.eos: -1000.0}, ignore_eos=True)
    one = recorded(path, PROMPTS, 6, never_ends, n_ctx=512)
    lengths = [len(prompt) + 5 for prompt in PROMPTS]
    assert one.n_tokens == sum(lengths)
    assert {ubatch.n_tokens for ubatch in one.ubatches} == {1, 2, 5, 40}
    first = by_text(one, 0)
    assert [len(rows) for rows in first.values()] == lengths
    several = recorded(path, PROMPTS, 6, never_ends, n_ctx=1024, n_parallel=3, n_ubatch=16)
    assert max(ubatch.n_tokens for ubatch in several.ubatches) == 16
    assert any(len(set(ubatch.sequences)) == 3 for ubatch in several.ubatches)
    assert by_text(several, 0) == first
    assert one.layers == tuple(expert_layers(open_model_file(path)).expert_bytes)


@pytest.mark.engine
def test_what_is_known_of_the_model(pannier: object) -> None:
    path = DATA / "qwen3next" / "model-f32.gguf"
    trace = recorded(path, [[3, 4]], 2, n_ctx=256)
    assert (trace.model.file, trace.model.architecture) == ("model-f32.gguf", "qwen3next")
    assert (trace.model.n_expert, trace.model.n_expert_used) == (8, 2)
    assert trace.layouts == (0,) * 4
    assert trace.expert_bytes == (3 * 32 * 32 * 4,) * 4
    n_all = open_model_file(path).n_bytes
    table = next(t.n_bytes for t in open_model_file(path).tensors if t.name == "token_embd.weight")
    assert trace.model.rest_bytes == n_all - trace.all_bytes - table


@pytest.mark.engine
def test_refusals(pannier: object) -> None:
    with pytest.raises(ArgumentError, match=r"model-f32.gguf \(llama\) has no routed experts"):
        traced_model(open_model_file(DATA / "llama" / "model-f32.gguf"))
    path = DATA / "qwen3moe" / "model-f32.gguf"
    with pytest.raises(TraceError, match="prompt 2 has 250 tokens; of 1 to 246 tokens there is"):
        recorded(path, [[1], [1] * 250], 10, n_ctx=256)
    with pytest.raises(TraceError, match="prompt 1 has 0 tokens"):
        recorded(path, [[]], 10, n_ctx=256)


@pytest.fixture
def synthetic(pannier: object, tmp_path: Path) -> Iterator[tuple[Path, Routing]]:
    routing = Routing(0.5, 0.5)
    path = write(tmp_path, reduced("qwen3-coder-next", 64, routing, MANY_WORDS))
    yield path, routing
    path.unlink()


@pytest.mark.engine
def test_skew_and_locality_of_a_synthetic_model(synthetic: tuple[Path, Routing]) -> None:
    """In text that it writes itself, through the engine's own routers."""
    path, routing = synthetic
    sampling = SamplingParams(seed=1, ignore_eos=True, **TEMPERATURE_1)
    with Model(path) as model:
        prompts = [
            model.tokenize(words) for words in (" a mule", " the", " red", " on", " so", " it")
        ]
    trace = recorded(path, prompts, 200, sampling, n_ctx=2048, n_parallel=6)
    layers = layer_statistics(trace)
    assert [layer.repeated for layer in layers] == pytest.approx([routing.locality] * 4, abs=0.1)
    assert np.mean([layer.skew for layer in layers]) == pytest.approx(routing.skew, abs=0.2)


CODE = """
import dataclasses, json, sys
from pathlib import Path

from pannier import Model, SamplingParams
from pannier.modelfile import open_model_file
from pannier.routing import write_trace
from pannier.routing.recorder import Recorder
from pannier.routing.traced_model import expert_layers, traced_model

path, out, n_bytes, n_parallel = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
with Model(path, experts="cpu", load_mode="none") as model:
    with model.context(n_ctx=2048, n_parallel=n_parallel, n_ubatch=64, n_threads=1, routes=True,
                       flash_attn="off", moe_cache_bytes=n_bytes) as context:
        recorder = Recorder(context, SamplingParams(seed=3, ignore_eos=True), 30)
        prompts = [[7 + i] * n for i, n in enumerate((20, 9, 14, 4, 33))]
        recorder.run(prompts, lambda done, total, now="": None)
        file = open_model_file(path)
        write_trace(out, recorder.trace(traced_model(file), expert_layers(file), "an engine"))
        print(json.dumps([dataclasses.asdict(layer) for layer in context.moe_cache().layers]))
"""


@pytest.mark.vulkan
@pytest.mark.parametrize("n_parallel", [1, 3])
@pytest.mark.parametrize("n_slots", [3, 8, 20])
def test_the_cache_s_counters_are_the_replay_s(
    vulkan_engine: Engine, tmp_path: Path, n_slots: int, n_parallel: int
) -> None:
    """By a trace that went through a file."""
    path, out = DATA / "qwen3next" / "model-f32.gguf", tmp_path / "t.json.gz"
    n_bytes = (n_slots + 1) * 3 * 32 * 32 * 4
    words = map(str, (path, out, n_bytes, n_parallel))
    layers = json.loads(
        run_python(vulkan_engine, CODE, *words, env={"GGML_VK_VISIBLE_DEVICES": "0"})
    )
    groups: dict[int, Group] = {}
    for row in layers:
        known = groups.get(row["group"], Group((), row["n_slots"]))
        groups[row["group"]] = Group((*known.layers, row["layer"]), row["n_slots"])
    trace = read_trace(out)
    replay = Replayer(trace).run("lru", list(groups.values()))
    for row in layers:
        found, counts = replay.layers[row["layer"]], row["counts"]
        assert (found.hits, found.misses) == (counts["hits"], counts["misses"])
        assert row["expert_bytes"] == trace.expert_bytes[trace.layers.index(row["layer"])]
    assert replay.n_served == sum(row["counts"]["ubatches"] for row in layers) > 0
