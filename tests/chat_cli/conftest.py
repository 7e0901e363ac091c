"""The engine in this process and for others, and the tiny models."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..conftest import engine_environment

DATA = Path(__file__).parents[1] / "data"
EXACT = {"n_threads": 1, "type_k": "f32", "type_v": "f32", "flash_attn": "off"}
"""So that logits do not depend on how a prompt is cut into steps, but for the last bits."""


def tiny(family: str) -> Path:
    """The tiny model of a family."""
    return DATA / family / "model-f32.gguf"


@pytest.fixture(scope="session")
def environment(request):
    """Of processes with an engine: the CPU's, or the one that PANNIER_ENGINE names."""
    if "PANNIER_ENGINE" in os.environ:
        return dict(os.environ)
    return engine_environment(request.getfixturevalue("cpu_engine"))


@pytest.fixture
def open_context(pannier):
    """Makes contexts of one sequence over tiny models; all are closed at the end."""
    models = []

    def make(family, **options):
        models.append(pannier.Model(tiny(family)))
        return models[-1].context(**(EXACT | {"n_ctx": 512, "n_batch": 64} | options))

    yield make
    for model in models:
        model.close()


@pytest.fixture
def fed(monkeypatch, pannier):
    """The tokens of every step, in order, one list for each step."""
    steps = []
    real = pannier.Context.step

    def step(self, batch, n_top=0):
        steps.append(list(batch.tokens))
        return real(self, batch, n_top)

    monkeypatch.setattr(pannier.Context, "step", step)
    return steps
