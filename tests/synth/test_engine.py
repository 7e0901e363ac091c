"""The files run: text wanders, and routers choose as they were told, by the engine's own states.

Widths are the models', experts and words are fewer, so that a file takes little."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pannier import Batch, Model, SamplingParams
from pannier.convert.byte_vocabulary import N_FIXED, vocabulary_of
from pannier.convert.recipes import FILE_TYPES
from pannier.modelfile import open_model_file
from pannier.synth import NAMES
from pannier.synth.file import write_model
from pannier.synth.models import MODELS, spec_of
from pannier.synth.routing import STAY, Routing, use_shares
from pannier.synth.topics import N_TOPICS, topic_of
from pannier.synth.types import chosen_types
from pannier.synth.weights import Synthesis, make_synthesis

pytestmark = pytest.mark.engine

TEMPERATURE_1 = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
MANY_WORDS = 65536
"""So many that a text of few topics hardly repeats a word."""


def reduced(
    name: str, n_expert: int, routing: Routing | None = None, n_words: int = 8192
) -> Synthesis:
    changes: dict[str, Any] = {"n_expert": n_expert, "vocabulary": vocabulary_of(n_words)}
    spec = replace(spec_of(name, 4), **changes)
    recipe = MODELS[name].recipe
    types = chosen_types(spec, recipe)
    return Synthesis(spec, types, FILE_TYPES[recipe], routing or Routing())


def write(tmp_path: Path, made: Synthesis) -> Path:
    return write_model(tmp_path / "m.gguf", made, n_threads=1)


def generate(model: Model, n_tokens: int, **sampling: Any) -> list[int]:
    tokens: list[int] = []
    with model.context(n_ctx=1024, n_threads=1) as context:
        context.set_sampler(0, SamplingParams(seed=1, **sampling))
        feed = model.tokenize(" a mule")
        while len(tokens) < n_tokens:
            batch = Batch()
            batch.add(0, feed, sample=True)
            feed = [context.step(batch).sampled[0].token]
            tokens += feed
        batch = Batch()
        batch.add(0, feed, logits=True)
        context.step(batch)
        assert np.isfinite(context.logits(0)).all()
    return tokens


@pytest.mark.parametrize("name", NAMES)
def test_text_wanders(pannier: object, tmp_path: Path, name: str) -> None:
    path = write(tmp_path, reduced(name, 16))
    open_model_file(path)
    with Model(path) as model:
        assert "random weights" in model.metadata["general.name"]
        tokens = generate(model, 48, **TEMPERATURE_1)
        text = model.detokenize(tokens)
    assert all(token >= N_FIXED for token in tokens)
    assert len(set(tokens)) > 12
    assert re.fullmatch(rb"( [a-z]+)+", text)
    topics = topic_of(np.array(tokens))
    assert np.mean(topics[1:] == topics[:-1]) > 0.6


@pytest.mark.parametrize(
    ("name", "routing"),
    [
        ("qwen3-coder-next", Routing(0.0, 0.3)),
        ("nemotron-3-nano", Routing(0.7, 0.5)),
        ("kimi-linear", Routing(0.3, 0.6)),
    ],
)
def test_routers_choose_as_they_were_told(
    pannier: object, tmp_path: Path, name: str, routing: Routing
) -> None:
    """A text with the topics that the model's own would have, through the engine: its last hidden
    state has all that layers add, so that a router which sees it sees the worst."""
    made = reduced(name, 64, routing, MANY_WORDS)
    words = text_of_topics(1000)
    with (
        Model(write(tmp_path, made)) as model,
        model.context(n_ctx=512, embeddings=True, pooling="none", n_threads=2) as context,
    ):
        parts = [context.embed([words[at : at + 500]])[0] for at in range(0, len(words), 500)]
    states = np.concatenate(parts) / made.topics.output_norm()
    n_used = made.spec.numbers()["expert_used_count"]
    assert isinstance(n_used, int)
    wanted = use_shares(64, n_used, routing.skew)
    shares = np.zeros(64)
    routers = [name for name in made.shapes if name.endswith("ffn_gate_inp.weight")]
    for router in routers:
        weights = made.router(router)
        picks = np.argsort(-(states @ weights.T), axis=1)[:, :n_used]
        by_rank = np.argsort(-weights[:, 0], kind="stable")
        shares += (np.bincount(picks.ravel(), minlength=64) / len(picks))[by_rank] / len(routers)
        pairs = itertools.pairwise(picks)
        repeated = np.mean([np.isin(after, before).mean() for before, after in pairs])
        assert repeated == pytest.approx(routing.locality, abs=0.08), router
    for top in (8, 16, 32):
        assert shares[:top].sum() == pytest.approx(wanted[:top].sum(), rel=0.2)


def text_of_topics(n: int) -> list[int]:
    random = np.random.default_rng(3)
    topic = np.cumsum(random.random(n) > STAY) * 101 % N_TOPICS
    per_topic = (MANY_WORDS - N_FIXED) // N_TOPICS
    words = N_FIXED + topic + N_TOPICS * random.integers(0, per_topic, n)
    return [int(word) for word in words]


def test_the_same_bytes_with_any_number_of_threads(pannier: object, tmp_path: Path) -> None:
    made = reduced("nemotron-3-nano", 8)
    paths = [write_model(tmp_path / f"{n}.gguf", made, n_threads=n) for n in (1, 3)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    other = replace(made, spec=replace(made.spec, seed=2))
    assert write_model(tmp_path / "2.gguf", other).read_bytes() != paths[0].read_bytes()


@pytest.fixture(params=[(name, MODELS[name].n_kinds) for name in NAMES], ids=str)
def whole(request: pytest.FixtureRequest, pannier: object, tmp_path: Path) -> Iterator[Path]:
    name, n_layer = request.param
    free = shutil.disk_usage(tmp_path).free
    if free < 16e9:
        pytest.skip(f"{free / 1e9:.0f} GB of disk space are free; 16 are needed")
    path = write_model(tmp_path / "m.gguf", make_synthesis(name, n_layer=n_layer))
    yield path
    path.unlink()


@pytest.mark.slow
def test_few_layers_with_all_their_experts(whole: Path) -> None:
    with Model(whole) as model:
        tokens = generate(model, 8, **TEMPERATURE_1)
    assert len(set(tokens)) > 2
    assert all(token >= N_FIXED for token in tokens)
