"""Reading the series and applying it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pannier.engine.series import apply_series, parse_patch, read_series
from pannier.errors import PatchError


def test_a_patch_has_name_fields_and_files(series: Path) -> None:
    (patch,) = read_series()
    assert patch.slug == "second-number"
    assert patch.fields == {
        "Why": "the test wants to see a difference.",
        "Upstream": "not submitted.",
        "Test": "this one.",
        "Exit": "never.",
    }
    assert patch.touched == ("src/llama.cpp",)
    assert patch.text == (series / "second-number.patch").read_text()


def test_missing_and_empty_fields_are_found() -> None:
    patch = parse_patch("x", "Why: so\nTest:\n\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n")
    assert patch.missing_fields == ("Upstream", "Test", "Exit")


def test_it_applies_to_a_copy_inside_somebody_s_repository(series: Path, tree: Path) -> None:
    subprocess.run(["git", "init", "-q", tree.parent], check=True)
    apply_series(tree, read_series())
    assert "patched_llama" in (tree / "src" / "llama.cpp").read_text()


def test_it_does_not_apply_to_other_text(series: Path, tree: Path) -> None:
    (tree / "src" / "llama.cpp").write_text("int number() { return 1; }\n")
    with pytest.raises(PatchError, match="second-number does not apply"):
        apply_series(tree, read_series())


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("second-number.patch\nother.patch\n", "listed in series but not in .*: other"),
        ("", "not in its series: second-number"),
        ("second-number.patch\nsecond-number.patch\n", "bad name"),
        ("../second-number.patch\n", "bad name"),
        ("0001 first.patch\n", "bad name"),
        ("second-number\n", "bad name"),
    ],
)
def test_the_list_and_the_files_agree(series: Path, listed: str, message: str) -> None:
    (series / "series").write_text(listed)
    with pytest.raises(PatchError, match=message):
        read_series()


def test_a_file_without_a_diff_is_refused(series: Path) -> None:
    (series / "second-number.patch").write_text("Why: no reason.\n")
    with pytest.raises(PatchError, match="has no diff"):
        read_series()
