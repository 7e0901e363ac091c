"""llama.cpp's source: the pinned archive, or a tree or archive that the user gives."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..errors import SourceError
from ..third_party import LLAMA_CPP
from .archive import (
    BUILD_PARTS,
    CONVERT_PARTS,
    file_sha256,
    tree_root,
    tree_sha256,
    unpack_tree,
)
from .cache import cache_directory, locked, scratch_directory
from .download import download, wrong_hash

STAMP = "stamp.json"


@dataclass(frozen=True)
class Source:
    """A llama.cpp source, known by its content."""

    identity: str
    """"archive-" or "tree-" and the sha256 of the content that a build reads."""
    path: Path | None
    """The user's archive or tree; None for the pinned archive, fetched when needed."""

    @property
    def is_pinned(self) -> bool:
        """Whether this is the pinned archive, wherever it comes from."""
        return self.identity == f"archive-{LLAMA_CPP.sha256}"

    def tree(self) -> Path:
        """The pristine tree, unpacked into the cache on first use. Raises SourceError."""
        if self.path is not None and self.path.is_dir():
            return tree_root(self.path)
        home = cache_directory() / "sources" / self.identity[:24]
        with locked(home.with_suffix(".lock"), "llama.cpp's source"):
            if not _is_intact(home):
                self._unpack(home)
        return home / "tree"

    def _unpack(self, home: Path) -> None:
        shutil.rmtree(home, ignore_errors=True)
        with scratch_directory(home.parent, ".unpack-") as scratch:
            archive = self.path or download(scratch)
            staging = scratch / "home"
            try:
                staging.mkdir()
                unpack_tree(archive, staging / "tree")
                stamp = {"source": self.identity, "tree_sha256": _content(staging / "tree")}
                (staging / STAMP).write_text(json.dumps(stamp))
                staging.rename(home)
            except OSError as error:
                raise SourceError(f"cannot write {home}: {error.strerror}") from None


def locate_source(given: Path | str | None = None) -> Source:
    """Say which source a build uses; nothing is fetched or unpacked.

    `given` is a tree or a tar archive; else PANNIER_SOURCE names one; else the
    pinned archive. Raises SourceError when the path is neither, or when it has
    the pinned archive's name but other content.
    """
    given = given or os.environ.get("PANNIER_SOURCE") or None
    if given is None:
        return Source(f"archive-{LLAMA_CPP.sha256}", None)
    path = Path(given).expanduser().absolute()
    if path.is_dir():
        return Source(f"tree-{tree_sha256(tree_root(path))}", path)
    if not path.exists():
        raise SourceError(f"no source at {path}: give a llama.cpp tree or a tar archive of one")
    digest = file_sha256(path)
    if path.name == LLAMA_CPP.archive_name and digest != LLAMA_CPP.sha256:
        raise SourceError(wrong_hash(path, digest, LLAMA_CPP))
    return Source(f"archive-{digest}", path)


def source_tree(source: Path | str | None = None) -> Path:
    """The pristine llama.cpp tree of `source` (see `locate_source`).

    The tree belongs to the cache: read it, do not write to it. Raises SourceError.
    """
    return locate_source(source).tree()


def _content(tree: Path) -> str:
    return tree_sha256(tree, BUILD_PARTS + CONVERT_PARTS)


def _is_intact(home: Path) -> bool:
    """Whether the cached tree is still what was unpacked from the verified archive."""
    try:
        stamp = json.loads((home / STAMP).read_text())
        return bool(stamp["tree_sha256"] == _content(home / "tree"))
    except (OSError, ValueError, KeyError):
        return False
