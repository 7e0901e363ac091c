"""What the parent of a conversion asks of its child process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One conversion. Paths are absolute; travels as JSON."""

    tree: str
    checkpoint: str
    out: str
    type: str
    name: str | None
    pre: str | None
    dry_run: bool
    reports: int
    """File descriptor that reports are written to."""
