"""A classification head: the tiny Qwen3 with one of random weights, as Qwen3-Reranker has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from .conftest import Runner

RANK = 4
PROMPTS = [list(range(40, 57)), [5], list(range(90, 93))]


def add_head(source: Path, path: Path, head: np.ndarray) -> Path:
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, "qwen3")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            sub_type = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)
    writer.add_uint32("qwen3.pooling_type", RANK)
    writer.add_array("qwen3.classifier.output_labels", ["no", "yes"])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.add_tensor("cls.output.weight", head)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.engine
def test_scores_are_the_softmax_of_the_head(
    run: Runner, converted: Callable[[str], Path], tmp_path: Path
) -> None:
    source = converted("qwen3")
    n_embd = int(gguf.GGUFReader(source).fields["qwen3.embedding_length"].contents())
    head = np.random.default_rng(1).standard_normal((2, n_embd), dtype=np.float32)
    with run.pannier.Model(add_head(source, tmp_path / "rank.gguf", head)) as model:
        with model.context(embeddings=True, pooling="last", n_ctx=256, n_threads=1) as context:
            states = context.embed(PROMPTS, normalize=False)
        with model.context(embeddings=True, n_ctx=256, n_parallel=3, n_threads=1) as context:
            assert (context.pooling, context.n_embd_out) == ("rank", 2)
            scores = context.embed(PROMPTS)
    expected = np.exp(states @ head.T)
    expected /= expected.sum(axis=1, keepdims=True)
    assert scores == pytest.approx(expected, abs=1e-3)
    assert np.ptp(scores[:, 1]) > 0.01
