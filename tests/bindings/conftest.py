"""The engine in this process, and the tiny models."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data"
FAMILIES = ("llama", "qwen3moe", "gemma3", "qwen3next")


@pytest.fixture
def model(pannier):
    """A tiny Qwen3Next: attention and recurrent layers, experts."""
    with pannier.Model(DATA / "qwen3next" / "model-f32.gguf") as model:
        yield model


@pytest.fixture
def context(model):
    with model.context(n_ctx=1024, n_parallel=4, n_batch=64, n_threads=1) as context:
        yield context
