"""How often an engine may end before the server gives up."""

from __future__ import annotations

MAX_ENDS = 3
"""This many ends in a row, with no request finished in between, are the last."""
LIFE_S = 60.0
"""An engine that served for so long starts a new row."""
PAUSE_S = 0.5


class Restarts:
    """Counts the ends in a row."""

    def __init__(self) -> None:
        self.n_ends = 0

    def finished(self) -> None:
        """A request came to its end: engines do work."""
        self.n_ends = 0

    def ended(self, served_s: float) -> bool:
        """Count an engine that served for so long (0: it was never ready). True: try another."""
        if served_s >= LIFE_S:
            self.n_ends = 0
        self.n_ends += 1
        return self.n_ends < MAX_ENDS

    @property
    def pause_s(self) -> float:
        """How long to wait before the next start: not at all after the first end."""
        return PAUSE_S * 2 ** (self.n_ends - 2) if self.n_ends > 1 else 0.0
