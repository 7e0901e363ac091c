"""What is written beside its place until it is whole: hidden, with the process's id in its name."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def part_of(beside: Path, stem: str) -> Path:
    """This process's part, a file or a folder of the caller's making."""
    return beside / f".{stem}.{os.getpid()}.part"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A part to write, which becomes `path` when the block ends, and goes when it raises."""
    part = part_of(path.parent, path.name)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def sweep_parts(beside: Path, stem: str) -> None:
    """Remove the parts of this name whose processes were killed."""
    for part in beside.glob(f".{glob.escape(stem)}.*.part"):
        pid = part.suffixes[-2].lstrip(".")
        if not pid.isdecimal() or _is_alive(int(pid)):
            continue
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
