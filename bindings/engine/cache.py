"""The cache folder: unpacked sources, built engines."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .progress import say


def cache_directory() -> Path:
    """The folder that pannier may fill: PANNIER_CACHE, else the user's cache folder."""
    chosen = os.environ.get("PANNIER_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("pannier", appauthor=False)


@contextmanager
def scratch_directory(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent`, removed at the end whatever happens."""
    parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold `path` as a lock between processes; say so and wait when another works on `what`."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process works on {what}: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield  # closing the file lets go of the lock, also when the process dies
