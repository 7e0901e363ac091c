"""Shapes: numbers of weights against what llama.cpp counts in published files, cuts, refusals."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import gguf
import pytest

from pannier.convert import convert
from pannier.convert.random_gguf import numbers_of, tensors
from pannier.convert.random_gpt_oss import GptOssSpec
from pannier.convert.random_hybrid import KimiLinearSpec, NemotronHSpec
from pannier.errors import ArgumentError
from pannier.synth import NAMES
from pannier.synth.models import MODELS, first_layers, spec_of

DATA = Path(__file__).resolve().parents[1] / "data"
PUBLISHED_TENSORS = {
    "qwen3-coder-next": 843,
    "nemotron-3-nano": 401,
    "qwen3.6-35b-a3b": 733,
    "gpt-oss-120b": 687,
}
PUBLISHED_GIB = {
    "qwen3-coder-next": ("Q4_K_M", 45.1),
    "nemotron-3-nano": ("Q4_K_M", 22.8),
    "gpt-oss-120b": ("MXFP4_MOE", 59.02),
}
TINY = {
    "qwen3-coder-next": "qwen3next",
    "nemotron-3-nano": "nemotron_h",
    "kimi-linear": "kimi_linear",
    "qwen3.6-35b-a3b": "qwen35moe",
    "gpt-oss-120b": "gpt_oss",
}
"""The tiny checkpoint of the same architecture."""
NEWER = {"attention.recurrent_layers"}
"""What files published so far do not have: the interval says the same."""


def test_the_command_line_knows_all() -> None:
    assert tuple(MODELS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_as_many_weights_as_published(name: str) -> None:
    spec = spec_of(name)
    assert spec.n_weights == pytest.approx(MODELS[name].published_weights, rel=0.001)
    if name in PUBLISHED_TENSORS:
        assert len(list(tensors(spec))) == PUBLISHED_TENSORS[name]
    assert len(spec.vocabulary) == next(iter(tensors(spec)))[1][0]


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_has_each_kind_of_layer(name: str) -> None:
    def kinds(n: int | None) -> set[tuple[str, ...]]:
        spec = spec_of(name, n)
        return {tuple(sorted(spec.layer(index))) for index in range(spec.n_layer)}

    for n in range(MODELS[name].n_kinds, 9):
        assert kinds(n) == kinds(None)
        spec = spec_of(name, n)
        assert spec.n_layer == n == numbers_of(spec)["block_count"]
        assert f"{n} of {MODELS[name].n_layer} layers" in spec.name


def test_first_layers() -> None:
    assert first_layers("MEMEM*EM", 3) == ["M", "E", "*"]
    assert first_layers("MEMEM*EM", 5) == ["M", "E", "M", "E", "*"]
    assert first_layers("MEMEM*EM", 7) == list("MEMEM*E")


def test_lists_by_layer_are_cut_too() -> None:
    kimi, nemotron, oss = (
        spec_of("kimi-linear", 3),
        spec_of("nemotron-3-nano", 4),
        spec_of("gpt-oss-120b", 2),
    )
    assert isinstance(kimi, KimiLinearSpec)
    assert isinstance(nemotron, NemotronHSpec)
    assert isinstance(oss, GptOssSpec)
    assert kimi.full_attention == (2,)
    assert numbers_of(kimi)["attention.head_count_kv"] == [0, 0, 1]
    assert nemotron.pattern == "MEM*"
    assert numbers_of(nemotron)["feed_forward_length"] == [0, 1856, 0, 0]


@pytest.mark.parametrize(
    ("name", "n_layer", "message"),
    [
        ("qwen9", None, "there are qwen3-coder-next, nemotron-3-nano"),
        ("kimi-linear", 2, "it has 27, of 3 kinds; --layers takes 3 to 27"),
        ("gpt-oss-120b", 37, "--layers takes 2 to 36"),
        ("gpt-oss-120b", 0, "--layers takes 2 to 36"),
    ],
)
def test_refusals(name: str, n_layer: int | None, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        spec_of(name, n_layer)


@pytest.mark.engine
@pytest.mark.parametrize("name", TINY)
def test_tensors_and_metadata_are_those_of_a_conversion(name: str, tmp_path: Path) -> None:
    """The names, and the kinds of metadata, that llama.cpp's own conversion writes."""
    spec = spec_of(name)
    made = convert(DATA / TINY[name], tmp_path / "m.gguf", quant="F32")
    reader = gguf.GGUFReader(made)
    names = {in_any_layer(tensor.name) for tensor in reader.tensors}
    assert {in_any_layer(tensor) for tensor, _ in tensors(spec)} == names
    prefix = f"{spec.architecture}."
    found = {key.removeprefix(prefix) for key in reader.fields if key.startswith(prefix)}
    assert found - NEWER <= set(numbers_of(spec))
    kinds = {bool: "BOOL", int: "UINT32", float: "FLOAT32", str: "STRING", list: "ARRAY"}
    for key in found - NEWER:
        kind = kinds[type(numbers_of(spec)[key])]
        assert reader.fields[prefix + key].types[0].name == kind, key


def in_any_layer(name: str) -> str:
    return re.sub(r"^blk\.\d+\.", "blk.N.", name)


@pytest.mark.engine
@pytest.mark.parametrize("name", PUBLISHED_GIB)
def test_types_and_sizes_are_those_published(name: str) -> None:
    from pannier.synth.weights import make_synthesis

    recipe, size = PUBLISHED_GIB[name]
    made = make_synthesis(name)
    assert MODELS[name].recipe == recipe
    assert made.n_weight_bytes / 2**30 == pytest.approx(size, rel=0.002)
    if name == "gpt-oss-120b":
        counts = Counter(type.name for type in made.types.values())
        assert counts == {"F32": 433, "Q8_0": 146, "MXFP4": 108}
