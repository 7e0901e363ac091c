"""Random-weight models, as the benches run them."""

from __future__ import annotations

import re
import sys
from math import prod
from pathlib import Path
from typing import Any

import gguf
import pytest

from pannier import Batch, Model, SamplingParams
from pannier.convert.byte_vocabulary import (
    CONTROL_TOKENS,
    N_FIXED,
    ByteVocabulary,
    byte_names,
    made_up_words,
)
from pannier.convert.random_dense import Gemma3Spec, Qwen3Spec
from pannier.convert.random_gguf import Qwen3NextSpec, RandomSpec, tensors, write_random

BENCH = str(Path(__file__).resolve().parents[2] / "bench")


def small_spec(**changes: Any) -> Qwen3NextSpec:
    sizes = {
        "n_embd": 32, "n_layer": 4, "n_head": 2, "n_head_kv": 1, "head_dim": 32, "ssm_head_dim": 16,
        "ssm_k_heads": 1, "ssm_v_heads": 2, "n_expert": 4, "n_expert_used": 2, "n_ff_exp": 32,
    }  # fmt: skip
    words = ByteVocabulary((" a", " mule"))
    return Qwen3NextSpec(**{"name": "test", "vocabulary": words, **sizes, **changes})


def dense_specs() -> dict[str, RandomSpec]:
    sizes = {"n_embd": 64, "n_layer": 6, "n_head": 2, "n_head_kv": 1, "head_dim": 32, "n_ff": 64}
    vocabulary = ByteVocabulary(tuple(made_up_words(300)))
    shared: dict[str, Any] = {"vocabulary": vocabulary, "type": "F32", **sizes}
    return {
        "qwen3": Qwen3Spec(name="test", **shared),
        "gemma3": Gemma3Spec(name="test", n_swa=16, **shared),
    }


def test_a_spec_gives_the_same_file_every_time(tmp_path: Path) -> None:
    paths = [write_random(tmp_path / name, small_spec()) for name in ("one", "two")]
    assert sorted(tmp_path.iterdir()) == paths
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_byte_names_are_those_of_the_tokenizers_library() -> None:
    from tokenizers import pre_tokenizers

    names = byte_names()
    assert sorted(names) == sorted(pre_tokenizers.ByteLevel.alphabet())
    step = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ("a", " ", "\n", "\x00", "\x7f", "\xad", "é"):
        expected = "".join(names[byte] for byte in text.encode())
        assert step.pre_tokenize_str(text)[0][0] == expected


def test_made_up_words_differ() -> None:
    words = tuple(made_up_words(5000))
    assert len(set(words)) == len(words) == 5000
    assert all(word.startswith(" ") and word[1:].isalpha() for word in words)


@pytest.mark.parametrize("words", [(" a", " a"), (" a", "b"), (" ab",)])
def test_words_that_llama_cpp_would_end_the_process_over(words: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError):
        ByteVocabulary(words)


@pytest.mark.parametrize("type", ["F32", "F16", "Q8_0"])
@pytest.mark.parametrize("tied", [True, False])
def test_what_the_spec_says_is_in_the_file(tmp_path: Path, type: str, tied: bool) -> None:
    spec = small_spec(tied=tied, type=type)
    reader = gguf.GGUFReader(write_random(tmp_path / "m.gguf", spec))
    found = {tensor.name: tuple(reversed(tensor.shape.tolist())) for tensor in reader.tensors}
    assert found == dict(tensors(spec))
    assert spec.n_weights == sum(prod(shape) for shape in found.values())
    assert ("output.weight" in found) is not tied
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert types["blk.0.ffn_up_exps.weight"] == types["token_embd.weight"] == type
    assert types["blk.0.ffn_gate_inp.weight"] == types["blk.3.attn_q_norm.weight"] == "F32"
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    assert tokens[: len(CONTROL_TOKENS)] == list(CONTROL_TOKENS)
    assert tokens[N_FIXED:] == ["Ġa", "Ġmule"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pannier.convert.random_gguf.draw", fail)
    with pytest.raises(KeyboardInterrupt):
        write_random(tmp_path / "m.gguf", small_spec())
    assert list(tmp_path.iterdir()) == []


def test_the_bench_models_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCH)
    import models

    assert models.large().spec.n_weights == 331_801_764
    assert len(models.large().spec.vocabulary) == 32768
    assert models.dense().spec.n_weights == 133_715_712
    assert models.window().spec.n_weights == 133_734_144
    assert models.small().spec.n_weights == 2_162_552
    path = models.ensure_model("small", tmp_path)
    written = path.stat().st_mtime_ns
    assert models.ensure_model("small", tmp_path).stat().st_mtime_ns == written
    assert sorted(item.name for item in tmp_path.iterdir()) == [path.name, f"{path.name}.stamp"]
    sys.modules.pop("models")


@pytest.mark.engine
@pytest.mark.parametrize("architecture", ["qwen3next", "qwen3", "gemma3"])
def test_it_speaks_in_words(tmp_path: Path, architecture: str) -> None:
    vocabulary = ByteVocabulary(tuple(made_up_words(300)))
    hybrid = small_spec(n_embd=64, vocabulary=vocabulary, type="F32")
    spec = {"qwen3next": hybrid, **dense_specs()}[architecture]
    with (
        Model(write_random(tmp_path / "m.gguf", spec)) as model,
        model.context(n_ctx=512, n_threads=1) as context,
    ):
        context.set_sampler(0, SamplingParams(seed=1))
        tokens, feed = [], model.tokenize("where is the mule?")
        while len(tokens) < 64:
            batch = Batch()
            batch.add(0, feed, sample=True)
            feed = [context.step(batch).sampled[0].token]
            tokens += feed
        text = model.detokenize(tokens)
    assert all(token >= N_FIXED for token in tokens)
    assert len(set(tokens)) > len(tokens) / 2
    assert re.fullmatch(rb"( [a-z]+)+", text)
