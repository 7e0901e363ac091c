"""One sequence and the tokens that it holds: what a next prompt shares with them stays."""

from __future__ import annotations

from collections.abc import Sequence

from ..batch import Batch
from ..context import Context
from ..errors import PannierError


class PrefixCache:
    """Sequence 0 of a context. `tokens` is what its memory holds, in order."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sequence = context.sequence(0)
        self.tokens: list[int] = []
        self.clear()

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def n_ctx(self) -> int:
        """Most tokens that it can hold."""
        return self._context.n_ctx_seq

    def keep_prefix(self, prompt: Sequence[int]) -> int:
        """Forget what is no beginning of `prompt`; the number of its tokens that stay.

        At least one token is left to be computed. All goes where the memory
        cannot forget an end: a recurrent state, a sliding window that moved on.
        """
        n = min(n_common(self.tokens, prompt), len(prompt) - 1)
        if n < len(self.tokens) and not self._cut(n):
            self.clear()
        return len(self.tokens)

    def step(self, tokens: Sequence[int], *, sample: bool) -> int | None:
        """Compute tokens after those that are there; the next one if `sample`.

        Raises what `Context.step` raises; then nothing is held.
        """
        batch = Batch()
        batch.add(0, tokens, sample=sample)
        try:
            result = self._context.step(batch)
        except PannierError:
            self.clear()
            raise
        self.tokens += tokens
        return result.sampled[0].token if sample else None

    def clear(self) -> None:
        """Forget everything."""
        self._sequence.clear()
        self.tokens = []

    def _cut(self, n: int) -> bool:
        # A first position other than 0: the memory lacks what the tokens before the cut need.
        if self._sequence.range()[0] > 0 or not self._sequence.remove(n):
            return False
        del self.tokens[n:]
        return True


def n_common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    n = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        n += 1
    return n
