"""Which llama.cpp a build uses."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from pannier.engine import source as module
from pannier.engine.source import locate_source, source_tree
from pannier.errors import SourceError
from pannier.third_party import LLAMA_CPP


def pack(tree: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tree, arcname="llama.cpp")
    return path


def test_without_a_path_it_is_the_pinned_archive(cache: Path) -> None:
    source = locate_source()
    assert source.is_pinned
    assert source.path is None
    assert not cache.exists()


def test_a_tree_is_used_where_it_is(cache: Path, tree: Path) -> None:
    assert source_tree(tree) == tree
    assert source_tree(str(tree)) == tree
    assert not locate_source(tree).is_pinned


def test_an_archive_is_unpacked_once(cache: Path, tree: Path, tmp_path: Path) -> None:
    archive = pack(tree, tmp_path / "a.tar.gz")
    unpacked = source_tree(archive)
    assert (unpacked / "include" / "llama.h").exists()
    assert unpacked.is_relative_to(cache)
    mark = unpacked / "models" / "mark"
    mark.touch()
    assert source_tree(archive) == unpacked
    assert mark.exists()


def test_a_cached_tree_that_somebody_changed_is_unpacked_again(
    cache: Path, tree: Path, tmp_path: Path
) -> None:
    archive = pack(tree, tmp_path / "a.tar.gz")
    file = source_tree(archive) / "src" / "main.cpp"
    file.write_text("int main() { return 3; }\n")
    assert (source_tree(archive) / "src" / "main.cpp").read_text() != file.name
    assert "return 0" in file.read_text()


def test_the_environment_names_a_source(
    cache: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANNIER_SOURCE", str(tree))
    assert locate_source().path == tree


def test_the_pinned_name_with_other_content_is_refused(
    cache: Path, tree: Path, tmp_path: Path
) -> None:
    archive = pack(tree, tmp_path / LLAMA_CPP.archive_name)
    with pytest.raises(SourceError, match="not the pinned archive"):
        locate_source(archive)


def test_a_path_with_nothing_there(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no source at"):
        locate_source(tmp_path / "nowhere")


def test_a_failed_download_leaves_no_tree(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(destination: Path) -> Path:
        raise SourceError("no network")

    monkeypatch.setattr(module, "download", fail)
    with pytest.raises(SourceError, match="no network"):
        source_tree()
    assert [path.suffix for path in (cache / "sources").iterdir()] == [".lock"]


def test_the_identity_follows_the_content_not_the_place(
    cache: Path, tree: Path, tmp_path: Path
) -> None:
    other = tmp_path / "copy"
    shutil.copytree(tree, other)
    assert locate_source(other).identity == locate_source(tree).identity
    (other / "src" / "main.cpp").write_text("int main() { return 7; }\n")
    assert locate_source(other).identity != locate_source(tree).identity
