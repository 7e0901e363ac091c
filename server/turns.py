"""Whose turn it is to be computed: requests with different adapters cannot share a step."""

from __future__ import annotations

from collections.abc import Sequence

from .messages import Adapters

N_STEPS = 8
"""Steps in a row. A change of adapters costs the preparation of all graphs."""


class Turns:
    """Takes turns between sets of adapters, the one that has waited longest first."""

    def __init__(self) -> None:
        self.current: Adapters = ()
        self._n_steps = 0
        self._since: dict[Adapters, int] = {}
        self._n_turns = 0

    def next(self, waiting: Sequence[Adapters]) -> Adapters:
        """Who computes the next step, of those that have something to compute: at least one."""
        self._since = {one: self._since.get(one, self._n_turns) for one in waiting}
        others = [one for one in self._since if one != self.current]
        if self.current not in self._since or (others and self._n_steps >= N_STEPS):
            self._n_turns += 1
            self._since[self.current] = self._n_turns
            self.current = min(others, key=self._since.__getitem__)
            self._n_steps = 0
        self._n_steps += 1
        return self.current
