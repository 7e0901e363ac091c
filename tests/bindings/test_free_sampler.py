"""A sampler that brings no sequence chooses what a sequence's sampler would."""

import numpy as np
import pytest

from pannier.free_sampler import Sampler

pytestmark = pytest.mark.engine

WAYS = [
    {"temperature": 0.0},
    {"temperature": 0.8, "seed": 5},
    {"temperature": 1.3, "seed": 5, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    {"temperature": 0.8, "seed": 9, "repeat_penalty": 1.5, "frequency_penalty": 0.3},
    {"temperature": 1.0, "seed": 9, "mirostat": 2},
    {"temperature": 0.9, "seed": 2, "logit_bias": {7: 3.0, 9: -50.0}, "samplers": ("top_k",)},
]


@pytest.mark.parametrize("way", WAYS)
def test_it_chooses_what_a_sequence_s_sampler_does(pannier, context, way):
    """The same seed draws the same numbers."""
    params = pannier.SamplingParams(**way)
    prompt = [11, 12, 13, 14]
    context.set_sampler(0, params, prompt)
    tokens = prompt
    with Sampler(context.model, params, context.n_ctx_seq) as sampler:
        for token in prompt:
            sampler.accept(token)
        for _ in range(12):
            batch = pannier.Batch()
            batch.add(0, tokens, sample=True)
            [sampled] = context.step(batch).sampled
            token = sampler.choose(context.logits(len(tokens) - 1))
            sampler.accept(token)
            assert token == sampled.token
            tokens = [token]


def test_a_grammar_comes_first(pannier, model):
    logits = np.arange(model.n_vocab, dtype=np.float32)
    params = pannier.SamplingParams.greedy().with_changes(grammar='root ::= "no" | "yes"')
    text = b""
    with Sampler(model, params) as sampler:
        while not model.is_eog(token := sampler.choose(logits)):
            sampler.accept(token)
            text += model.piece(token)
    assert text in (b"no", b"yes")


def test_refused(pannier, model):
    with pytest.raises(pannier.ArgumentError, match="not valid GBNF"):
        Sampler(model, pannier.SamplingParams(grammar="root ::= ("))
    with Sampler(model, pannier.SamplingParams.greedy()) as sampler:
        with pytest.raises(pannier.ArgumentError, match=f"the vocabulary has {model.n_vocab}"):
            sampler.choose(np.zeros(3, dtype=np.float32))
        with pytest.raises(pannier.ArgumentError, match="no token is possible"):
            sampler.choose(np.full(model.n_vocab, -np.inf, dtype=np.float32))
        with pytest.raises(pannier.ArgumentError, match="token -1 is outside"):
            sampler.accept(-1)
    with pytest.raises(pannier.ClosedError):
        sampler.accept(1)
    sampler.close()
