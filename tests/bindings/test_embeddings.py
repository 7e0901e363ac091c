"""Embeddings of models that generate. One that only embeds is in tests/convert/test_embedder.py."""

import gguf
import numpy as np
import pytest

from .conftest import DATA, FAMILIES

ROUNDING = 2e-3
PROMPTS = [list(range(40, 57)), [5], list(range(90, 93)), list(range(100, 140))]


def error(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def load(pannier, name):
    return pannier.Model(DATA / name / "model-f32.gguf")


def embed(model, pooling, prompts=PROMPTS, normalize=False, **options):
    with model.context(
        embeddings=True, pooling=pooling, n_ctx=256, n_threads=1, flash_attn="off", **options
    ) as context:
        assert context.pooling == pooling
        return context.embed(prompts, normalize=normalize)


def test_rows_are_what_the_output_matrix_sees(pannier):
    """Tied embeddings: their product with a token's row is that token's logits."""
    path = DATA / "llama" / "model-f32.gguf"
    reference = np.load(DATA / "llama" / "reference.npz")
    matrix = next(t for t in gguf.GGUFReader(path).tensors if t.name == "token_embd.weight").data
    with pannier.Model(path) as model:
        [rows] = embed(model, "none", [reference["prompt"].tolist()], type_k="f32", type_v="f32")
    assert error(rows @ matrix.T, reference["logits"]) < 1e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_pooling(pannier, name):
    with load(pannier, name) as model:
        rows = embed(model, "none")
        assert [len(part) for part in rows] == [len(prompt) for prompt in PROMPTS]
        for pooling, pool in {
            "mean": lambda part: part.mean(axis=0),
            "cls": lambda part: part[0],
            "last": lambda part: part[-1],
        }.items():
            pooled = embed(model, pooling)
            assert pooled.dtype == np.float32
            assert pooled.shape == (len(PROMPTS), model.n_embd)
            assert error(pooled, np.stack([pool(part) for part in rows])) < ROUNDING, pooling


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("n_ubatch", [40, 45, 256])
@pytest.mark.parametrize("n_parallel", [3, 8])
def test_prompts_do_not_see_each_other(pannier, name, n_ubatch, n_parallel):
    with load(pannier, name) as model:
        alone = embed(model, "mean", n_parallel=1)
        together = embed(model, "mean", n_parallel=n_parallel, n_ubatch=n_ubatch)
    assert error(together, alone) < ROUNDING


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_whose_last_token_counts_may_take_several_ubatches(pannier, name):
    prompts = [[7], list(range(40, 170)), [8, 9]]
    with load(pannier, name) as model:
        whole = embed(model, "last", prompts, n_ubatch=256)
        parts = embed(model, "last", prompts, n_ubatch=32)
        with pytest.raises(pannier.ArgumentError, match=r"257 tokens.*larger n_ctx"):
            embed(model, "last", [[1] * 257], n_ubatch=32)
    assert error(parts, whole) < ROUNDING


def test_lengths_are_1_when_normalised(pannier):
    with load(pannier, "qwen3moe") as model:
        raw = embed(model, "mean", normalize=False)
        rows = embed(model, "mean", normalize=True)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(len(PROMPTS)))
    assert error(rows * np.linalg.norm(raw, axis=1, keepdims=True), raw) < 1e-5


def test_an_embedding_context_keeps_nothing(pannier):
    with (
        load(pannier, "qwen3next") as model,
        model.context(embeddings=True, n_ctx=256, n_parallel=4, n_threads=1) as context,
    ):
        assert (context.embeddings, context.has_memory) == (True, True)
        first = context.embed(PROMPTS)
        report = context.memory()
        assert [sequence.n_cells for sequence in report.sequences] == [0] * 4
        again = context.embed(PROMPTS)
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_no_prompts(pannier):
    with load(pannier, "llama") as model:
        assert embed(model, "mean", []).shape == (0, model.n_embd)
        assert embed(model, "none", []) == []


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([[1], []], "prompt 1 has no tokens"),
        ([[1] * 65], "prompt 0 has 65 tokens; this context embeds up to 64"),
        ([[1, 10**6]], "token 1000000 of prompt 0 is outside"),
        ([[-1]], "token -1 of prompt 0 is outside"),
        ([[2**40]], "32-bit"),
    ],
)
def test_wrong_prompts(pannier, prompts, message):
    with load(pannier, "llama") as model, pytest.raises(pannier.ArgumentError, match=message):
        embed(model, "mean", prompts, n_batch=64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "max"}, "must be one of auto"),
        ({"pooling": "rank"}, "no classification head"),
        ({"kv_unified": False, "n_parallel": 2}, "unified"),
    ],
)
def test_wrong_contexts(pannier, options, message):
    with load(pannier, "llama") as model, pytest.raises(pannier.ArgumentError, match=message):
        model.context(embeddings=True, n_ctx=256, **options)


def test_a_context_embeds_or_generates(pannier):
    with load(pannier, "llama") as model:
        batch = pannier.Batch()
        batch.add(0, [1, 2], logits=True)
        with (
            model.context(embeddings=True, n_ctx=256) as context,
            pytest.raises(pannier.ArgumentError, match="this context embeds"),
        ):
            context.step(batch)
        with model.context(n_ctx=256) as context:
            assert (context.embeddings, context.n_embd_out) == (False, 0)
            with pytest.raises(pannier.ArgumentError, match="this context generates"):
                context.embed(PROMPTS)


def test_closed(pannier):
    with load(pannier, "llama") as model:
        context = model.context(embeddings=True, n_ctx=256)
        context.close()
        with pytest.raises(pannier.ClosedError):
            context.embed(PROMPTS)
