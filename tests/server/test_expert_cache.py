"""A cache of experts that is of no use to a server's clients: refused, or warned of."""

from __future__ import annotations

from pathlib import Path

import pytest

from pannier.convert.byte_vocabulary import N_FIXED, ByteVocabulary, made_up_words
from pannier.convert.random_gguf import Qwen3NextSpec, write_random
from pannier.engine import Engine

from .test_strict import server

VOCABULARY = ByteVocabulary(tuple(made_up_words(320 - N_FIXED)))
CACHED = ("--experts", "cpu", "-lm", "none", "-fa", "off", "--moe-cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experts of 192 KiB, 16 in each of four layers: five fit 1 MiB, and two use four."""
    spec = Qwen3NextSpec(
        name="test", n_embd=128, n_layer=4, n_head=2, n_head_kv=1, head_dim=64, ssm_head_dim=16,
        ssm_k_heads=1, ssm_v_heads=2, n_expert=16, n_expert_used=2, n_ff_exp=128,
        vocabulary=VOCABULARY, type="F32",
    )  # fmt: skip
    return write_random(tmp_path_factory.mktemp("experts") / "model.gguf", spec)


@pytest.mark.vulkan
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("1M", "-np", 2), ""),
        (("1M", "-np", 3), "has 4 slots for 4 of 4 layers, and 3 tokens of one step may use 6 "),
        (("2M", "-np", 33), "for steps of at most 32 tokens, and 33 clients decode 33 at once"),
    ],
)
def test_more_clients_than_it_is_for(
    vulkan_engine: Engine, model: Path, flags: tuple[object, ...], says: str
) -> None:
    with server(vulkan_engine, model, *CACHED, *flags) as (process, said):
        assert process.poll() is None
    assert ("the cache of experts" in said) == bool(says)
    assert says in said
    if says:
        with server(vulkan_engine, model, *CACHED, *flags, "--strict") as (process, said):
            assert process.wait(60) == 1
        assert says in said


@pytest.mark.vulkan
def test_nothing_to_cache(vulkan_engine: Engine, model: Path) -> None:
    flags = ("--experts", "gpu", "-fa", "off", "--moe-cache", "1M")
    with server(vulkan_engine, model, *flags) as (process, said):
        assert process.poll() is None
    assert "the cache of experts has nothing to cache" in said


@pytest.mark.engine
def test_without_a_gpu_it_is_refused(cpu_engine: Engine, model: Path) -> None:
    with server(cpu_engine, model, "--moe-cache", "1M") as (process, said):
        assert process.wait(60) == 1
    assert "a cache of experts needs a GPU" in said
    assert "100 of 100" not in said  # before any weight is read
