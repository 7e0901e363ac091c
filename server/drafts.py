"""Which decoding requests have guesses of their next tokens in a step, and how many.

Guesses that do not come true are taken out of the sequence again. Where only parts of a memory
can do that, these rules see to it that it can: what holds the state before the guesses must not
be moved or used again in the same step.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .limits import Limits
from .lookup import Lookup
from .running import Running


@dataclass(frozen=True, slots=True)
class Draft:
    """Tokens that may follow; those after the first `n_guessed` only make it longer."""

    tokens: Sequence[int] = ()
    n_guessed: int = 0

    def padded(self, n: int, token: int) -> Draft:
        """Of n tokens."""
        tokens = [*self.tokens, *[token] * n][:n]
        return Draft(tokens, min(n, self.n_guessed))


NO_DRAFT = Draft()


class Drafts:
    """Guesses of the running requests, each from its own tokens."""

    def __init__(self, limits: Limits, n_compared: int, eog: Collection[int]) -> None:
        self.n_most = limits.n_draft
        self.n_compared = n_compared
        self.eog = eog
        self.beside_prompts = limits.can_cut
        """A state or a window that moves on can go back over one pass only: that of its step."""
        self.equal = limits.equal_chunks or not limits.unified
        """Chunks of another length are computed in a pass of their own."""

    def make(self, decoding: Sequence[Running], n_prompts: int, budget: int) -> list[Draft]:
        """One for each decoding request in a step of at most `budget` tokens; so many prompts are
        computed in it."""
        none = [NO_DRAFT] * len(decoding)
        if not self.n_most or not decoding or (n_prompts and not self.beside_prompts):
            return none
        share = (budget - len(decoding) - min(n_prompts, 1)) // len(decoding)
        rooms = [self._room(running, share) for running in decoding]
        if self.equal:
            rooms = [min(rooms)] * len(rooms)
        if max(rooms) < 1:
            return none
        drafts = [self._guess(*pair) for pair in zip(decoding, rooms, strict=True)]
        if not self.equal:
            return drafts
        n = sorted(draft.n_guessed for draft in drafts)[len(drafts) // 2]
        pairs = zip(drafts, decoding, strict=True)
        return [draft.padded(n, running.tokens[-1]) for draft, running in pairs]

    def _room(self, running: Running, share: int) -> int:
        """Most guesses that this request may have."""
        if running.is_awaited or (running.lookup and running.lookup.is_off):
            return 0
        room = min(share, running.n_growth - 1, self.n_most)
        if running.request.max_tokens >= 0:
            room = min(room, running.request.max_tokens - running.n_generated - 1)
        return room

    def _guess(self, running: Running, n: int) -> Draft:
        if running.lookup is None:
            running.lookup = Lookup(self.n_most, self.n_compared)
        guess = running.lookup.guess(running.tokens, n)
        end = next((i for i, token in enumerate(guess) if token in self.eog), len(guess))
        return Draft(guess[:end], end)
