"""What each holder of shared cells owns: a cell's bytes divided by its sharers, to the byte."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class CellGroup:
    """Cells of one kind that the same sequences hold."""

    kind: str
    """"kv", "window" (cells of sliding-window layers) or "state" (a recurrent state)."""
    n_cells: int
    cell_bytes: int
    holders: tuple[int, ...]
    """Sequences, ascending."""

    @property
    def n_bytes(self) -> int:
        return self.n_cells * self.cell_bytes


@dataclass
class Share:
    """Bytes of one holder."""

    n_cells: int = 0
    n_cells_shared: int = 0
    """Of these, cells that others hold too."""
    whole_bytes: int = 0
    """Of its cells, shared ones in full."""
    private_bytes: int = 0
    """Of the cells that nobody else holds."""
    shared_bytes: int = 0
    """Its part of the others."""

    @property
    def owned_bytes(self) -> int:
        """Summed over the holders, these are the bytes of all cells that are held."""
        return self.private_bytes + self.shared_bytes


def shares(groups: Iterable[CellGroup]) -> dict[int, Share]:
    """Each holder's share. What a division leaves over goes to the first holders of a group, a
    byte each."""
    found: dict[int, Share] = {}
    for group in groups:
        part, rest = divmod(group.n_bytes, len(group.holders))
        is_shared = len(group.holders) > 1
        for rank, holder in enumerate(group.holders):
            share = found.setdefault(holder, Share())
            share.n_cells += group.n_cells
            share.whole_bytes += group.n_bytes
            if is_shared:
                share.n_cells_shared += group.n_cells
                share.shared_bytes += part + (rank < rest)
            else:
                share.private_bytes += part
    return found
