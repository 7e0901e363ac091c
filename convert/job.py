"""What the parent of a conversion asks of its child process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .options import Options


@dataclass(frozen=True)
class Job:
    """One conversion. Paths are absolute; travels as JSON."""

    tree: str
    checkpoint: str
    folder: str
    """Where to write, a folder of the job's own; the caller moves the files."""
    file_name: str
    """Of the file, "{quant}" standing for the recipe."""
    precision: str
    """The recipe that "auto" means for this checkpoint."""
    options: Options
    dry_run: bool
    reports: int
    """File descriptor that reports are written to."""

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Job:
        options = dict(fields["options"])
        options["tensor_types"] = tuple(tuple(row) for row in options["tensor_types"])
        return cls(**fields | {"options": Options(**options)})
