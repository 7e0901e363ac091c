"""What clients ask for, and the cells that it takes."""

import pytest

from pannier.bench.load import Load, counts
from pannier.errors import ArgumentError


def test_counts():
    assert [counts(n) for n in (1, 2, 8)] == [(1,), (1, 2), (1, 2, 4, 8)]
    assert counts(6) == (1, 2, 4, 6)


def test_a_shared_prefix_has_its_cells_once():
    load = Load(n_prompt=4096, n_shared=2048, n_predict=256)
    assert load.own_tokens(unified=True) == 2304
    assert load.n_ctx(8, unified=True) == 2048 + 8 * 2304
    assert load.own_tokens(unified=False) == 4352
    assert load.n_ctx(8, unified=False) == 8 * 4352


def test_contexts_are_padded_as_llama_cpp_does():
    load = Load(n_prompt=100, n_shared=10, n_predict=1)
    assert load.n_ctx(3, unified=True) == 512
    assert load.n_ctx(3, unified=False) == 3 * 256


def test_prompts_share_what_they_should_and_no_more():
    prompts = Load(n_prompt=40, n_shared=30, n_predict=1).prompts(3, 1000)
    assert [len(prompt) for prompt in prompts] == [40] * 3
    assert len({tuple(prompt[:30]) for prompt in prompts}) == 1
    assert len({prompt[30] for prompt in prompts}) > 1
    assert len({tuple(prompt) for prompt in prompts}) == 3
    assert all(3 <= token < 1000 for prompt in prompts for token in prompt)
    assert prompts[:2] == Load(n_prompt=40, n_shared=30, n_predict=9).prompts(2, 1000)


def test_the_last_token_of_a_prompt_is_always_computed():
    assert Load(40, 30).n_seeded(unified=True) == 30
    assert Load(40, 40).n_seeded(unified=True) == 39
    assert Load(40, 30).n_seeded(unified=False) == 0
    assert Load(40, 0).n_seeded(unified=True) == 0


def test_more_cannot_be_shared_than_there_is():
    with pytest.raises(ArgumentError, match="--shared 41 is more than --prompt 40"):
        Load(40, 41)
