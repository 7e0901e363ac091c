"""Which servers are compared, and which clients cannot be."""

from dataclasses import replace

import pytest

from pannier.bench.load import Load
from pannier.bench.setup import PANNIER, SPLIT, UNFIXED, check, setups
from pannier.errors import ArgumentError
from pannier.modelfile import open_model_file
from pannier.server.config import EngineConfig
from tests.bindings.conftest import DATA

PATH = DATA / "qwen3next" / "model-f32.gguf"
LOAD = Load(n_prompt=512, n_shared=256, n_predict=256)


@pytest.fixture(scope="module")
def file():
    return open_model_file(PATH)


def config(**changes):
    return replace(EngineConfig(model=str(PATH), engine="fixed", n_parallel=8), **changes)


def test_servers_differ_in_their_clients_alone(file):
    [setup] = setups(config(), None, file, LOAD)
    one, eight = setup.at(1, LOAD), setup.at(8, LOAD)
    assert (one.n_ctx, eight.n_ctx) == (256 + 512, 256 + 8 * 512)
    assert one.n_prefixes == eight.n_prefixes > 0
    assert replace(one, n_parallel=8, n_ctx=eight.n_ctx) == eight
    assert setup.label == PANNIER


def test_a_given_context_is_everybody_s(file):
    [setup] = setups(config(n_ctx=8192), None, file, LOAD)
    assert [setup.at(n, LOAD).n_ctx for n in (1, 8)] == [8192, 8192]


def test_prefixes_that_were_asked_for_stay(file):
    [setup] = setups(config(n_prefixes=3), None, file, LOAD)
    assert setup.at(2, LOAD).n_prefixes == 3


def test_compared_caches_are_of_one_size(file):
    found = setups(config(), "unfixed", file, LOAD)
    assert [setup.label for setup in found] == [PANNIER, SPLIT, UNFIXED]
    assert {setup.at(n, LOAD).n_ctx for setup in found for n in (1, 4, 8)} == {8 * 768}
    assert [setup.config.kv_unified for setup in found] == [True, False, False]
    assert [setup.config.engine for setup in found] == ["fixed", "fixed", "unfixed"]
    split, unfixed = found[1].at(4, LOAD), found[2].at(4, LOAD)
    assert replace(split, engine="unfixed") == unfixed


@pytest.mark.parametrize(
    ("changes", "load", "message"),
    [
        ({}, Load(4000, 0, 256), r"are 4256 tokens; this model was trained with 4096"),
        ({"n_ctx": 2048}, LOAD, r"-c 2048 has no room for 8 clients .* that takes 4352"),
        ({"n_ctx": 4352, "kv_unified": False}, LOAD, "in a split cache: that takes 6144"),
        ({"n_ctx": 512, "n_parallel": 1}, LOAD, "no room for 1 clients of 768 tokens"),
    ],
)
def test_clients_that_cannot_be(file, changes, load, message):
    with pytest.raises(ArgumentError, match=message):
        check(config(**changes), file, load, compared=False)


def test_clients_that_can(file):
    check(config(n_ctx=4352), file, LOAD, compared=False)
    check(config(n_ctx=8192), file, Load(4000, 3900, 256), compared=False)
    with pytest.raises(ArgumentError, match="split cache"):
        check(config(n_ctx=4352), file, LOAD, compared=True)


def test_a_model_without_memory(file):
    embedder = replace(file, metadata={**file.metadata, "qwen3next.attention.causal": False})
    with pytest.raises(ArgumentError, match="has no memory of tokens: it embeds"):
        check(config(), embedder, LOAD, compared=False)
