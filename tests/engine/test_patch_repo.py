"""Series to commits and back."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pannier.engine import source_tree
from pannier.engine.patch_repo import check_series, export_series, unpack_series
from pannier.engine.series import SUFFIX, read_series, series_directory
from pannier.errors import PatchError

MESSAGE = "{}\n\nWhy: to see.\nUpstream: none.\nTest: here.\nExit: soon.\n"


def git(repository: Path, *arguments: str) -> str:
    """Git as its user runs it, with settings that would spoil a diff."""
    who = ("-c", "user.name=me", "-c", "user.email=me@localhost")
    noise = ("-c", "diff.noprefix=true", "-c", "diff.context=7", "-c", "core.abbrev=40")
    command = ["git", *who, *noise, *arguments]
    return subprocess.run(
        command, cwd=repository, check=True, capture_output=True, text=True
    ).stdout


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def patch_files(folder: Path) -> dict[str, bytes]:
    return {
        name: content
        for name, content in contents(folder).items()
        if name == "series" or name.endswith(SUFFIX)
    }


@pytest.fixture
def repository(series: Path, tree: Path, tmp_path: Path) -> Path:
    unpack_series(tree, tmp_path / "work")
    return tmp_path / "work"


def test_one_commit_per_patch_on_the_pristine_tree(repository: Path, tree: Path) -> None:
    assert git(repository, "log", "--format=%s").split("\n")[:2] == ["second-number", "llama.cpp"]
    assert (
        git(repository, "show", "pannier-base:src/llama.cpp")
        == (tree / "src" / "llama.cpp").read_text()
    )
    assert not git(repository, "status", "--porcelain")


def test_the_round_trip_is_exact(repository: Path, series: Path) -> None:
    before = contents(series)
    assert export_series(repository, series) == []
    assert contents(series) == before


def test_the_repository_is_the_same_every_time(
    repository: Path, series: Path, tree: Path, tmp_path: Path
) -> None:
    unpack_series(tree, tmp_path / "again")
    assert git(repository, "rev-parse", "HEAD") == git(tmp_path / "again", "rev-parse", "HEAD")


def test_a_new_commit_becomes_a_patch_and_a_dropped_one_goes(
    repository: Path, series: Path
) -> None:
    (repository / "src" / "new.cpp").write_text("int added() { return 1; }\n")
    (repository / "src" / "main.cpp").write_bytes(b"int main() { return 5; }\r\n")
    git(repository, "add", "--all")
    git(repository, "commit", "-q", "-m", MESSAGE.format("add-things"))
    assert export_series(repository, series) == ["add-things.patch", "series"]
    text = (series / "add-things.patch").read_text()
    assert text.startswith("Why: to see.\n")
    assert "index " not in text
    assert "--- a/src/main.cpp\n+++ b/src/main.cpp\n" in text
    assert (series / "series").read_text() == (
        "# In order.\nsecond-number.patch\nadd-things.patch\n"
    )

    git(repository, "rebase", "-q", "--onto", "pannier-base", "HEAD~1")
    assert export_series(repository, series) == ["second-number.patch", "series"]
    assert [patch.slug for patch in read_series(series)] == ["add-things"]


def test_an_edit_of_a_patch_is_exported(repository: Path, series: Path) -> None:
    file = repository / "src" / "llama.cpp"
    file.write_text(file.read_text().replace("return 2", "return 3"))
    git(repository, "commit", "-q", "-a", "--amend", "--no-edit")
    assert export_series(repository, series) == ["second-number.patch"]
    assert "return 3" in (series / "second-number.patch").read_text()


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (MESSAGE.format("Fix the thing"), "must be the patch's slug"),
        ("fix-it\n\nWhy: broken.\n", "lacks Upstream, Test, Exit"),
        (MESSAGE.format("second-number"), "several commits are named second-number"),
    ],
)
def test_a_commit_that_is_no_patch_is_refused_before_anything_is_written(
    repository: Path, series: Path, message: str, complaint: str
) -> None:
    before = contents(series)
    (repository / "src" / "main.cpp").write_text("int main() { return 5; }\n")
    git(repository, "commit", "-q", "-a", "-m", message)
    with pytest.raises(PatchError, match=complaint):
        export_series(repository, series)
    assert contents(series) == before


def test_uncommitted_changes_are_refused(repository: Path, series: Path) -> None:
    (repository / "untracked").touch()
    with pytest.raises(PatchError, match="uncommitted changes"):
        export_series(repository, series)


def test_a_merge_is_refused(repository: Path, series: Path) -> None:
    git(repository, "checkout", "-q", "-b", "side", "HEAD~1")
    git(repository, "commit", "-q", "--allow-empty", "-m", MESSAGE.format("side"))
    git(repository, "merge", "-q", "-m", "merge", "main")
    with pytest.raises(PatchError, match="merge commits"):
        export_series(repository, series)


def test_unpacking_over_something_is_refused(repository: Path, tree: Path) -> None:
    with pytest.raises(PatchError, match="not empty"):
        unpack_series(tree, repository)


def test_a_good_series_passes_the_check(series: Path, tree: Path) -> None:
    assert check_series(tree) == []


def test_the_check_finds_a_field_that_is_gone(series: Path, tree: Path) -> None:
    path = series / "second-number.patch"
    path.write_text(path.read_text().replace("Exit: never.\n", ""))
    assert check_series(tree) == ["second-number: the header lacks Exit"]


def test_the_check_finds_an_unlisted_file(series: Path, tree: Path) -> None:
    (series / "stray.patch").touch()
    (problem,) = check_series(tree)
    assert "stray" in problem


def test_the_check_finds_a_patch_that_no_longer_applies(series: Path, tree: Path) -> None:
    (tree / "src" / "llama.cpp").write_text("// moved away\n")
    (problem,) = check_series(tree)
    assert "second-number does not apply" in problem


def test_the_check_finds_a_file_that_an_export_would_write_otherwise(
    series: Path, tree: Path
) -> None:
    path = series / "second-number.patch"
    path.write_text(path.read_text().replace("--- a/", "index 123..456 100644\n--- a/"))
    (problem,) = check_series(tree)
    assert problem.startswith("second-number.patch: not as")


@pytest.mark.engine
def test_our_own_series_passes_the_check_and_round_trips(tmp_path: Path) -> None:
    tree = source_tree()
    assert check_series(tree) == []
    unpack_series(tree, tmp_path / "work")
    written = tmp_path / "patches"
    written.mkdir()
    (written / "series").write_bytes((series_directory() / "series").read_bytes())
    export_series(tmp_path / "work", written)
    assert contents(written) == patch_files(series_directory())
