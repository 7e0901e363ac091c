"""The frozen logits are what transformers computes from the frozen checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .conftest import FAMILIES

MAKER = str(Path(__file__).resolve().parents[1] / "data")


@pytest.mark.parametrize("name", FAMILIES)
def test_transformers_gives_the_frozen_logits(
    data: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(MAKER)
    make = pytest.importorskip("make_checkpoints", reason="needs torch and transformers")
    reference = np.load(data / name / "reference.npz")
    model = make.load_reference_model(data / name)
    prompt = reference["prompt"].tolist()
    logits = make.logits_of(model, prompt).numpy()
    frozen = reference["logits"]
    assert frozen.dtype == np.float32
    assert np.linalg.norm(logits - frozen) < 1e-5 * np.linalg.norm(frozen)
    tokens, margin = make.greedy(model, prompt)
    assert tokens == reference["greedy"].tolist()
    assert margin > make.MIN_MARGIN


@pytest.mark.parametrize("name", FAMILIES)
def test_the_references_are_worth_comparing_with(data: Path, name: str) -> None:
    reference = np.load(data / name / "reference.npz")
    assert reference["logits"].shape[0] == len(reference["prompt"]) == 48
    assert reference["logits"].std() > 2
    assert len(set(reference["greedy"].tolist())) >= len(reference["greedy"]) / 2
    assert reference["text_ids"][:48].tolist() == reference["prompt"].tolist()


def test_the_folder_stays_small(data: Path) -> None:
    assert sum(path.stat().st_size for path in data.rglob("*") if path.is_file()) <= 4_200_000
