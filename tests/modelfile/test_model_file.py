"""A checked file's contents, and that nothing but ModelError comes of any other."""

from __future__ import annotations

import random
import tracemalloc
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pannier.errors import ModelError
from pannier.modelfile import ModelFile, TensorInfo, open_model_file
from pannier.modelfile.costs import client_costs
from pannier.modelfile.summary import Summary

from .conftest import DATA, FILES, tiny
from .gguf_bytes import Gguf
from .mutations import mutate, mutate_bytes

BASES = [Gguf.read(path) for path in FILES]
SLACK = 6 << 20  # windows of the string scanner, Python's own


def test_says_what_the_file_says() -> None:
    path = DATA / "qwen3next" / "model-f32.gguf"
    file = open_model_file(str(path))
    assert file.path == path
    assert file.shards == (path,)
    assert file.architecture == "qwen3next"
    assert file.metadata["qwen3next.block_count"] == 4
    assert file.types["qwen3next.block_count"] == "u32"
    assert file.n_bytes == sum(tensor.n_bytes for tensor in file.tensors)
    tokens: Any = file.metadata["tokenizer.ggml.tokens"]
    assert len(tokens) == 320
    assert list(tokens)[:3] == tokens[:3] == [tokens[0], tokens[1], tokens[2]]
    assert tokens[-1] == list(tokens)[-1]
    types: Any = file.metadata["tokenizer.ggml.token_type"]
    assert list(types) == tiny().get("tokenizer.ggml.token_type").value
    first = file.tensors[0]
    assert isinstance(first, TensorInfo)
    assert path.read_bytes()[first.offset : first.offset + first.n_bytes] == tiny().tensors[0].data


def open_or_refuse(data: bytes, folder: Path) -> ModelFile | None:
    path = folder / "mutant.gguf"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        file = open_model_file(path)
        Summary.of(file)
    except ModelError:
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * len(data) + SLACK
    return file


@settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), base=st.sampled_from(range(len(BASES))))
def test_a_mutant_is_opened_or_refused(seed: int, base: int, tmp_path: Path) -> None:
    open_or_refuse(mutate(random.Random(seed), deepcopy(BASES[base])), tmp_path)


@settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), base=st.sampled_from(range(len(BASES))))
def test_changed_bytes_are_opened_or_refused(seed: int, base: int, tmp_path: Path) -> None:
    open_or_refuse(mutate_bytes(random.Random(seed), BASES[base].to_bytes()), tmp_path)


@settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.binary(max_size=400), magic=st.booleans())
def test_any_bytes_are_refused(data: bytes, magic: bool, tmp_path: Path) -> None:
    header = b"GGUF\x03\0\0\0" if magic else b""
    assert open_or_refuse(header + data, tmp_path) is None


@pytest.mark.engine
def test_a_model_is_checked_before_the_engine_sees_it(pannier: Any, tmp_path: Path) -> None:
    path = tiny().set("qwen3next.block_count", "u32", 513).write(tmp_path / "model.gguf")
    with pytest.raises(ModelError, match=r"block_count is 513; it must be 1 to 512"):
        pannier.Model(path)


def test_costs_never_raise_for_what_is_accepted(tmp_path: Path) -> None:
    rng = random.Random(7)
    n_accepted = 0
    for _ in range(60):
        file = deepcopy(rng.choice(BASES))
        architecture = file.get("general.architecture").value.decode()
        name = rng.choice(
            ("attention.head_count", "attention.head_count_kv", "feed_forward_length")
        )
        length = rng.choice((0, 1, 3, 9))
        file.set(f"{architecture}.{name}", "arr[u32]", [rng.choice((0, 1, 2))] * length)
        accepted = open_or_refuse(file.to_bytes(), tmp_path)
        if accepted:
            client_costs(accepted.metadata)
            n_accepted += 1
    assert n_accepted
