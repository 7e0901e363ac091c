"""Where a conversion writes before its files are whole, and how they get to their places."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConvertError


class PartFolder:
    """A hidden folder beside the file to be, with the process's id in its name.

    What is in it has the names that it will have, so a set of shards can be read there.
    """

    def __init__(self, beside: Path, stem: str) -> None:
        self._beside, self._stem = beside, stem
        self.path = beside / f".{stem}.{os.getpid()}.part"

    def __enter__(self) -> PartFolder:
        self.sweep()
        try:
            self.path.mkdir()
        except FileExistsError as error:
            raise ConvertError(
                f"{self.path} exists: this process is converting to {self._stem} already"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what conversions of this name left that were killed together with their child."""
        for part in self._beside.glob(f".{glob.escape(self._stem)}.*.part"):
            pid = part.suffixes[-2].lstrip(".")
            if pid.isdecimal() and not _is_alive(int(pid)):
                shutil.rmtree(part, ignore_errors=True)

    def publish(self, files: Sequence[Path]) -> None:
        """Move files to their places. One replaces its predecessor at once; of several, the first,
        without which none loads, goes before and comes after the others."""
        first, *others = files
        if others:
            first.unlink(missing_ok=True)
        for file in (*others, first):
            (self.path / file.name).replace(file)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
