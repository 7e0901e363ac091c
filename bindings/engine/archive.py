"""Hash and unpack archives and trees of llama.cpp."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from ..errors import SourceError

BUILD_PARTS = (
    "CMakeLists.txt",
    "LICENSE",
    "cmake",
    "common",
    "ggml",
    "include",
    "licenses",
    "scripts",
    "src",
    "tools",
    "vendor",
)
"""What a build reads of a llama.cpp tree. The rest (models, docs, tests) is two thirds of it."""
CONVERT_PARTS = ("conversion", "gguf-py")
NESTED = ("thirdparty/llama.cpp", "vendor/llama.cpp")
"""Where packages that carry a llama.cpp tree keep it."""


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes, in hex. Raises SourceError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as handle:
            for block in iter(lambda: handle.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from None
    return digest.hexdigest()


def tree_sha256(root: Path, parts: Iterable[str] = BUILD_PARTS) -> str:
    """Hash of the names and bytes of every file under `parts`, hidden files left out."""
    digest = hashlib.sha256()
    for path in tree_files(root, parts):
        digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def tree_files(root: Path, parts: Iterable[str]) -> Iterator[Path]:
    """The files of `parts` of a tree, in a fixed order."""
    for part in sorted(parts):
        top = root / part
        if top.is_file():
            yield top
        for folder, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if not _is_noise(name))
            yield from (Path(folder, name) for name in sorted(names) if not _is_noise(name))


def is_tree(path: Path) -> bool:
    """Whether `path` looks like the root of a llama.cpp tree."""
    return all((path / name).exists() for name in ("CMakeLists.txt", "include/llama.h", "ggml/src"))


def tree_root(directory: Path) -> Path:
    """The llama.cpp tree at, or inside, `directory`. Raises SourceError when there is none."""
    below = sorted(path for path in directory.glob("*") if path.is_dir())
    tops = [directory, *(below if len(below) == 1 else [])]
    for top in tops:
        for candidate in (top, *(top / nested for nested in NESTED)):
            if is_tree(candidate):
                return candidate
    raise SourceError(
        f"no llama.cpp tree in {directory}: expected CMakeLists.txt, include/llama.h and "
        f"ggml/src there, or under {' or '.join(NESTED)}"
    )


def unpack_tree(archive: Path, destination: Path) -> None:
    """Unpack the llama.cpp tree of a tar archive as `destination`, which must not exist.

    Nothing is written outside `destination`'s folder and no owner is restored.
    Raises SourceError on a damaged or unsafe archive and when the disk is full.
    """
    staging = destination.with_name(destination.name + ".unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                _extract(tar, member, staging)
        tree_root(staging).rename(destination)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise SourceError(_unpack_failure(archive, destination, error)) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, staging: Path) -> None:
    """Extract one member under the rules of tarfile's `data` filter (Python 3.10.12 has it)."""
    if hasattr(tarfile, "data_filter"):
        tar.extract(member, staging, filter="data")
        return
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise tarfile.TarError(f"unsafe member {member.name!r}")
    member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    tar.extract(member, staging)


def _unpack_failure(archive: Path, destination: Path, error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(destination)
    return (
        f"cannot unpack {archive}: {error}. It must be a tar archive of llama.cpp; "
        "fetch it again if it was cut short"
    )


def disk_full(path: Path) -> str:
    """The message for a full disk under `path`."""
    return (
        f"no space left on the disk of {path.parent}: the source needs about 300 MB. "
        "Free some, or set PANNIER_CACHE to a folder on another disk"
    )


def _is_noise(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"
