"""Rows that say where tensors go, with who said so; and what is wrong with them.

A tensor goes by the first row that matches its name, as in llama.cpp.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import _ffi
from .errors import ArgumentError
from .placement import Override

FILE = "the file's placement"


@dataclass(frozen=True)
class OverrideRow:
    """Tensors whose names match go to a buffer type; or, if it is None, with their layer."""

    pattern: str
    buffer: str | None
    source: str
    """Who says so: a flag with its value, or `FILE`."""

    @property
    def is_from_file(self) -> bool:
        return self.source == FILE

    def goes_with(self, other: OverrideRow) -> bool:
        """Whether both may mean the same device."""
        if None in (self.buffer, other.buffer):
            return "CPU" not in (self.buffer, other.buffer)
        return self.buffer == other.buffer


def named_rows(overrides: Iterable[Override]) -> list[OverrideRow]:
    """Rows of `-ot`."""
    return [OverrideRow(*row, f"-ot {row[0]}={row[1]}") for row in overrides]


def native_rows(rows: Iterable[OverrideRow]) -> list[Override]:
    """Those that llama.cpp has to know of."""
    return [(row.pattern, row.buffer) for row in rows if row.buffer is not None]


def matching(pattern: str, names: Sequence[str]) -> frozenset[str]:
    """The names that a pattern matches, as llama.cpp's own search finds them.

    Raises ArgumentError for what is no pattern, or one that is too much work.
    """
    lib = _ffi.library()
    matches = _ffi.int8s_of(len(names))
    lib.check(lib.match_names(pattern.encode(), _ffi.texts(names), len(names), matches))
    return frozenset(name for name, match in zip(names, matches, strict=True) if match)


def check_rows(rows: Sequence[OverrideRow], names: Sequence[str]) -> tuple[str, ...]:
    """Where two rows disagree and both count for something, in words.

    Raises ArgumentError for a row that matches no tensor, and for one whose tensors all go
    elsewhere by rows before it. The file's rows are not looked at: they give way.
    """
    notes: list[str] = []
    winners: dict[str, OverrideRow] = {}
    for row in rows:
        if row.is_from_file:
            continue
        found = matching(row.pattern, names)
        if not found:
            raise ArgumentError(
                f"{row.source}: no tensor of this model has a name that matches {row.pattern}; "
                "leave it out, or see `pannier inspect --tensors FILE` for the names"
            )
        taken = [winners[name] for name in found if name in winners]
        lost = Counter(winner for winner in taken if not winner.goes_with(row))
        if len(taken) == len(found) and lost:
            raise ArgumentError(
                f"{row.source} has no effect: {_fight(lost)}, which {_verb(lost)} before it; leave "
                "one of them out, or match fewer tensors there"
            )
        notes += [
            f"{winner.source} and {row.source} disagree over {n} of {len(found)} tensors: "
            f"the former counts"
            for winner, n in lost.items()
        ]
        winners |= {name: row for name in found if name not in winners}
    return tuple(notes)


def _fight(lost: Counter[OverrideRow]) -> str:
    return " and ".join(f"{n} of its tensors go by {row.source}" for row, n in lost.items())


def _verb(lost: Counter[OverrideRow]) -> str:
    return "comes" if len(lost) == 1 else "come"
