"""The frozen logits are what transformers computes from the frozen checkpoints."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from .conftest import ALL_FAMILIES, Reference, relative_error


@pytest.mark.parametrize("name", ALL_FAMILIES)
def test_transformers_gives_the_frozen_logits(data: Path, name: str, maker: ModuleType) -> None:
    reference = Reference.of(name)
    model = maker.load_reference_model(data / name)
    logits = maker.logits_of(model, reference.prompt).numpy()
    assert reference.logits.dtype == np.float32
    assert relative_error(logits, reference.logits) < 1e-5
    tokens, margin = maker.greedy(model, reference.prompt)
    assert tokens == reference.greedy
    assert margin > maker.MIN_MARGIN


@pytest.mark.parametrize("name", ALL_FAMILIES)
def test_the_references_are_worth_comparing_with(data: Path, name: str) -> None:
    reference = np.load(data / name / "reference.npz")
    assert reference["logits"].shape[0] == len(reference["prompt"]) == 48
    assert reference["logits"].std() > 2
    assert len(set(reference["greedy"].tolist())) >= len(reference["greedy"]) / 2
    assert reference["text_ids"][:48].tolist() == reference["prompt"].tolist()


def test_the_folder_stays_small(data: Path) -> None:
    assert sum(path.stat().st_size for path in data.rglob("*") if path.is_file()) <= 7_600_000
