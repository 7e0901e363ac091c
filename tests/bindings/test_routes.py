"""The experts that the router chose, as `Context.take_routes` gives them. That they are the right
ones is the business of tests/patches/test_routing_trace.py."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from .conftest import DATA

pytestmark = pytest.mark.engine

QWEN3MOE = DATA / "qwen3moe" / "model-f32.gguf"
N_EXPERT, N_USED = 8, 2
PROMPT = list(range(10, 40))


@pytest.fixture
def qwen3moe(pannier: Any) -> Any:
    with pannier.Model(QWEN3MOE) as model:
        yield model


def routes_of(model: Any, batches: list[Any], **options: Any) -> list[Any]:
    options = {"n_ctx": 512, "n_parallel": 2, "n_threads": 1, "n_outputs_max": 64} | options
    with model.context(routes=True, **options) as context:
        for batch in batches:
            context.step(batch)
        return list(context.take_routes())


def prompt_batch(pannier: Any, tokens: list[int], sequence: int = 0) -> Any:
    """All rows have outputs, so that the last layer has all rows too."""
    batch = pannier.Batch()
    batch.add(sequence, tokens, logits=True)
    return batch


def joined(routes: list[Any], layer: int) -> Any:
    return np.concatenate([one.experts[layer] for one in routes])


def test_each_token_has_distinct_experts_in_each_layer(pannier: Any, qwen3moe: Any) -> None:
    [one] = routes_of(qwen3moe, [prompt_batch(pannier, PROMPT)])
    assert one.n_tokens == len(PROMPT)
    assert one.rows.tolist() == one.output_rows.tolist() == list(range(len(PROMPT)))
    assert list(one.experts) == [0, 1, 2]
    for experts in one.experts.values():
        assert experts.shape == (len(PROMPT), N_USED)
        assert experts.min() >= 0
        assert experts.max() < N_EXPERT
        assert (experts[:, 0] != experts[:, 1]).all()
    assert len(set(map(tuple, one.experts[0].tolist()))) > 3


def test_they_do_not_depend_on_how_the_batch_is_cut(pannier: Any, qwen3moe: Any) -> None:
    whole = routes_of(qwen3moe, [prompt_batch(pannier, PROMPT)])
    cut = routes_of(qwen3moe, [prompt_batch(pannier, PROMPT)], n_ubatch=7)
    alone = routes_of(qwen3moe, [prompt_batch(pannier, [token]) for token in PROMPT])
    assert [one.n_tokens for one in cut] == [7, 7, 7, 7, 2]
    assert cut[1].rows.tolist() == [7, 8, 9, 10, 11, 12, 13]
    assert [one.rows.tolist() for one in alone] == [[0]] * len(PROMPT)
    for layer in range(3):
        assert (joined(whole, layer) == joined(cut, layer)).all()
        assert (joined(whole, layer) == joined(alone, layer)).all()


def test_a_sequence_s_tokens_are_found_by_their_rows(pannier: Any, model: Any) -> None:
    """A hybrid computes equally many tokens of each sequence together."""
    tokens = {0: PROMPT, 1: PROMPT[::-1][:11]}
    batch = pannier.Batch()
    for sequence, its_tokens in tokens.items():
        batch.add(sequence, its_tokens, logits=True)
    routes = routes_of(model, [batch], n_ubatch=16)
    sequences = np.array(batch.seq_ids)
    assert any(set(sequences[one.rows]) == {0, 1} for one in routes)
    for sequence, its_tokens in tokens.items():
        mine = [(one, sequences[one.rows] == sequence) for one in routes]
        order = np.concatenate([one.rows[own] for one, own in mine])
        assert all(a < b for a, b in pairwise(order.tolist()))
        together = np.concatenate([one.experts[0][own] for one, own in mine])
        lone = routes_of(model, [prompt_batch(pannier, its_tokens)])
        assert (together == joined(lone, 0)).all()


def test_a_layer_without_outputs_has_no_rows(pannier: Any, qwen3moe: Any) -> None:
    batch = pannier.Batch()
    batch.add(0, PROMPT)
    batch.add(1, PROMPT[:3], logits=True)
    first, second = routes_of(qwen3moe, [batch], n_ubatch=30)
    assert (first.n_tokens, first.output_rows.tolist()) == (30, [])
    assert {layer: len(experts) for layer, experts in first.experts.items()} == {0: 30, 1: 30, 2: 0}
    assert (second.n_tokens, second.output_rows.tolist()) == (3, [30, 31, 32])
    assert second.experts[2].shape == (3, N_USED)


def test_they_are_taken_once(pannier: Any, qwen3moe: Any) -> None:
    with qwen3moe.context(n_ctx=256, n_threads=1, n_outputs_max=64, routes=True) as context:
        assert context.take_routes() == []
        for n in (1, 2):
            for _ in range(n):
                context.step(prompt_batch(pannier, PROMPT[:4]))
            assert len(context.take_routes()) == n
            assert context.take_routes() == []


def test_a_context_that_was_not_asked_keeps_none(pannier: Any, qwen3moe: Any) -> None:
    """Nor one that is created beside one that was."""
    options = {"n_ctx": 256, "n_threads": 1, "n_outputs_max": 64}
    with qwen3moe.context(routes=True, **options) as asked, qwen3moe.context(**options) as other:
        other.step(prompt_batch(pannier, PROMPT))
        assert other.take_routes() == asked.take_routes() == []
        assert other.logits(5).tolist() == logits_with_routes(pannier, asked)
        assert asked.memory().kind_bytes("compute") >= other.memory().kind_bytes("compute")


def logits_with_routes(pannier: Any, context: Any) -> list[float]:
    context.step(prompt_batch(pannier, PROMPT))
    assert len(context.take_routes()) == 1
    return list(context.logits(5).tolist())


def test_a_model_without_experts_has_ubatches_without_layers(pannier: Any) -> None:
    with pannier.Model(DATA / "llama" / "model-f32.gguf") as model:
        [one] = routes_of(model, [prompt_batch(pannier, PROMPT)])
    assert (one.n_tokens, one.experts) == (len(PROMPT), {})
