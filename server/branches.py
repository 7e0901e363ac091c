"""Where in a prompt later ones are likely to go on, for models whose states must be kept for it."""

from __future__ import annotations

from collections import deque

from .cells import n_common
from .limits import Limits
from .messages import Adapters
from .running import Running

N_RECENT = 32


class Branches:
    """Points of new requests: the ends of their messages, and where they leave earlier prompts."""

    def __init__(self, limits: Limits, least: int) -> None:
        """`least`: a branch point saves so many tokens."""
        keeps = not limits.can_cut and limits.unified and limits.n_sequences > 1
        self._least = least
        self._recent: deque[tuple[Adapters, list[int]]] = deque(maxlen=N_RECENT if keeps else 0)

    def note(self, running: Running) -> None:
        """A request has ended."""
        self._recent.append((running.adapters, running.tokens))

    def mark(self, running: Running) -> None:
        """Have the states kept from which later requests will want to start."""
        if self._recent.maxlen == 0:
            return
        inside = [n for n in running.request.boundaries if 0 < n < running.n_prompt]
        for n in {*inside[:1], *inside[-2:], self._branch_point(running)}:
            running.add_point(n)

    def _branch_point(self, running: Running) -> int:
        """Where this prompt leaves the others of late: the next one may leave it there too."""
        tokens = running.tokens
        recent = (held for of, held in self._recent if of == running.adapters)
        n = max((n_common(held, tokens) for held in recent), default=0)
        n = min(n, len(tokens) - 1)
        return n if n - running.n_computed >= self._least else 0
