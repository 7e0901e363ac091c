"""Where a conversion writes before its files are whole, and how they get to their places."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConvertError
from ..part import part_of, sweep_parts


class PartFolder:
    """A hidden folder beside the file to be, with the process's id in its name.

    What is in it has the names that it will have, so a set of shards can be read there.
    """

    def __init__(self, beside: Path, stem: str) -> None:
        self._beside, self._stem = beside, stem
        self.path = part_of(beside, stem)

    def __enter__(self) -> PartFolder:
        sweep_parts(self._beside, self._stem)
        try:
            self.path.mkdir()
        except FileExistsError as error:
            raise ConvertError(
                f"{self.path} exists: this process is converting to {self._stem} already"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def publish(self, files: Sequence[Path]) -> None:
        """Move files to their places. One replaces its predecessor at once; of several, the first,
        without which none loads, goes before and comes after the others."""
        first, *others = files
        if others:
            first.unlink(missing_ok=True)
        for file in (*others, first):
            (self.path / file.name).replace(file)
