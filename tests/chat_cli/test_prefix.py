"""Keeping what two prompts share, where the memory can."""

from __future__ import annotations

import pytest

from pannier import SamplingParams
from pannier.chat_cli.prefix import PrefixCache, n_common
from pannier.errors import CacheFull

pytestmark = pytest.mark.engine


def continuation(cache, context, prompt, n):
    """Greedy tokens after a prompt, of which the cache may hold a part."""
    context.set_sampler(0, SamplingParams.greedy())
    token = cache.step(prompt[len(cache) :], sample=True)
    tokens = []
    for _ in range(n):
        tokens.append(token)
        token = cache.step([token], sample=True)
    return tokens


@pytest.mark.parametrize(
    ("family", "n_kept"),
    [
        ("llama", 300),
        ("qwen3next", 0),  # its recurrent state cannot go back
        ("gemma3", 0),  # its window of 16 tokens has moved on
    ],
)
def test_another_end(open_context, family, n_kept):
    first = [20 + i * i % 199 for i in range(400)]
    second = [*first[:300], 30, 31, 32]
    context = open_context(family, n_batch=400, n_ubatch=64)
    cache = PrefixCache(context)
    continuation(cache, context, first, 5)
    assert cache.keep_prefix(second) == n_kept
    fresh = open_context(family, n_batch=400)
    expected = continuation(PrefixCache(fresh), fresh, second, 20)
    assert continuation(cache, context, second, 20) == expected


@pytest.mark.parametrize("family", ["llama", "qwen3next", "gemma3"])
def test_a_longer_prompt_keeps_all(open_context, family):
    context = open_context(family)
    cache = PrefixCache(context)
    prompt = list(range(20, 70))
    prompt += [*continuation(cache, context, prompt, 5), 30, 31, 32]
    assert cache.keep_prefix(prompt) == 55
    fresh = open_context(family)
    expected = continuation(PrefixCache(fresh), fresh, prompt, 20)
    assert continuation(cache, context, prompt, 20) == expected


def test_it_begins_empty(open_context):
    context = open_context("llama")
    PrefixCache(context).step([20, 21], sample=False)
    PrefixCache(context)
    assert len(context.sequence(0)) == 0


def test_one_token_is_always_left(open_context):
    cache = PrefixCache(open_context("llama"))
    cache.step([20, 21, 22], sample=False)
    assert cache.keep_prefix([20, 21, 22]) == 2
    assert cache.keep_prefix([30]) == 0


def test_a_failed_step_leaves_nothing(open_context):
    context = open_context("llama", n_ctx=256)
    cache = PrefixCache(context)
    for _ in range(4):
        cache.step([20] * 64, sample=False)
    with pytest.raises(CacheFull):
        cache.step([20], sample=False)
    assert len(cache) == len(context.sequence(0)) == 0


def test_common():
    for other, n in (([1, 2, 4], 2), ([1], 1), ([], 0), ([2], 0), ([1, 2, 3, 4], 3)):
        assert n_common([1, 2, 3], other) == n
