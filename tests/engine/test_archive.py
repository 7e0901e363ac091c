"""Unpacking what may come from anywhere."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from pannier.engine import archive
from pannier.engine.archive import tree_root, tree_sha256, unpack_tree
from pannier.errors import SourceError


def pack(tree: Path, destination: Path, top: str = "llama.cpp-b1") -> Path:
    """The tree as a gzipped tar archive with one top folder."""
    with tarfile.open(destination, "w:gz") as tar:
        tar.add(tree, arcname=top)
    return destination


def evil_archive(path: Path, member: tarfile.TarInfo, content: bytes = b"") -> Path:
    """An archive with one member that must not be unpacked."""
    member.size = len(content)
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("top", ["llama.cpp-b1", "package-1.0/thirdparty/llama.cpp"])
def test_the_tree_is_found_inside_the_archive(tree: Path, tmp_path: Path, top: str) -> None:
    destination = tmp_path / "out"
    unpack_tree(pack(tree, tmp_path / "a.tar.gz", top), destination)
    assert tree_sha256(destination) == tree_sha256(tree)
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out"]


def test_no_owner_and_no_special_bits_are_restored(tree: Path, tmp_path: Path) -> None:
    def disguise(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 12345
        member.mode |= 0o4000
        return member

    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tree, arcname="top", filter=disguise)
    unpack_tree(path, tmp_path / "out")
    for file in (tmp_path / "out").rglob("*"):
        assert file.stat().st_uid == os.getuid()
        assert not file.stat().st_mode & 0o7000


@pytest.mark.parametrize("with_filter", [True, False])
@pytest.mark.parametrize("name", ["../escaped.txt", "/tmp/pannier-escaped.txt", "a/../../b.txt"])
def test_a_member_that_leaves_the_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, with_filter: bool
) -> None:
    if not with_filter:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    path = evil_archive(tmp_path / "a.tar.gz", tarfile.TarInfo(name), b"gotcha")
    with pytest.raises(SourceError):
        unpack_tree(path, tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("*escaped*"))
    assert not list(tmp_path.rglob("b.txt"))
    assert not Path("/tmp/pannier-escaped.txt").exists()


def test_a_link_to_the_outside_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("top/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    with pytest.raises(SourceError, match="cannot unpack"):
        unpack_tree(evil_archive(tmp_path / "a.tar.gz", link), tmp_path / "out")


def test_without_tarfile_s_filter_the_same_tree_comes_out(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    monkeypatch.setattr(archive, "tarfile", tarfile)
    with pytest.MonkeyPatch.context() as patch:
        # A Python without the filter does not know the argument's default either.
        patch.setattr(tarfile.TarFile, "extraction_filter", staticmethod(lambda m, _: m), False)
        unpack_tree(pack(tree, tmp_path / "a.tar.gz"), tmp_path / "out")
    assert tree_sha256(tmp_path / "out") == tree_sha256(tree)


def test_a_truncated_archive_leaves_nothing(tree: Path, tmp_path: Path) -> None:
    path = pack(tree, tmp_path / "a.tar.gz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceError, match="fetch it again"):
        unpack_tree(path, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "README").write_text("hello\n")
    with pytest.raises(SourceError, match=r"no llama\.cpp tree"):
        unpack_tree(pack(folder, tmp_path / "a.tar.gz"), tmp_path / "out")


def test_a_full_disk_is_named(tree: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        (tree / "src" / "big.cpp").write_bytes(os.urandom(1 << 20))
        with pytest.raises(SourceError, match="no space left on the disk"):
            unpack_tree(pack(tree, tmp_path / "a.tar.gz"), small / "out")
        assert not list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_the_hash_sees_names_and_contents_of_what_is_built_only(tree: Path) -> None:
    before = tree_sha256(tree)
    (tree / "models" / "big.gguf").write_text("other\n")
    (tree / "src" / ".swp").write_text("an editor's\n")
    assert tree_sha256(tree) == before
    (tree / "src" / "main.cpp").rename(tree / "src" / "other.cpp")
    renamed = tree_sha256(tree)
    assert renamed != before
    (tree / "src" / "other.cpp").write_text("int main() { return 1; }\n")
    assert tree_sha256(tree) not in (before, renamed)


def test_a_folder_that_is_no_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"include/llama\.h"):
        tree_root(tmp_path)
