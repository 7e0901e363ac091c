"""The budget of KV cells: who may have how many."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class CellBudget:
    """Cells reserved by request, so that a running request never finds the cache full.

    In a unified cache all sequences draw on one pool of `n_cells`; in a split one
    each has `n_cells_seq` of its own.
    """

    n_cells: int
    n_cells_seq: int
    unified: bool
    reserved: dict[int, int] = field(default_factory=dict)

    @property
    def n_free(self) -> int:
        """Cells that nobody has reserved."""
        return self.n_cells - sum(self.reserved.values())

    def can_ever_hold(self, n: int) -> bool:
        """Whether an empty cache could hold n cells of one sequence."""
        return n <= self.n_cells_seq

    def can_reserve(self, n: int) -> bool:
        """Whether n more cells of a new sequence fit now."""
        return self.can_ever_hold(n) and (not self.unified or n <= self.n_free)

    def reserve(self, id: int, n: int) -> None:
        """Reserve n cells for a request, in place of what it had."""
        self.reserved[id] = n

    def grow(self, id: int, n: int) -> bool:
        """Reserve up to n more cells for a request; False if there is not even one."""
        have = self.reserved[id]
        most = self.n_cells_seq - have
        if self.unified:
            most = min(most, self.n_free)
        gained = min(n, most)
        if gained > 0:
            self.reserved[id] = have + gained
        return gained > 0

    def release(self, id: int) -> None:
        """Give a request's cells back."""
        self.reserved.pop(id, None)
