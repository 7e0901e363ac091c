"""Rows that match nothing, and rows that disagree."""

from __future__ import annotations

from types import ModuleType

import pytest

from pannier.errors import ArgumentError
from pannier.override_rows import FILE, OverrideRow, check_rows, matching, named_rows, native_rows

from .conftest import DATA

NAMES = [f"blk.{i}.{part}.weight" for i in range(3) for part in ("attn_q", "ffn_up_exps")]
EXPERTS_ON_GPU = OverrideRow("exps", None, "--experts gpu")


def rows(*overrides: tuple[str, str]) -> list[OverrideRow]:
    return named_rows(overrides)


@pytest.mark.engine
@pytest.mark.usefixtures("pannier")
def test_names_are_matched_as_llama_cpp_does() -> None:
    assert matching(r"blk\.[01]\.attn", NAMES) == {"blk.0.attn_q.weight", "blk.1.attn_q.weight"}
    assert len(matching(r"blk\.\d+\.ffn_.*_exps\.", NAMES)) == 3
    assert matching("^attn", NAMES) == frozenset()
    # a class that Python's own syntax reads otherwise
    assert len(matching("[[:digit:]]\\.attn", NAMES)) == 3


@pytest.mark.engine
@pytest.mark.usefixtures("pannier")
@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("(", "not a regular expression"),
        ("(?P<x>a)", "not a regular expression"),
        ("(a*)*b", r"repeats what repeats"),
        ("((a|b+)x)+", "repeats what repeats"),
        ("(a{2,})*", "repeats what repeats"),
        ("(" * 40 + "a" + ")" * 40, "more than 32 deep"),
        ("a" * 5000, "longer than 4096 bytes"),
        ("((a{999}){999}){999}", "not a regular expression"),
    ],
)
def test_patterns_that_are_refused(pattern: str, named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        matching(pattern, NAMES)


@pytest.mark.engine
@pytest.mark.usefixtures("pannier")
@pytest.mark.parametrize(
    "pattern", [r"blk\.(\d+)\.ffn_[^*+]*_exps.*", r"(a\*)*", "[(*]*)?", "(a+)b+"]
)
def test_patterns_that_only_look_silly(pattern: str) -> None:
    if pattern == "[(*]*)?":
        with pytest.raises(ArgumentError, match="not a regular expression"):
            matching(pattern, NAMES)
    else:
        matching(pattern, NAMES)


@pytest.mark.engine
@pytest.mark.usefixtures("pannier")
def test_a_row_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ArgumentError, match=r"-ot ffn_upp=CPU: no tensor .* see `pannier inspect"):
        check_rows(rows(("exps", "CPU"), ("ffn_upp", "CPU")), NAMES)
    assert check_rows([OverrideRow("nothing", "CPU", FILE)], NAMES) == ()


@pytest.mark.engine
@pytest.mark.usefixtures("pannier")
def test_rows_that_fight() -> None:
    with pytest.raises(ArgumentError, match=r"-ot blk.0=CPU has no effect: 2 of its tensors go by"):
        check_rows(rows(("blk", "CUDA0"), (r"blk.0", "CPU")), NAMES)
    with pytest.raises(ArgumentError, match=r"--experts gpu has no effect: 3 .* by -ot exps=CPU"):
        check_rows([*rows(("exps", "CPU")), EXPERTS_ON_GPU], NAMES)
    [note] = check_rows([*rows((r"blk\.0.*exps", "CPU")), EXPERTS_ON_GPU], NAMES)
    assert note.startswith(r"-ot blk\.0.*exps=CPU and --experts gpu disagree over 1 of 3 tensors")


@pytest.mark.engine
@pytest.mark.usefixtures("pannier")
def test_rows_that_agree() -> None:
    assert check_rows(rows(("exps", "CPU"), ("blk.0.*exps", "CPU"), ("attn", "CUDA0")), NAMES) == ()
    assert check_rows([*rows((r"blk\.0.*exps", "CUDA1")), EXPERTS_ON_GPU], NAMES) == ()
    assert native_rows([*rows(("a", "CPU")), EXPERTS_ON_GPU]) == [("a", "CPU")]


@pytest.mark.engine
def test_a_load_refuses_them(pannier: ModuleType) -> None:
    dense, moe = DATA / "llama" / "model-f32.gguf", DATA / "qwen3moe" / "model-f32.gguf"
    for options, named in (
        ({"tensor_overrides": [("ffn_upp", "CPU")]}, "-ot ffn_upp=CPU"),
        ({"experts": "cpu"}, "--experts cpu"),
        ({"n_cpu_moe": 2}, "--n-cpu-moe 2"),
        ({"experts": "cpu:0"}, "no layer has: leave it out"),
    ):
        with pytest.raises(pannier.ArgumentError, match=named):
            pannier.Model(dense, no_alloc=True, **options)
    with pytest.raises(pannier.ArgumentError, match=r"layers 3-9 .* experts are in layers 0-2"):
        pannier.Model(moe, no_alloc=True, experts="cpu:1-9")
    with pannier.Model(moe, no_alloc=True, experts="gpu", n_cpu_moe=2) as model:
        assert "disagree over 6 of 9 tensors" in model.placement_notes[0]
    with pannier.Model(moe, no_alloc=True, n_cpu_moe=99) as model:
        assert model.placement_notes == ()
