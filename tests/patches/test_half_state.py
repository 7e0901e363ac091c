"""Recurrent states in half precision: half the bytes, nearly the same logits, nothing else."""

import numpy as np
import pytest

from pannier.convert.byte_vocabulary import vocabulary_of
from pannier.convert.random_gguf import write_random
from pannier.convert.random_hybrid import KimiLinearSpec
from tests.bindings.conftest import DATA
from tests.bindings.test_context import all_logits, greedy

HYBRIDS = ("qwen3next/model-f32.gguf", "qwen35moe-rollback.gguf", "kimi")
N_TOKENS = 96


@pytest.fixture(scope="module")
def kimi(tmp_path_factory):
    spec = KimiLinearSpec(
        name="tiny",
        n_embd=64,
        n_layer=4,
        full_attention=(3,),
        n_head=2,
        n_head_kv=1,
        head_dim=32,
        kda_head_dim=32,
        n_lora_kv=32,
        n_rope=16,
        n_ff=128,
        n_expert=8,
        n_expert_used=2,
        n_ff_exp=32,
        vocabulary=vocabulary_of(400),
    )
    return write_random(tmp_path_factory.mktemp("kimi") / "tiny.gguf", spec)


@pytest.fixture
def hybrid(request, pannier, kimi):
    path = kimi if request.param == "kimi" else DATA / request.param
    with pannier.Model(path) as model:
        yield model


def context_of(model, type_state, **more):
    exact = {"type_k": "f32", "type_v": "f32", "flash_attn": "off"}
    sizes = {"n_ctx": 512, "n_outputs_max": 16, "n_threads": 1}
    return model.context(type_state=type_state, **exact, **sizes, **more)


def tokens_of(model):
    random = np.random.default_rng(7)
    return [int(token) for token in random.integers(5, model.n_vocab, N_TOKENS)]


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def divergence(of, others):
    """Kullback-Leibler divergence in each row, [n_rows]."""
    of, others = log_softmax(of), log_softmax(others)
    return (np.exp(of) * (of - others)).sum(axis=-1)


@pytest.mark.parametrize("hybrid", HYBRIDS, indirect=True)
@pytest.mark.parametrize(("type", "bound"), [("f16", 1e-6), ("bf16", 5e-5)])
def test_half_the_bytes_and_nearly_the_same_logits(hybrid, type, bound):
    tokens = tokens_of(hybrid)
    with context_of(hybrid, "f32") as context:
        whole, exact = context.recurrent_seq_bytes, all_logits(context, tokens)
    with context_of(hybrid, type) as context:
        half, logits = context.recurrent_seq_bytes, all_logits(context, tokens)
    assert 0.5 <= half / whole < 0.75, "the short convolution's inputs stay as they are"
    assert np.abs(logits - exact).max() > 0, "the states are in another type"
    rows = divergence(exact, logits)
    assert np.median(rows) < bound, "a router between two experts can take the other: not the mean"


@pytest.mark.parametrize("hybrid", HYBRIDS, indirect=True)
def test_copies_and_saved_states_go_on_alike(hybrid):
    tokens = tokens_of(hybrid)
    with context_of(hybrid, "f16", n_parallel=3) as context:
        greedy(context, tokens, 1)
        context.sequence(0).copy_to(1)
        saved = context.sequence(0).save()
        context.sequence(2).load(saved)
        first = greedy(context, [7], 12)
        assert greedy(context, [7], 12, seq_id=1) == first
        assert greedy(context, [7], 12, seq_id=2) == first


@pytest.mark.parametrize("hybrid", HYBRIDS[:1], indirect=True)
def test_a_state_of_another_type_is_refused(pannier, hybrid):
    with context_of(hybrid, "f16") as context:
        greedy(context, [7, 8, 9], 1)
        saved = context.sequence(0).save()
    for type in ("f32", "bf16"):
        with context_of(hybrid, type) as context:
            with pytest.raises(pannier.PannierError):
                context.sequence(0).load(saved)
            assert len(greedy(context, [7, 8, 9], 3)) == 3


@pytest.mark.parametrize("hybrid", HYBRIDS[:1], indirect=True)
@pytest.mark.parametrize("type", ["f16", "bf16"])
def test_a_sequence_that_starts_anew_knows_nothing_of_the_one_before(hybrid, type):
    tokens = tokens_of(hybrid)
    with context_of(hybrid, type) as context:
        first = greedy(context, tokens, 8)
        context.sequence(0).clear()
        greedy(context, tokens[::-1], 8)
        context.sequence(0).clear()
        assert greedy(context, tokens, 8) == first


@pytest.mark.parametrize("hybrid", HYBRIDS, indirect=True)
def test_a_plan_knows(pannier, hybrid, kimi):
    with pannier.Model(hybrid.path, no_alloc=True) as planned:
        for type in ("f16", "bf16"):
            with context_of(hybrid, type, n_parallel=4) as context:
                exact = {"type_k": "f32", "type_v": "f32", "flash_attn": "off", "n_threads": 1}
                sizes = {"n_ctx": 512, "n_outputs_max": 16, "n_parallel": 4}
                plan = planned.plan(type_state=type, **exact, **sizes)
                assert plan.rows == context.memory().rows


@pytest.mark.parametrize(
    ("model", "type", "words"),
    [
        ("mamba2/model-f32.gguf", "f16", "no gated delta net"),
        ("llama/model-f32.gguf", "bf16", "no gated delta net"),
        ("qwen3next/model-f32.gguf", "q8_0", "not one of f32, f16, bf16"),
    ],
)
def test_refused(pannier, model, type, words):
    if not (DATA / model).exists():
        model = "nemotron_h/model-f32.gguf"
    with (
        pannier.Model(DATA / model) as loaded,
        pytest.raises(pannier.ArgumentError, match=words),
    ):
        context_of(loaded, type)
